// SPDX-License-Identifier: Apache-2.0
//
// Local leases that the daemon ends: held beyond max_hold, or by a process that has stopped.
#include "tests/unit/server/engine/engine_fixture.h"

namespace leaseplane::engine {
namespace {

class OverdueHoldsTest : public EngineTest {
 protected:
  OverdueHoldsTest() { options_.stall_timeout_ns = 30 * kSecond; }
  // Alice's library stops: nothing is heard from it any more.
  void Stop(SessionIndex session) { sessions_.heard[session] = now_.boot_ns; }
  // Its slot, and nothing but its slot, was taken back.
  bool WasTaken(SessionIndex session, const SlotGrant& held) const {
    return actions_.local_lease_ended.size() == 1 &&
           actions_.local_lease_ended[0].session == session &&
           actions_.local_lease_ended[0].slot == held.slot &&
           GenerationOf(actions_.local_lease_ended[0].token) == held.gen;
  }
};

TEST_F(OverdueHoldsTest, ALocalLeaseEndsAfterMaxHold) {
  options_.capacity = 3;
  options_.max_hold_ns = 10 * kSecond;
  options_.default_ttl_ns = kMinute;
  Start();
  const Grant remote = MustAcquire();
  const SlotGrant early = MustLocalAcquire(kAlice);
  Pass(5 * kSecond);
  const SlotGrant late = MustLocalAcquire(kBob);
  Pass(4 * kSecond);
  EXPECT_TRUE(actions_.local_lease_ended.empty());
  Pass(2 * kSecond);
  EXPECT_TRUE(WasTaken(kAlice, early));
  EXPECT_FALSE(LocalRelease(kAlice, early));
  EXPECT_EQ(engine_->stats().held_too_long, 1u);
  EXPECT_EQ(engine_->Counts().busy_remote, 1u) << "remote leases have max_duration";
  EXPECT_TRUE(LocalRelease(kBob, late));
  const SlotGrant again = MustLocalAcquire(kBob);
  Pass(9 * kSecond);
  EXPECT_EQ(pool_->Word(again.slot), BusyWord(kBob, again.gen)) << "each grant counts by itself";
}

TEST_F(OverdueHoldsTest, WithoutMaxHoldALocalLeaseHasNoEnd) {
  Start();
  MustLocalAcquire(kAlice);
  Pass(10 * kMinute);
  EXPECT_TRUE(actions_.local_lease_ended.empty());
}

TEST_F(OverdueHoldsTest, AStalledHolderKeepsItsSlotUntilSomebodyWantsOne) {
  Start();
  const SlotGrant held = MustLocalAcquire(kAlice);
  Stop(kAlice);
  Pass(5 * kMinute);
  EXPECT_TRUE(actions_.local_lease_ended.empty()) << "half of the pool is free";
  AcquireRequest request = Request();
  request.ttl_ns = kHour;
  MustAcquire(request);
  const uint64_t waiter = MustQueue();
  Pass(200 * kMillisecond);
  EXPECT_TRUE(WasTaken(kAlice, held));
  ASSERT_EQ(actions_.waiter_granted.size(), 1u);
  EXPECT_EQ(actions_.waiter_granted[0].ticket, waiter);
  EXPECT_EQ(engine_->stats().stalled, 1u);
}

TEST_F(OverdueHoldsTest, AFullPoolIsReasonEnough) {
  options_.capacity = 1;
  Start();
  const SlotGrant held = MustLocalAcquire(kAlice);
  Stop(kAlice);
  Pass(29 * kSecond);
  EXPECT_TRUE(actions_.local_lease_ended.empty());
  Pass(4 * kSecond);
  EXPECT_TRUE(WasTaken(kAlice, held));
  EXPECT_EQ(StateAt(0), SlotState::kFree);
}

TEST_F(OverdueHoldsTest, WhoIsHeardIsNotStalledHoweverItAnswers) {
  options_.capacity = 1;
  Start();
  MustLocalAcquire(kAlice);
  for (int i = 0; i < 20; ++i) {
    Stop(kAlice);  // heard now; its answer to the audit may be late or lost
    Pass(10 * kSecond);
  }
  EXPECT_TRUE(actions_.local_lease_ended.empty());
}

TEST_F(OverdueHoldsTest, WhoAnswersIsNotStalledThoughItWasNotHeardBefore) {
  options_.capacity = 1;
  Start();
  const SlotGrant held = MustLocalAcquire(kAlice);
  Stop(kAlice);
  for (int i = 0; i < 20; ++i) {
    Pass(6 * kSecond);
    for (const auto& ask : actions_.ask_audit) {
      engine_->AuditAnswer(now_, kAlice, held.slot, held.gen, ask.question, actions_);
    }
    actions_.ask_audit.clear();
  }
  EXPECT_TRUE(actions_.local_lease_ended.empty());
}

TEST_F(OverdueHoldsTest, AProcessTreeDoesNotHaveToAnswer) {
  options_.capacity = 1;
  Start();
  MustLocalAcquire(kAlice);  // in no list of those who are heard
  MustQueue();
  Pass(5 * kMinute);
  EXPECT_TRUE(actions_.local_lease_ended.empty());
}

TEST_F(OverdueHoldsTest, StallTimeoutZeroMeansNever) {
  options_.capacity = 1;
  options_.stall_timeout_ns = 0;
  Start();
  MustLocalAcquire(kAlice);
  Stop(kAlice);
  MustQueue();
  Pass(5 * kMinute);
  EXPECT_TRUE(actions_.local_lease_ended.empty());
}

TEST_F(OverdueHoldsTest, AGrantThatAStalledWaiterNeverTakesGoesOnAndItsTicketsLeave) {
  options_.capacity = 1;
  Start();
  const Grant first = MustAcquire();
  engine_->Enqueue(now_, kAlice, 1, 0, kHour, actions_);
  engine_->Enqueue(now_, kAlice, 2, 0, kHour, actions_);
  const uint64_t waiter = MustQueue();
  Stop(kAlice);
  Release(first);
  ASSERT_EQ(actions_.send_grant.size(), 1u);
  Pass(29 * kSecond);
  EXPECT_TRUE(actions_.waiter_granted.empty());
  Pass(2 * kSecond);
  ASSERT_EQ(actions_.ticket_refused.size(), 1u);
  EXPECT_EQ(actions_.ticket_refused[0].ticket, 2u);
  ASSERT_EQ(actions_.waiter_granted.size(), 1u);
  EXPECT_EQ(actions_.waiter_granted[0].ticket, waiter);
}

TEST_F(OverdueHoldsTest, TimeInWhichTheDaemonHeardNobodyDoesNotCount) {
  options_.capacity = 1;
  Start();
  const SlotGrant held = MustLocalAcquire(kAlice);
  Stop(kAlice);
  Pass(20 * kSecond);
  Jump(14 * kSecond);  // the daemon was stopped, or starved
  Pass(5 * kSecond);
  EXPECT_TRUE(actions_.local_lease_ended.empty());
  Pass(10 * kSecond);
  EXPECT_TRUE(WasTaken(kAlice, held));
}

}  // namespace
}  // namespace leaseplane::engine
