// SPDX-License-Identifier: Apache-2.0
#include "server/rpc/convert.h"

#include <gtest/gtest.h>

#include "tests/unit/server/rpc/fake_plane.h"

namespace leaseplane::rpc {
namespace {

AcquireCommand Read(const v1::AcquireLeaseRequest& request) {
  FieldChecks checks;
  AcquireCommand command = ReadAcquire(request, "anonymous", "", engine::kUnaryWaitMax, &checks);
  EXPECT_TRUE(checks.ok());
  return command;
}

v1::AcquireLeaseRequest SomeRequest() {
  v1::AcquireLeaseRequest request;
  request.set_parent("pools/gpu");
  request.set_client_id("worker");
  request.mutable_ttl()->set_seconds(30);
  (*request.mutable_metadata())["a"] = "1";
  (*request.mutable_metadata())["b"] = "2";
  return request;
}

TEST(ConvertTest, ARetryThatWaitsLessHasTheSameBody) {
  v1::AcquireLeaseRequest retry = SomeRequest();
  retry.mutable_max_wait_duration()->set_seconds(7);
  retry.set_slot_count(1);
  retry.set_request_id("00112233-4455-6677-8899-aabbccddeeff");
  EXPECT_EQ(Read(SomeRequest()).request.body_hash, Read(retry).request.body_hash);
}

TEST(ConvertTest, EveryOtherFieldMakesAnotherBody) {
  const uint64_t hash = Read(SomeRequest()).request.body_hash;
  auto other = SomeRequest();
  other.set_parent("pools/db");
  EXPECT_NE(Read(other).request.body_hash, hash);
  other = SomeRequest();
  other.mutable_ttl()->set_seconds(31);
  EXPECT_NE(Read(other).request.body_hash, hash);
  other = SomeRequest();
  other.set_client_id("worker2");
  EXPECT_NE(Read(other).request.body_hash, hash);
  other = SomeRequest();
  (*other.mutable_metadata())["a"] = "12";
  EXPECT_NE(Read(other).request.body_hash, hash);
}

TEST(ConvertTest, TheBodyHashIsTheSameInEveryVersion) {
  // Computed apart from this code: it is kept on disk with leases.
  EXPECT_EQ(Read(SomeRequest()).request.body_hash, 0xe72a4b828c14847du);
}

TEST(ConvertTest, APoolNeedsOnlyANameAndACapacity) {
  v1::CreatePoolRequest request;
  request.set_pool_id("gpu");
  request.mutable_pool()->set_capacity(8);
  FieldChecks checks;
  const engine::PoolOptions options = ReadPool(request, &checks);
  EXPECT_TRUE(checks.ok());
  const engine::PoolOptions defaults;
  EXPECT_EQ(options.id, "gpu");
  EXPECT_EQ(options.capacity, 8u);
  EXPECT_TRUE(options.from_api);
  EXPECT_EQ(options.default_ttl_ns, defaults.default_ttl_ns);
  EXPECT_EQ(options.max_waiters, defaults.max_waiters);
  EXPECT_EQ(options.durability, defaults.durability);
}

TEST(ConvertTest, APoolComesBackAsItWasAskedFor) {
  v1::CreatePoolRequest request;
  request.set_pool_id("gpu");
  v1::Pool& pool = *request.mutable_pool();
  pool.set_capacity(8);
  pool.set_max_capacity(16);
  pool.set_fairness(v1::Pool::FAIRNESS_FIFO);
  pool.set_durability(v1::Pool::DURABILITY_SYNC);
  pool.mutable_default_ttl()->set_seconds(20);
  pool.mutable_min_ttl()->set_seconds(10);
  pool.mutable_max_ttl()->set_seconds(60);
  pool.mutable_max_duration()->set_seconds(600);
  pool.mutable_max_overtake()->set_nanos(50'000'000);
  pool.mutable_reuse_delay()->set_seconds(1);
  pool.mutable_lock_delay()->set_seconds(2);
  pool.mutable_max_hold()->set_seconds(3'600);
  pool.mutable_stall_timeout()->set_seconds(45);
  pool.set_max_waiters(3);
  pool.set_max_waiters_per_client(2);
  pool.set_max_leases_per_client(1);
  (*pool.mutable_labels())["site"] = "b";
  FieldChecks checks;
  plane::PoolInfo info;
  info.options = ReadPool(request, &checks);
  ASSERT_TRUE(checks.ok());
  v1::Pool out = ToPool(info);
  EXPECT_EQ(out.name(), "pools/gpu");
  EXPECT_TRUE(out.api_defined());
  out.clear_name();
  out.clear_state();
  out.clear_counts();
  out.clear_api_defined();
  EXPECT_EQ(out.ShortDebugString(), pool.ShortDebugString());
}

TEST(ConvertTest, ChosenBoundsMoveTheDefaultTtlButNotAChosenOne) {
  v1::CreatePoolRequest request;
  request.set_pool_id("gpu");
  request.mutable_pool()->set_capacity(1);
  request.mutable_pool()->mutable_max_ttl()->set_seconds(5);
  FieldChecks checks;
  EXPECT_EQ(ReadPool(request, &checks).default_ttl_ns, 5 * engine::kSecond);
  EXPECT_TRUE(checks.ok());
  request.mutable_pool()->mutable_default_ttl()->set_seconds(6);
  ReadPool(request, &checks);
  ASSERT_FALSE(checks.ok());
  EXPECT_EQ(checks.violations()[0].field, "pool.default_ttl");
}

TEST(ConvertTest, AHeldSlotThatAnOperatorLockedShowsTheLockAsPending) {
  engine::SlotInfo slot;
  slot.slot = 3;
  slot.view = engine::SlotView::kBusy;
  slot.admin_locked = true;
  slot.lock_reason = "fan";
  slot.lease = SomeLease();
  v1::Slot out = ToSlot("gpu", slot);
  EXPECT_EQ(out.state(), v1::Slot::STATE_BUSY);
  EXPECT_TRUE(out.lock_pending());
  EXPECT_EQ(out.lock_reason(), "fan");
  EXPECT_EQ(out.lease(), "pools/gpu/leases/112233445566778899aabbccddeeff00");
  slot.view = engine::SlotView::kLocked;
  slot.lease.reset();
  out = ToSlot("gpu", slot);
  EXPECT_EQ(out.state(), v1::Slot::STATE_LOCKED);
  EXPECT_FALSE(out.lock_pending());
  EXPECT_EQ(out.lease(), "");
}

TEST(ConvertTest, ALocalLeaseHasNoTtlAndANameOfItsSlotAndToken) {
  engine::LeaseInfo lease;
  lease.path = engine::LeasePath::kLocal;
  lease.slot = 4;
  lease.token = 99;
  const v1::Lease out = ToLease("gpu", lease);
  EXPECT_EQ(out.name(), "pools/gpu/leases/local-4-99");
  EXPECT_EQ(out.path(), v1::LEASE_PATH_LOCAL);
  EXPECT_FALSE(out.has_ttl());
  EXPECT_FALSE(out.has_expire_time());
  EXPECT_FALSE(out.has_end_time());
}

}  // namespace
}  // namespace leaseplane::rpc
