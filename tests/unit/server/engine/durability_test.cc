// SPDX-License-Identifier: Apache-2.0
//
// Which answers wait for the disk, and for which write.
#include "tests/unit/server/engine/engine_fixture.h"

namespace leaseplane::engine {
namespace {

class DurabilityTest : public EngineTest {};

TEST_F(DurabilityTest, AnswersWaitForTheDiskAsThePoolsDurabilitySays) {
  AcquireRequest request = Request();
  request.ttl_ns = 2 * kMinute;
  options_.durability = Durability::kNone;
  Start();
  EXPECT_EQ(std::get<Granted>(Acquire(request)).commit_seq, 0u);
  options_.durability = Durability::kAsync;
  ledger_.leases.clear();
  Start();
  const Granted granted = std::get<Granted>(Acquire(request));
  EXPECT_EQ(granted.commit_seq, ledger_.seq);
  EXPECT_EQ(std::get<Renewed>(Renew(granted.grant)).commit_seq, 0u) << "known to be that long";
  EXPECT_NE(std::get<Renewed>(Renew(granted.grant, kHour)).commit_seq, 0u);
  const Granted brief = std::get<Granted>(Acquire(Request()));
  EXPECT_EQ(brief.commit_seq, 0u);
  EXPECT_NE(std::get<Renewed>(Renew(brief.grant, 61 * kSecond)).commit_seq, 0u);
  options_.durability = Durability::kSync;
  ledger_.leases.clear();
  Start();
  const Granted synced = std::get<Granted>(Acquire(Request()));
  EXPECT_EQ(synced.commit_seq, ledger_.seq);
  const auto released = engine_->Release(now_, HolderOf(synced.grant), false, actions_);
  EXPECT_EQ(std::get<Released>(released).commit_seq, ledger_.seq);
}

TEST_F(DurabilityTest, WhatIsAskedAgainWaitsForTheDiskAsTheFirstTime) {
  options_.durability = Durability::kSync;
  Start();
  const Grant other = MustAcquire();
  const Granted first = std::get<Granted>(Acquire(Request(0, 5)));
  EXPECT_EQ(std::get<Granted>(Acquire(Request(0, 5))).commit_seq, first.commit_seq);
  const uint64_t raised = std::get<Renewed>(Renew(first.grant, kMinute)).commit_seq;
  EXPECT_GT(raised, first.commit_seq);
  EXPECT_EQ(std::get<Renewed>(Renew(first.grant, kMinute)).commit_seq, raised);
  const auto release = [&] {
    return std::get<Released>(engine_->Release(now_, HolderOf(first.grant), false, actions_));
  };
  const uint64_t released = release().commit_seq;
  EXPECT_GT(released, raised);
  Renew(other);  // with the ttl it has: nothing for the disk
  EXPECT_GE(release().commit_seq, released);
}

TEST_F(DurabilityTest, WhatTheWorkerBeforeWroteDownIsNotTakenForStored) {
  for (const Durability durability : {Durability::kSync, Durability::kAsync}) {
    options_.durability = durability;
    ledger_ = {};
    Start();
    const uint64_t waits = durability == Durability::kSync ? kInheritedSeq : 0;
    AcquireRequest brief = Request(0, 5), lengthy = Request(0, 6);
    lengthy.ttl_ns = 2 * kMinute;
    const Grant grant = MustAcquire(brief);
    MustAcquire(lengthy);
    RestartAdopting();
    EXPECT_EQ(std::get<Granted>(Acquire(brief)).commit_seq, waits);
    EXPECT_EQ(std::get<Granted>(Acquire(lengthy)).commit_seq, kInheritedSeq);
    EXPECT_EQ(std::get<Renewed>(Renew(grant)).commit_seq, waits);
    Release(grant);
    RestartAdopting();
    const auto again = engine_->Release(now_, HolderOf(grant), false, actions_);
    EXPECT_EQ(std::get<Released>(again).commit_seq, waits);
  }
}

}  // namespace
}  // namespace leaseplane::engine
