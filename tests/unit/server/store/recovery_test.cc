// SPDX-License-Identifier: Apache-2.0
#include "server/store/recovery.h"

#include <gtest/gtest.h>

#include "tests/unit/server/store/store_fixture.h"

namespace leaseplane::store {
namespace {

using engine::kMinute;
using engine::kSecond;
using ledger::MakeLease;
using ledger::Show;

class RecoveryTest : public StoreFixture {
 protected:
  RecoveryTest() : store_(Open()) {}

  RecoveryRequest Request(Uuid boot_id, bool was_clean) {
    RecoveryRequest request;
    request.ledger_dir = LedgerDir(dir());
    request.identity = Identity(8);
    request.identity.boot_id = boot_id;
    request.last_run = RunMarker{{1, 1}, was_clean, 0, kNow};
    request.now = {1000 * kSecond, kNow * kSecond};
    request.hold_off_ns = 60 * kSecond;
    return request;
  }
  RecoveredPool Recover(const RecoveryRequest& request) {
    auto pool = RecoverPool(store_.get(), request);
    EXPECT_TRUE(pool.ok()) << pool.status();
    return *std::move(pool);
  }
  void Flush(ledger::MappedLedger* ledger) {
    const PoolBatch batch[] = {{"gpu", ledger->TakeChanges()}};
    ASSERT_TRUE(store_->Commit(batch).ok());
  }

  std::unique_ptr<StateStore> store_;
  const Uuid boot_{1, 1};
  const Uuid next_boot_{2, 2};
};

TEST_F(RecoveryTest, InTheSameBootTheLedgerIsTheTruthWithItsDeadlines) {
  RecoveredPool first = Recover(Request(boot_, true));
  first.ledger->PutLease(MakeLease(1, 2));
  const std::string before = Show(first.ledger->Contents());
  first.ledger.reset();
  const RecoveredPool second = Recover(Request(boot_, false));
  EXPECT_EQ(second.decision.source, LedgerSource::kLedgerFile);
  EXPECT_TRUE(second.decision.are_deadlines_valid);
  EXPECT_FALSE(second.decision.may_miss_grants);
  EXPECT_EQ(second.hold_off_until_at_ns, 0);
  EXPECT_EQ(Show(second.contents), before);
}

TEST_F(RecoveryTest, AfterARebootTheStoreIsAndEveryLeaseHasItsFullTtl) {
  RecoveredPool first = Recover(Request(boot_, true));
  first.ledger->PutLease(MakeLease(1, 2));
  Flush(first.ledger.get());
  first.ledger->PutLease(MakeLease(2, 3));  // not stored: lost with the host
  first.ledger.reset();
  const RecoveryRequest request = Request(next_boot_, false);
  const RecoveredPool second = Recover(request);
  EXPECT_EQ(second.decision.source, LedgerSource::kStore);
  EXPECT_TRUE(second.decision.may_miss_grants);
  ASSERT_EQ(second.contents.leases.size(), 1u);
  const engine::LeaseRecord& lease = second.contents.leases[0];
  EXPECT_EQ(lease.deadline_at_ns, request.now.boot_ns + lease.ttl_ns);
  EXPECT_EQ(lease.max_end_at_ns, engine::kNever);
  EXPECT_EQ(second.hold_off_until_at_ns, request.now.boot_ns + 60 * kSecond);
}

TEST_F(RecoveryTest, DeadlinesAndHoldOffOutliveARestartBeforeAnythingElseWasWritten) {
  RecoveredPool first = Recover(Request(boot_, true));
  first.ledger->PutLease(MakeLease(1, 2));
  Flush(first.ledger.get());
  first.ledger.reset();
  RecoveredPool second = Recover(Request(next_boot_, false));
  const std::string contents = Show(second.contents);
  second.ledger.reset();
  RecoveryRequest later = Request(next_boot_, false);
  later.now.boot_ns += 5 * kSecond;
  const RecoveredPool third = Recover(later);
  EXPECT_EQ(third.decision.source, LedgerSource::kLedgerFile);
  EXPECT_EQ(Show(third.contents), contents);
  EXPECT_EQ(third.hold_off_until_at_ns, second.hold_off_until_at_ns);
}

TEST_F(RecoveryTest, MaxDurationIsCountedByWallTimeAndNeverTakesTheTtl) {
  RecoveredPool first = Recover(Request(boot_, true));
  engine::LeaseRecord young = MakeLease(1, 1);
  young.acquired_unix_ns = kNow * kSecond - 10 * kMinute;
  engine::LeaseRecord old = MakeLease(2, 2);
  old.acquired_unix_ns = kNow * kSecond - 100 * kMinute;
  first.ledger->PutLease(young);
  first.ledger->PutLease(old);
  Flush(first.ledger.get());
  RecoveryRequest request = Request(next_boot_, true);
  request.max_duration_ns = 30 * kMinute;
  const RecoveredPool second = Recover(request);
  EXPECT_EQ(second.contents.leases[0].max_end_at_ns, request.now.boot_ns + 20 * kMinute);
  EXPECT_EQ(second.contents.leases[1].max_end_at_ns, request.now.boot_ns + old.ttl_ns);
}

TEST_F(RecoveryTest, ACleanStopOrANewPoolHasNoHoldOff) {
  EXPECT_EQ(Recover(Request(boot_, true)).hold_off_until_at_ns, 0);
  EXPECT_EQ(Recover(Request(next_boot_, true)).hold_off_until_at_ns, 0);
  RecoveryRequest fresh = Request({3, 3}, false);
  fresh.is_new_pool = true;
  EXPECT_EQ(Recover(fresh).hold_off_until_at_ns, 0);
  RecoveryRequest first_run = Request({4, 4}, false);
  first_run.last_run.reset();
  EXPECT_EQ(Recover(first_run).hold_off_until_at_ns, 0);
}

TEST_F(RecoveryTest, ADamagedLedgerIsReplacedFromTheStoreAndNamed) {
  RecoveredPool first = Recover(Request(boot_, true));
  first.ledger->PutLease(MakeLease(1, 2));
  Flush(first.ledger.get());
  first.ledger.reset();
  const std::string path = LedgerDir(dir()) + "/gpu.ledger";
  std::filesystem::resize_file(path, 5000);
  const RecoveredPool second = Recover(Request(boot_, false));
  EXPECT_EQ(second.decision.source, LedgerSource::kStore);
  EXPECT_NE(second.decision.reason.find(path), std::string::npos);
  EXPECT_EQ(second.contents.leases.size(), 1u);
  EXPECT_GT(second.hold_off_until_at_ns, 0);
}

TEST_F(RecoveryTest, TheHoldOffFollowsTheDurability) {
  engine::PoolOptions options;
  options.max_ttl_ns = 10 * kMinute;
  options.durability = engine::Durability::kSync;
  EXPECT_EQ(HoldOffNs(options, 5 * kMinute), 0);
  options.durability = engine::Durability::kAsync;
  EXPECT_EQ(HoldOffNs(options, 0), 60 * kSecond) << "the first lease of all was answered at once";
  EXPECT_EQ(HoldOffNs(options, 5 * kMinute), 60 * kSecond);
  options.max_ttl_ns = 30 * kSecond;
  EXPECT_EQ(HoldOffNs(options, 10 * kSecond), 30 * kSecond);
  EXPECT_EQ(HoldOffNs(options, 50 * kSecond), 50 * kSecond) << "the limit was lowered";
  options.max_ttl_ns = 10 * kMinute;
  options.durability = engine::Durability::kNone;
  EXPECT_EQ(HoldOffNs(options, 0), 10 * kMinute);
}

TEST_F(RecoveryTest, TheStateDirectoryIsForOneDaemon) {
  auto first = StateDirLock::Acquire(dir());
  ASSERT_TRUE(first.ok()) << first.status();
  const absl::Status second = StateDirLock::Acquire(dir()).status();
  EXPECT_TRUE(absl::IsAlreadyExists(second)) << second;
  EXPECT_NE(second.message().find(std::to_string(::getpid())), std::string::npos) << second;
  {
    const StateDirLock released = *std::move(first);
    first = absl::UnknownError("moved");
  }
  EXPECT_TRUE(StateDirLock::Acquire(dir()).ok());
}

TEST_F(RecoveryTest, AStateDirectoryIsMadeWithItsParents) {
  const std::string deep = dir() + "/a/b/c";
  EXPECT_TRUE(PrepareStateDir(deep).ok());
  EXPECT_TRUE(PrepareStateDir(deep).ok());
  EXPECT_TRUE(std::filesystem::is_directory(LedgerDir(deep)));
  ledger::WriteFile(dir() + "/file", "");
  EXPECT_FALSE(PrepareStateDir(dir() + "/file").ok());
}

}  // namespace
}  // namespace leaseplane::store
