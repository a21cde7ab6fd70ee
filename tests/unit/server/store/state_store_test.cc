// SPDX-License-Identifier: Apache-2.0
#include "server/store/state_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>

#include "server/store/epochs.h"
#include "server/store/pool_json.h"
#include "server/store/schema.h"
#include "tests/unit/server/store/store_fixture.h"

namespace leaseplane::store {
namespace {

using ledger::MakeLease;
using ledger::Show;
using ::testing::HasSubstr;

using StateStoreTest = StoreFixture;

engine::Tombstone MakeTombstone(FencingToken token) {
  engine::Tombstone tombstone;
  tombstone.token = token;
  tombstone.principal = "p";
  tombstone.ended_as = engine::LeaseState::kExpired;
  tombstone.body_hash = ~uint64_t{0};
  return tombstone;
}

TEST_F(StateStoreTest, TheInstanceIdStays) {
  auto store = Open();
  EXPECT_TRUE(store->is_new());
  const std::string id = store->instance_id();
  EXPECT_EQ(id.size(), 36u);
  store.reset();
  store = Open();
  EXPECT_FALSE(store->is_new());
  EXPECT_EQ(store->instance_id(), id);
}

TEST_F(StateStoreTest, EpochsGrowWithEveryBumpWhateverTheClockDoes) {
  auto store = Open();
  Epoch last = Bump(store.get(), "gpu", kNow).epoch;
  EXPECT_EQ(last, (kNow - kEpochOriginUnixS) / 3600);
  for (const int64_t now : {kNow, kNow, kNow + 3600, kNow - 1'000'000, kNow + 7'200'000}) {
    store.reset();
    store = Open();
    const PoolEpoch epoch = Bump(store.get(), "gpu", now);
    EXPECT_GT(epoch.epoch, last);
    EXPECT_GE(epoch.epoch, HoursSinceOrigin(now));
    last = epoch.epoch;
    EXPECT_EQ(store->GetEpoch("gpu")->epoch, last);
  }
}

TEST_F(StateStoreTest, AllPoolsOfOneBumpAreInTheAnswer) {
  auto store = Open();
  const std::string pools[] = {"a", "b", "c"};
  const auto epochs = store->BumpEpochs(pools, kNow);
  ASSERT_TRUE(epochs.ok());
  EXPECT_EQ(epochs->size(), 3u);
  EXPECT_NE(epochs->at("a").pool_uid, epochs->at("b").pool_uid);
}

TEST_F(StateStoreTest, TwoLostStoresInOneHourDoNotRepeatTokens) {
  const PoolEpoch first = Bump(Open().get(), "gpu", kNow);
  EXPECT_TRUE(first.is_first);
  EXPECT_EQ(first.usable_from_unix_s, kNow + 1);
  std::filesystem::remove_all(dir());
  ASSERT_TRUE(PrepareStateDir(dir()).ok());
  // At the earliest the second daemon starts in the second in which the first was of use.
  const PoolEpoch second = Bump(Open().get(), "gpu", first.usable_from_unix_s);
  EXPECT_EQ(second.epoch, first.epoch);
  EXPECT_GT(MakeToken(second.epoch, second.base_generation),
            MakeToken(first.epoch, first.base_generation));
}

TEST_F(StateStoreTest, AKnownPoolIsUsableAtOnce) {
  auto store = Open();
  Bump(store.get(), "gpu", kNow);
  const PoolEpoch again = Bump(store.get(), "gpu", kNow + 5);
  EXPECT_FALSE(again.is_first);
  EXPECT_EQ(again.usable_from_unix_s, 0);
  EXPECT_EQ(again.base_generation, BaseGeneration(kNow + 5));
}

TEST_F(StateStoreTest, TheTokenFloorRaisesTheEpoch) {
  const FencingToken floor = MakeToken(90'000, 5);
  auto store = Open({.token_floor = floor});
  const PoolEpoch epoch = Bump(store.get(), "gpu", kNow);
  EXPECT_GT(MakeToken(epoch.epoch, 0), floor);
  EXPECT_EQ(epoch.epoch, 90'001u);
}

TEST_F(StateStoreTest, EpochsThatAreUsedUpAreRefusedAndNothingIsKept) {
  auto store = Open({.token_floor = MakeToken(kEpochMax - 1, 0)});
  EXPECT_EQ(Bump(store.get(), "gpu", kNow).epoch, kEpochMax);
  const std::string pools[] = {"fresh", "gpu"};
  const auto refused = store->BumpEpochs(pools, kNow);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr("131071"));
  EXPECT_FALSE(store->GetEpoch("fresh").ok());
}

TEST_F(StateStoreTest, AClockBeforeTheBuildIsRefusedUnlessInitialize) {
  const std::string pools[] = {"gpu"};
  const auto refused = Open({.build_unix_s = kNow})->BumpEpochs(pools, kNow - 1);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr("--initialize"));
  auto store = Open({.initialize = true, .build_unix_s = kNow});
  EXPECT_TRUE(store->BumpEpochs(pools, kNow - 1).ok());
}

TEST_F(StateStoreTest, AStoreThatIsGoneWhileLedgersAreThereIsRefusedUnlessInitialize) {
  ledger::WriteFile(LedgerDir(dir()) + "/gpu.ledger", "x");
  const absl::Status status = TryOpen().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("--token-floor"));
  EXPECT_TRUE(TryOpen({.initialize = true}).ok());
  EXPECT_TRUE(TryOpen().ok());
}

TEST_F(StateStoreTest, PoolsMadeByTheApiComeBackWithEveryField) {
  engine::PoolOptions pool;
  pool.id = "db";
  pool.capacity = 20;
  pool.max_capacity = 40;
  pool.fairness = engine::Fairness::kFifo;
  pool.durability = engine::Durability::kSync;
  pool.default_ttl_ns = 5;
  pool.lock_delay_ns = 77;
  pool.max_hold_ns = 78;
  pool.stall_timeout_ns = 79;
  pool.local_enabled = false;
  pool.local_uids = {1000, 4'000'000'000};
  pool.resources = {"a:1", "b:2"};
  pool.labels = {{"zone", "eu"}};
  auto store = Open();
  ASSERT_TRUE(store->PutPool(pool, kNow).ok());
  store.reset();
  const auto pools = Open()->LoadPools();
  ASSERT_TRUE(pools.ok()) << pools.status();
  ASSERT_EQ(pools->size(), 1u);
  EXPECT_EQ(PoolToJson((*pools)[0]), PoolToJson(pool));
  EXPECT_TRUE((*pools)[0].from_api);
}

TEST_F(StateStoreTest, ADrainIsKeptUntilItIsTakenBackOrThePoolErased) {
  auto store = Open();
  EXPECT_EQ(*store->LoadDrain("gpu"), std::nullopt);
  ASSERT_TRUE(store->PutDrain("gpu", "a").ok());
  ASSERT_TRUE(store->PutDrain("gpu", "").ok());
  ASSERT_TRUE(store->PutDrain("db", "disks").ok());
  store.reset();
  store = Open();
  EXPECT_EQ(*store->LoadDrain("gpu"), "") << "without a reason, but drained";
  EXPECT_EQ(*store->LoadDrain("db"), "disks");
  ASSERT_TRUE(store->PutDrain("gpu", std::nullopt).ok());
  ASSERT_TRUE(store->ErasePool("db").ok());
  EXPECT_EQ(*store->LoadDrain("gpu"), std::nullopt);
  EXPECT_EQ(*store->LoadDrain("db"), std::nullopt);
}

TEST_F(StateStoreTest, AnErasedPoolKeepsItsEpochAndNothingElse) {
  auto store = Open();
  const PoolEpoch before = Bump(store.get(), "gpu", kNow);
  engine::PoolOptions pool;
  pool.id = "gpu";
  ASSERT_TRUE(store->PutPool(pool, kNow).ok());
  ledger::Changes changes;
  changes.live_leases = {MakeLease(1, 2)};
  changes.locks = {{0, "x"}};
  const PoolBatch batch[] = {{"gpu", changes}};
  ASSERT_TRUE(store->Commit(batch).ok());
  ASSERT_TRUE(store->ErasePool("gpu").ok());
  EXPECT_TRUE(store->LoadPools()->empty());
  EXPECT_EQ(Show(*store->LoadPool("gpu")), "");
  EXPECT_TRUE(absl::IsNotFound(store->GetEpoch("gpu").status()));
  const PoolEpoch after = Bump(store.get(), "gpu", kNow);
  EXPECT_TRUE(after.is_first);
  EXPECT_EQ(after.usable_from_unix_s, 0);
  EXPECT_EQ(after.epoch, before.epoch + 1);
  EXPECT_NE(after.pool_uid, before.pool_uid);
}

TEST_F(StateStoreTest, CommittedChangesComeBackWithEveryField) {
  auto store = Open();
  Bump(store.get(), "gpu", kNow);
  Bump(store.get(), "db", kNow);
  ledger::Changes changes;
  changes.live_leases = {MakeLease(1, 2), MakeLease(3, kFencingTokenMax)};
  changes.tombstones = {{1, MakeTombstone(7)}, {2, MakeTombstone(8)}};
  changes.locks = {{0, "why"}, {9, ""}};
  const PoolBatch batch[] = {{"gpu", changes}, {"db", {}}};
  ASSERT_TRUE(store->Commit(batch).ok());
  store.reset();
  store = Open();
  const engine::LedgerContents expected{
      changes.live_leases, {MakeTombstone(7), MakeTombstone(8)}, changes.locks};
  EXPECT_EQ(Show(*store->LoadPool("gpu")), Show(expected));
  EXPECT_EQ(Show(*store->LoadPool("db")), "");
  EXPECT_EQ(Show(*store->LoadPool("never heard of")), "");
  EXPECT_EQ(store->GetEpoch("gpu")->max_ttl_ns, MakeLease(3, kFencingTokenMax).ttl_ns);
}

TEST_F(StateStoreTest, LaterChangesEndUnlockForgetAndReplace) {
  auto store = Open();
  ledger::Changes changes;
  changes.live_leases = {MakeLease(1, 2), MakeLease(3, 4)};
  changes.tombstones = {{1, MakeTombstone(7)}, {2, MakeTombstone(8)}};
  changes.locks = {{0, "why"}, {9, ""}};
  const PoolBatch first[] = {{"gpu", changes}};
  ASSERT_TRUE(store->Commit(first).ok());
  ledger::Changes later;
  later.ended_slots = {1, 5};
  later.unlocked_slots = {0};
  later.tombstones = {{3, MakeTombstone(9)}};
  later.first_tombstone_kept = 2;
  const PoolBatch second[] = {{"gpu", later}};
  ASSERT_TRUE(store->Commit(second).ok());
  EXPECT_EQ(Show(*store->LoadPool("gpu")),
            Show({{MakeLease(3, 4)}, {MakeTombstone(8), MakeTombstone(9)}, {{9, ""}}}));
  ledger::Changes all;
  all.replaces_all = true;
  all.live_leases = {MakeLease(0, 1)};
  const PoolBatch third[] = {{"gpu", all}};
  ASSERT_TRUE(store->Commit(third).ok());
  EXPECT_EQ(Show(*store->LoadPool("gpu")), Show({{MakeLease(0, 1)}, {}, {}}));
}

TEST_F(StateStoreTest, ARunSaysHowTheOneBeforeEnded) {
  auto store = Open();
  const Uuid boot{1, 2};
  EXPECT_FALSE(store->BeginRun(boot, kNow)->has_value());
  auto previous = store->BeginRun(boot, kNow + 1);
  EXPECT_FALSE((*previous)->clean);
  EXPECT_EQ((*previous)->boot_id, boot);
  ASSERT_TRUE(store->EndRun(boot, 4, kNow + 2).ok());
  store.reset();
  store = Open();
  previous = store->BeginRun({3, 4}, kNow + 3);
  EXPECT_TRUE((*previous)->clean);
  EXPECT_EQ((*previous)->local_sessions_at_stop, 4u);
  EXPECT_EQ((*previous)->unix_s, kNow + 2);
  EXPECT_FALSE((*store->BeginRun({3, 4}, kNow))->clean);
}

// -- what is refused

TEST_F(StateStoreTest, ASecondProcessCannotOpenTheFile) {
  const auto store = Open();
  sqlite3* other = nullptr;
  ASSERT_EQ(sqlite3_open(db_path().c_str(), &other), SQLITE_OK);
  EXPECT_NE(sqlite3_exec(other, "SELECT * FROM meta", nullptr, nullptr, nullptr), SQLITE_OK);
  sqlite3_close(other);
}

TEST_F(StateStoreTest, AFileThatIsNoStoreIsDataLossAndNamesTheFile) {
  ledger::WriteFile(db_path(), std::string(5000, 'x'));
  const absl::Status status = TryOpen().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(db_path()));
}

TEST_F(StateStoreTest, AStoreOfANewerVersionIsRefused) {
  Open().reset();
  sqlite3* file = nullptr;
  ASSERT_EQ(sqlite3_open(db_path().c_str(), &file), SQLITE_OK);
  const std::string sql = "PRAGMA user_version = " + std::to_string(SchemaVersion() + 1);
  ASSERT_EQ(sqlite3_exec(file, sql.c_str(), nullptr, nullptr, nullptr), SQLITE_OK);
  sqlite3_close(file);
  const absl::Status status = TryOpen().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("newer"));
}

// -- a disk that fails

class FailingDiskTest : public StoreFixture, public ::testing::WithParamInterface<Fault> {};

TEST_P(FailingDiskTest, EveryOperationThatFailsLeavesTheEpochBeforeOrAfterAndNeverLower) {
  auto store = Open();
  Epoch last = Bump(store.get(), "gpu", kNow).epoch;
  for (int64_t nth = 1;; ++nth) {
    FailFrom(nth, GetParam());
    const std::string pools[] = {"gpu"};
    const auto bumped = store->BumpEpochs(pools, kNow);
    const bool is_beyond = DiskOperations() < nth;
    RepairDisk();
    if (bumped.ok()) {
      EXPECT_EQ(bumped->at("gpu").epoch, last + 1);
    } else {
      EXPECT_TRUE(absl::IsUnavailable(bumped.status()) ||
                  absl::IsResourceExhausted(bumped.status()))
          << bumped.status();
      EXPECT_THAT(std::string(bumped.status().message()), HasSubstr(db_path()));
    }
    // The next bump of the same connection goes on, never back.
    const Epoch next = Bump(store.get(), "gpu", kNow).epoch;
    EXPECT_GT(next, last);
    last = next;
    store.reset();
    store = Open();
    EXPECT_EQ(store->GetEpoch("gpu")->epoch, last);
    if (is_beyond) break;
    ASSERT_LT(nth, 1000);
  }
}

TEST_P(FailingDiskTest, EveryOperationThatFailsLeavesACommitWhollyOrNotAtAll) {
  auto store = Open();
  std::string before;
  for (int64_t nth = 1;; ++nth) {
    ledger::Changes changes;
    changes.replaces_all = true;
    for (SlotIndex slot = 0; slot < 40; ++slot) {
      changes.live_leases.push_back(MakeLease(slot, nth * 1000 + slot));
    }
    const std::string after = Show({changes.live_leases, {}, {}});
    const PoolBatch batch[] = {{"gpu", changes}};
    FailFrom(nth, GetParam());
    const absl::Status status = store->Commit(batch);
    const bool is_beyond = DiskOperations() < nth;
    RepairDisk();
    EXPECT_EQ(Show(*store->LoadPool("gpu")), status.ok() ? after : before);
    store.reset();
    store = Open();
    const std::string reopened = Show(*store->LoadPool("gpu"));
    // A commit that failed in the sync may be on the disk all the same.
    EXPECT_TRUE(reopened == after || (!status.ok() && reopened == before)) << nth;
    before = reopened;
    if (is_beyond) break;
    ASSERT_LT(nth, 1000);
  }
}

TEST_P(FailingDiskTest, AStoreThatCannotBeMadeSaysSoAndCanBeMadeLater) {
  for (int64_t nth = 1;; ++nth) {
    FailFrom(nth, GetParam());
    const absl::Status status = TryOpen().status();
    const bool is_beyond = DiskOperations() < nth;
    RepairDisk();
    EXPECT_TRUE(status.ok() || absl::IsUnavailable(status) || absl::IsResourceExhausted(status))
        << status;
    auto store = Open();
    Bump(store.get(), "gpu", kNow);
    store.reset();
    std::filesystem::remove_all(dir());
    ASSERT_TRUE(PrepareStateDir(dir()).ok());
    if (is_beyond) break;
    ASSERT_LT(nth, 1000);
  }
}

INSTANTIATE_TEST_SUITE_P(Faults, FailingDiskTest, ::testing::Values(Fault::kEio, Fault::kEnospc),
                         [](const auto& fault) {
                           return fault.param == Fault::kEio ? "Eio" : "Enospc";
                         });

}  // namespace
}  // namespace leaseplane::store
