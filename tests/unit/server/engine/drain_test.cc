// SPDX-License-Identifier: Apache-2.0
//
// An operator drains a pool: nobody gets in, whoever is in stays, and then it goes on.
#include "tests/unit/server/engine/engine_fixture.h"

namespace leaseplane::engine {
namespace {

class DrainTest : public EngineTest {
 protected:
  void Drain(const std::string& reason = "upgrade") {
    engine_->DrainPool(now_, reason, actions_);
    drain_reason_ = engine_->drain_reason();
  }
  void Resume() {
    engine_->ResumePool(now_, actions_);
    drain_reason_ = engine_->drain_reason();
  }
  // Nobody gets a slot, by whatever way.
  void ExpectShut(const char* when) {
    SCOPED_TRACE(when);
    EXPECT_EQ(RefusalOf(Acquire(Request())), Reason::kPoolDraining);
    EXPECT_EQ(RefusalOf(Acquire(Request(kMinute, 99))), Reason::kPoolDraining);
    EXPECT_FALSE(LocalAcquire(kAlice).has_value());
    EXPECT_FALSE(LocalAcquire(kAlice, /*ignores_gate=*/true).has_value()) << "the daemon is silent";
    EXPECT_TRUE(pool_->words().Drained());
    EXPECT_EQ(authority_->gate(), shm::Gate::kClosed) << "or local sleepers are not led away";
  }
};

TEST_F(DrainTest, NobodyGetsInAndWhoIsInStays) {
  options_.capacity = 4;
  Start();
  const Grant remote = MustAcquire();
  const SlotGrant local = MustLocalAcquire(kAlice);
  Drain();
  EXPECT_EQ(engine_->state(), PoolState::kDraining);
  EXPECT_EQ(engine_->drain_reason(), "upgrade");
  ExpectShut("drained");
  EXPECT_EQ(ReasonIn(Renew(remote)), Reason::kNone);
  Pass(kSecond);
  EXPECT_EQ(Release(remote), Reason::kNone);
  EXPECT_TRUE(LocalRelease(kAlice, local));
  Pass(kSecond);
  ExpectShut("empty");
  const PoolCounts counts = engine_->Counts();
  EXPECT_EQ(counts.free, 4u);
  EXPECT_EQ(counts.busy_local + counts.busy_remote, 0u);
  Resume();
  EXPECT_EQ(engine_->state(), PoolState::kActive);
  MustAcquire();
  MustLocalAcquire(kBob);
}

TEST_F(DrainTest, LeasesEndByThemselves) {
  Start();
  MustAcquire();
  MustLocalAcquire(kAlice);
  Drain();
  EndSession(kAlice);
  Pass(kMinute);
  EXPECT_EQ(engine_->Counts().free, 2u);
  EXPECT_EQ(engine_->stats().expired, 1u);
  ExpectShut("expired and swept");
}

TEST_F(DrainTest, WaitersAndKeptPlacesAreRefusedAtOnce) {
  options_.capacity = 1;
  Start();
  const Grant held = MustAcquire();
  const uint64_t waiter = MustQueue();
  const uint64_t gone = MustQueue(Request(kMinute, 5));
  engine_->CancelCall(now_, gone, actions_);
  engine_->Enqueue(now_, kAlice, 7, 0, kMinute, actions_);
  Drain("new disks");
  ASSERT_EQ(actions_.waiter_refused.size(), 1u);
  EXPECT_EQ(actions_.waiter_refused[0].ticket, waiter);
  EXPECT_EQ(actions_.waiter_refused[0].refusal.reason, Reason::kPoolDraining);
  EXPECT_NE(actions_.waiter_refused[0].refusal.text.find("new disks"), std::string::npos);
  ASSERT_EQ(actions_.ticket_refused.size(), 1u);
  EXPECT_EQ(actions_.ticket_refused[0].reason, Reason::kPoolDraining);
  EXPECT_EQ(engine_->Counts().waiters, 0u);
  engine_->Enqueue(now_, kBob, 8, 0, kMinute, actions_);
  ASSERT_EQ(actions_.ticket_refused.size(), 2u) << "who comes later is not kept waiting either";
  EXPECT_EQ(engine_->stats().refused_draining, 4u);
  Release(held);
  ExpectShut("released");
}

TEST_F(DrainTest, ARequestIdStillGetsTheLeaseItHas) {
  Start();
  const Grant held = MustAcquire(Request(0, 5));
  Drain();
  EXPECT_EQ(MustAcquire(Request(0, 5)).lease.token, held.lease.token);
  Release(held);
  EXPECT_EQ(RefusalOf(Acquire(Request(0, 5))), Reason::kLeaseReleased);
}

TEST_F(DrainTest, ASuccessorNeverOpensThePoolForAMoment) {
  options_.capacity = 4;
  Start();
  const Grant remote = MustAcquire();
  const SlotGrant local = MustLocalAcquire(kAlice);
  Drain();
  RestartAdopting(/*end_recovery=*/false);
  ExpectShut("adopted");
  EXPECT_EQ(engine_->drain_reason(), "upgrade");
  EXPECT_EQ(ReasonIn(Renew(remote)), Reason::kNone);
  engine_->EndRecovery(now_, actions_);
  Pass(2 * kSecond);
  ExpectShut("adopted, and time goes on");
  EXPECT_GT(engine_->NextDeadlineNs(), now_.boot_ns) << "or the timers go round in circles";
  EXPECT_TRUE(LocalRelease(kAlice, local));
  RestartFresh(/*same_boot=*/true, /*await_claims=*/true);
  EXPECT_FALSE(LocalAcquire(kBob, /*ignores_gate=*/true).has_value());
  engine_->EndRecovery(now_, actions_);
  ExpectShut("new segments");
  EXPECT_EQ(ReasonIn(Renew(remote)), Reason::kNone);
  Resume();
  RestartAdopting();
  EXPECT_FALSE(pool_->words().Drained());
  MustAcquire();
  MustLocalAcquire(kBob);
}

TEST_F(DrainTest, NeitherLocksNorBrokeringNorTheEndOfAHoldOpenIt) {
  options_.capacity = 3;
  options_.reuse_delay_ns = kSecond;
  Start();
  const Grant held = MustAcquire();
  Drain();
  engine_->LockSlot(now_, 1, "look", actions_);
  engine_->UnlockSlot(now_, 1, actions_);
  engine_->SetBrokered(now_, true, actions_);
  engine_->SetBrokered(now_, false, actions_);
  Release(held);
  Pass(3 * kSecond);
  EXPECT_EQ(StateAt(held.lease.slot), SlotState::kFree);
  ExpectShut("after all that");
  engine_->SetBrokered(now_, true, actions_);
  Resume();
  EXPECT_FALSE(LocalAcquire(kAlice, true).has_value()) << "brokered";
  MustAcquire();
  engine_->SetBrokered(now_, false, actions_);
  MustLocalAcquire(kAlice);
}

TEST_F(DrainTest, ItMovesToOtherMemoryDrained) {
  options_.capacity = 3;
  Start();
  MustAcquire();
  Drain();
  HeapPool next(options_.capacity);
  engine_->Rotate(now_, next.words(), authority_->epoch() + 1, kFirstGen, actions_);
  EXPECT_TRUE(next.words().Drained());
  engine_->EndRecovery(now_, actions_);
  EXPECT_EQ(engine_->state(), PoolState::kDraining);
  EXPECT_FALSE(LocalClient::TryAcquire(next.words(), kBob, true, true).has_value());
  Resume();
  EXPECT_TRUE(LocalClient::TryAcquire(next.words(), kBob, true, false).has_value());
}

TEST_F(DrainTest, DrainingAgainReplacesTheReasonAndResumingTwiceIsNothing) {
  Start();
  Drain("a");
  Drain("b");
  EXPECT_EQ(engine_->drain_reason(), "b");
  Resume();
  Resume();
  MustAcquire();
}

TEST_F(DrainTest, APoolThatGoesTellsItsWaitersSo) {
  options_.capacity = 1;
  Start();
  MustAcquire();
  MustQueue();
  engine_->Enqueue(now_, kAlice, 7, 0, kMinute, actions_);
  engine_->BeginDrain(now_, Reason::kNotFound, actions_);
  ASSERT_EQ(actions_.waiter_refused.size(), 1u);
  EXPECT_EQ(actions_.waiter_refused[0].refusal.reason, Reason::kCancelled);
  ASSERT_EQ(actions_.ticket_refused.size(), 1u);
  EXPECT_EQ(actions_.ticket_refused[0].reason, Reason::kNotFound);
}

}  // namespace
}  // namespace leaseplane::engine
