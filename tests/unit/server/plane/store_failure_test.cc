// SPDX-License-Identifier: Apache-2.0
//
// A disk that fails under a running plane: refusals with their reason, no lies, and back to work.
#include "tests/unit/server/plane/plane_fixture.h"
#include "tests/unit/server/store/faulty_vfs.h"

namespace leaseplane::plane {
namespace {

class StoreFailureTest : public PlaneTest {
 protected:
  void SetUp() override {
    PlaneTest::SetUp();
    store::RegisterFaultyVfs();
    store::RepairDisk();
    options_.store.vfs = store::kFaultyVfs;
    AddPool("sync", 1).durability = engine::Durability::kSync;
    AddPool("none", 1).durability = engine::Durability::kNone;
  }
  void TearDown() override {
    store::RepairDisk();
    PlaneTest::TearDown();
  }
};

TEST_F(StoreFailureTest, DeadDiskRefusesGrantsThatNeedItAndNothingElse) {
  StartWorker();
  const engine::Grant before = Lease();
  store::FailFrom(1, store::Fault::kEio);
  auto sync = Ask(Request(), "sync");
  ASSERT_TRUE(sync->Wait());
  EXPECT_EQ(sync->reason(), Reason::kStoreFailed);
  EXPECT_TRUE(WaitUntil([&] { return plane_->readiness() == Readiness::kStoreFailed; }));
  EXPECT_TRUE(WaitUntil([&] { return Ask(Request())->reason() == Reason::kStoreFailed; }));
  Lease("none");
  EXPECT_TRUE(plane_->live());
  EXPECT_TRUE(plane_->Figures().store_failed);
  LocalClient client(attach_path(), "gpu");
  EXPECT_NE(client.Take(before.lease.slot == 0 ? 1 : 0), 0u) << "local ones need no store";

  store::RepairDisk();
  EXPECT_TRUE(WaitUntil([&] { return plane_->readiness() == Readiness::kServing; }));
  EXPECT_TRUE(WaitUntil([&] {
    auto again = Ask(Request(), "sync");
    return again->Wait() && again->is_granted();
  })) << "the slot of the refused call came back";
}

TEST_F(StoreFailureTest, AGrantTheDiskRefusesIsGivenBackWhateverItsRequestId) {
  StartWorker();
  store::FailFrom(1, store::Fault::kEio);
  engine::AcquireRequest request = Request();
  request.request_id = {1, 2};
  auto refused = Ask(request, "sync");
  ASSERT_TRUE(refused->Wait());
  EXPECT_EQ(refused->reason(), Reason::kStoreFailed);
  EXPECT_EQ(Counts("sync").busy_remote, 0u);
  store::RepairDisk();
  auto again = refused;
  ASSERT_TRUE(WaitUntil([&] {
    again = Ask(request, "sync");
    return again->Wait() && again->is_granted();
  })) << "the request is a new one";
  auto repeated = Ask(request, "sync");
  ASSERT_TRUE(repeated->Wait());
  EXPECT_EQ(repeated->grant().lease.token, again->grant().lease.token);
}

TEST_F(StoreFailureTest, APoolIsNotDrainedUnlessThatIsWrittenDown) {
  StartWorker();
  store::FailFrom(1, store::Fault::kEnospc);
  const auto drained = plane_->DrainPool("none", "why");
  EXPECT_EQ(std::get<engine::Refusal>(drained).reason, Reason::kStoreFailed);
  Lease("none");
}

TEST_F(StoreFailureTest, PoolThatCannotBeStoredIsNotCreated) {
  StartWorker();
  store::FailFrom(1, store::Fault::kEnospc);
  engine::PoolOptions pool;
  pool.id = "api";
  pool.capacity = 1;
  auto created = plane_->CreatePool(pool);
  EXPECT_EQ(std::get<engine::Refusal>(created).reason, Reason::kStoreFailed);
  store::RepairDisk();
  created = plane_->CreatePool(pool);
  EXPECT_TRUE(std::holds_alternative<PoolInfo>(created));
}

TEST_F(StoreFailureTest, DrainOnADeadDiskSaysThatItIsNotClean) {
  StartWorker();
  Lease();
  store::FailFrom(1, store::Fault::kEio);
  plane_->BeginDrain();
  EXPECT_FALSE(plane_->Stop().ok());
}

}  // namespace
}  // namespace leaseplane::plane
