// SPDX-License-Identifier: Apache-2.0
//
// The queue that local and remote waiters share, and the gate.
#include "tests/unit/server/engine/engine_fixture.h"

namespace leaseplane::engine {
namespace {

class SharedQueueTest : public EngineTest {
 protected:
  SharedQueueTest() { options_.capacity = 1; }
  void Enqueue(SessionIndex session, uint64_t ticket, int64_t waited_ns = 0,
               int64_t rest_ns = kHour) {
    engine_->Enqueue(now_, session, ticket, waited_ns, rest_ns, actions_);
  }
};

TEST_F(SharedQueueTest, LocalAndRemoteWaitersShareOneOrder) {
  Start();
  const Grant holder = MustAcquire();
  Enqueue(kAlice, 11);
  const uint64_t remote = MustQueue();
  Enqueue(kBob, 12);
  Release(holder);
  ASSERT_EQ(actions_.send_grant.size(), 1u);
  const Actions::SendGrant alice = actions_.send_grant[0];
  EXPECT_EQ(alice.session, kAlice);
  EXPECT_EQ(alice.ticket, 11u);
  EXPECT_EQ(pool_->Word(0), BusyWord(kAlice, GenerationOf(alice.token)));
  engine_->GrantAck(kAlice, 0, 11);
  LocalRelease(kAlice, {0, GenerationOf(alice.token)});
  ASSERT_EQ(actions_.waiter_granted.size(), 1u);
  EXPECT_EQ(actions_.waiter_granted[0].ticket, remote);
  Release(actions_.waiter_granted[0].grant);
  ASSERT_EQ(actions_.send_grant.size(), 2u);
  EXPECT_EQ(actions_.send_grant[1].session, kBob);
}

TEST_F(SharedQueueTest, WaitsAreReportedByPathFromTheirFirstCallOn) {
  Start();
  const Grant holder = MustAcquire();
  const uint64_t first_call = MustQueue(Request(kHour, /*request_id=*/7));
  Enqueue(kAlice, 11);
  Jump(2 * kSecond);
  EXPECT_EQ(engine_->Counts().local_waiters_queued, 1u);
  EXPECT_EQ(now_.boot_ns - engine_->Counts().first_waits_since_ns, 2 * kSecond);
  engine_->CancelCall(now_, first_call, actions_);
  Jump(kSecond);
  MustQueue(Request(kHour, /*request_id=*/7));  // takes up its place
  Jump(kSecond);
  EXPECT_TRUE(actions_.waited.empty());
  Release(holder);
  ASSERT_EQ(actions_.waiter_granted.size(), 1u);
  Release(actions_.waiter_granted[0].grant);
  ASSERT_EQ(actions_.waited.size(), 2u);
  EXPECT_EQ(actions_.waited[0].path, LeasePath::kRemote);
  EXPECT_EQ(actions_.waited[0].waited_ns, 4 * kSecond);
  EXPECT_EQ(actions_.waited[1].path, LeasePath::kLocal);
  EXPECT_EQ(actions_.waited[1].waited_ns, 4 * kSecond);
  EXPECT_EQ(engine_->Counts().first_waits_since_ns, kNever);
}

TEST_F(SharedQueueTest, TimeAlreadyWaitedCountsButNotBeyondMaxOvertakeOrTheSessionsAge) {
  Start();
  const Grant holder = MustAcquire();
  Pass(kSecond);
  const uint64_t remote = MustQueue();
  Pass(options_.max_overtake_ns + 50 * kMillisecond);
  Enqueue(kAlice, 1, /*waited_ns=*/kHour);
  EXPECT_EQ(std::get<QueueState>(engine_->Position(now_, remote)).position, 1u);
  sessions_.attached[kBob] = now_.boot_ns;
  Enqueue(kBob, 1, /*waited_ns=*/kHour);
  sessions_.attached[kCarol] = 0;
  Jump(kMillisecond);
  Enqueue(kCarol, 1, /*waited_ns=*/50 * kMillisecond);
  const auto waiters = engine_->ListWaiters(now_);
  ASSERT_EQ(waiters.size(), 4u);
  EXPECT_EQ(waiters[0].path, LeasePath::kRemote);
  EXPECT_EQ(waiters[1].principal, "uid:1002");
  EXPECT_EQ(waiters[2].principal, "uid:1004");
  EXPECT_EQ(waiters[3].principal, "uid:1003");
  Release(holder);
}

TEST_F(SharedQueueTest, EnqueueingTheSameTicketAgainChangesNothing) {
  Start();
  MustAcquire();
  Enqueue(kAlice, 1);
  Enqueue(kAlice, 1);
  EXPECT_EQ(engine_->Counts().waiters, 1u);
  engine_->Leave(now_, kAlice, 1, actions_);
  EXPECT_EQ(engine_->Counts().waiters, 0u);
  EXPECT_EQ(gate(), shm::Gate::kOpen);
}

TEST_F(SharedQueueTest, ALocalWaiterAtAFreeSlotIsServedAtOnceWithoutMovingTheGate) {
  options_.fairness = Fairness::kFifo;
  Start();
  Enqueue(kAlice, 1);
  EXPECT_EQ(actions_.send_grant.size(), 1u);
  EXPECT_EQ(engine_->stats().gate_closings, 0u);
}

TEST_F(SharedQueueTest, FifoClosesTheGateForAsLongAsSomebodyWaits) {
  options_.fairness = Fairness::kFifo;
  Start();
  const SlotGrant held = MustLocalAcquire(kAlice);
  const uint64_t first = MustQueue();
  EXPECT_EQ(gate(), shm::Gate::kClosed);
  EXPECT_FALSE(LocalAcquire(kBob).has_value());
  EXPECT_EQ(RefusalOf(Acquire(Request())), Reason::kNoFreeSlot);
  LocalRelease(kAlice, held);
  ASSERT_EQ(actions_.waiter_granted.size(), 1u);
  EXPECT_EQ(actions_.waiter_granted[0].ticket, first);
  EXPECT_EQ(gate(), shm::Gate::kOpen);
}

TEST_F(SharedQueueTest, BoundedLetsNewcomersOvertakeUntilTheHeadLosesPatience) {
  Start();
  const SlotGrant held = MustLocalAcquire(kAlice);
  const uint64_t waiter = MustQueue();
  EXPECT_EQ(gate(), shm::Gate::kNotify);
  EXPECT_EQ(engine_->NextDeadlineNs(), now_.boot_ns + options_.max_overtake_ns);
  // A client that is quick enough overtakes: release and acquire before the engine looks.
  LocalClient::Release(pool_->words(), kAlice, held);
  const SlotGrant overtaker = MustLocalAcquire(kBob);
  engine_->OnReleased(now_, actions_);
  EXPECT_TRUE(actions_.waiter_granted.empty());
  Jump(options_.max_overtake_ns);
  engine_->OnTimer(now_, actions_);
  EXPECT_EQ(gate(), shm::Gate::kClosed);
  LocalClient::Release(pool_->words(), kBob, overtaker);
  EXPECT_FALSE(LocalAcquire(kAlice).has_value());
  EXPECT_EQ(RefusalOf(Acquire(Request())), Reason::kNoFreeSlot);
  engine_->OnReleased(now_, actions_);
  ASSERT_EQ(actions_.waiter_granted.size(), 1u);
  EXPECT_EQ(actions_.waiter_granted[0].ticket, waiter);
  EXPECT_EQ(gate(), shm::Gate::kOpen);
}

TEST_F(SharedQueueTest, TheGateReopensAsSoonAsNoWaiterIsOverItsPatience) {
  Start();
  const Grant holder = MustAcquire();
  MustQueue();
  Pass(options_.max_overtake_ns);
  EXPECT_EQ(gate(), shm::Gate::kClosed);
  MustQueue();
  Release(holder);
  ASSERT_EQ(actions_.waiter_granted.size(), 1u);
  EXPECT_EQ(gate(), shm::Gate::kNotify) << "the second one has only just come";
}

TEST_F(SharedQueueTest, PatienceGrowsWithTheQueueUpToTenTimes) {
  options_.max_overtake_ns = 100 * kMillisecond;
  EXPECT_EQ(PatienceNs(options_, 1, 0), 100 * kMillisecond);
  EXPECT_EQ(PatienceNs(options_, 5, 30 * kMillisecond), 300 * kMillisecond);
  EXPECT_EQ(PatienceNs(options_, 1000, 30 * kMillisecond), 1000 * kMillisecond);
}

TEST_F(SharedQueueTest, GrantsAreRightWithClientsThatIgnoreTheGate) {
  options_.fairness = Fairness::kFifo;
  Start();
  const SlotGrant held = MustLocalAcquire(kAlice);
  const uint64_t waiter = MustQueue();
  LocalClient::Release(pool_->words(), kAlice, held);
  const auto thief = LocalAcquire(kBob, /*ignores_gate=*/true);
  ASSERT_TRUE(thief.has_value());
  engine_->OnReleased(now_, actions_);
  EXPECT_TRUE(actions_.waiter_granted.empty());
  EXPECT_EQ(pool_->Word(0), BusyWord(kBob, thief->gen));
  LocalRelease(kBob, *thief);
  ASSERT_EQ(actions_.waiter_granted.size(), 1u);
  EXPECT_EQ(actions_.waiter_granted[0].ticket, waiter);
}

TEST_F(SharedQueueTest, AFailedSendPassesTheSlotOn) {
  Start();
  const Grant holder = MustAcquire();
  Enqueue(kAlice, 1);
  Enqueue(kAlice, 2);
  Enqueue(kBob, 1);
  Release(holder);
  ASSERT_EQ(actions_.send_grant.size(), 1u);
  const auto sent = actions_.send_grant[0];
  engine_->SendFailed(now_, kAlice, sent.slot, sent.token, actions_);
  ASSERT_EQ(actions_.send_grant.size(), 2u);
  EXPECT_EQ(actions_.send_grant[1].session, kBob) << "the failing session is as good as ended";
  EXPECT_GT(actions_.send_grant[1].token, sent.token);
}

TEST_F(SharedQueueTest, AnEndedSessionsTicketsLeaveBeforeItsSlotsAreGivenOn) {
  Start();
  const SlotGrant held = MustLocalAcquire(kAlice);
  Enqueue(kAlice, 1);
  Enqueue(kBob, 1);
  EndSession(kAlice);
  ASSERT_EQ(actions_.send_grant.size(), 1u);
  EXPECT_EQ(actions_.send_grant[0].session, kBob);
  EXPECT_GT(GenerationOf(actions_.send_grant[0].token), held.gen);
  EXPECT_EQ(engine_->stats().recovered_local, 1u);
}

}  // namespace
}  // namespace leaseplane::engine
