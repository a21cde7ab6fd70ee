// SPDX-License-Identifier: Apache-2.0
//
// Waiting calls: order, ends, kept places, bounds, estimates, drain.
#include "tests/unit/server/engine/engine_fixture.h"

namespace leaseplane::engine {
namespace {

class WaitingTest : public EngineTest {
 protected:
  WaitingTest() { options_.capacity = 1; }
  void Enqueue(SessionIndex session, uint64_t ticket, int64_t waited_ns = 0,
               int64_t rest_ns = kHour) {
    engine_->Enqueue(now_, session, ticket, waited_ns, rest_ns, actions_);
  }
};

TEST_F(WaitingTest, RemoteWaitersAreServedInOrderOfArrival) {
  Start();
  const Grant holder = MustAcquire();
  const uint64_t first = MustQueue();
  const uint64_t second = MustQueue();
  EXPECT_EQ(std::get<QueueState>(engine_->Position(now_, second)).position, 2u);
  Release(holder);
  ASSERT_EQ(actions_.waiter_granted.size(), 1u);
  EXPECT_EQ(actions_.waiter_granted[0].ticket, first);
  EXPECT_EQ(std::get<QueueState>(engine_->Position(now_, second)).position, 1u);
  Release(actions_.waiter_granted[0].grant);
  ASSERT_EQ(actions_.waiter_granted.size(), 2u);
  EXPECT_EQ(actions_.waiter_granted[1].ticket, second);
}

TEST_F(WaitingTest, AGrantAfterAWaitHasTheFullTtlAndSaysHowLongItWaited) {
  Start();
  const Grant holder = MustAcquire();
  MustQueue();
  Pass(3 * kSecond);
  Release(holder);
  ASSERT_EQ(actions_.waiter_granted.size(), 1u);
  EXPECT_EQ(actions_.waiter_granted[0].grant.queued_ns, 3 * kSecond);
  EXPECT_EQ(actions_.waiter_granted[0].grant.lease.remaining_ns, options_.default_ttl_ns);
}

TEST_F(WaitingTest, AWaitEndsAtItsInstantWithATimeout) {
  Start();
  MustAcquire();
  const uint64_t ticket = MustQueue(Request(70 * kMillisecond));
  EXPECT_LE(engine_->NextDeadlineNs(), now_.boot_ns + 70 * kMillisecond);
  Jump(70 * kMillisecond);
  engine_->OnTimer(now_, actions_);
  ASSERT_EQ(actions_.waiter_refused.size(), 1u);
  EXPECT_EQ(actions_.waiter_refused[0].ticket, ticket);
  EXPECT_EQ(actions_.waiter_refused[0].refusal.reason, Reason::kWaitTimeout);
  EXPECT_EQ(gate(), shm::Gate::kOpen);
}

TEST_F(WaitingTest, AWaiterWhoseCallEndedIsGrantedNothing) {
  Start();
  const Grant holder = MustAcquire();
  const uint64_t gone = MustQueue();
  const uint64_t next = MustQueue();
  engine_->CancelCall(now_, gone, actions_);
  Release(holder);
  ASSERT_EQ(actions_.waiter_granted.size(), 1u);
  EXPECT_EQ(actions_.waiter_granted[0].ticket, next);
}

TEST_F(WaitingTest, ARequestIdKeepsThePlaceForAWhile) {
  Start();
  const Grant holder = MustAcquire();
  const uint64_t first = MustQueue(Request(kHour, 1));
  const uint64_t second = MustQueue(Request(kHour, 2));
  engine_->CancelCall(now_, first, actions_);
  EXPECT_EQ(std::get<QueueState>(engine_->Position(now_, second)).position, 1u);
  Pass(4 * kSecond);
  const uint64_t again = MustQueue(Request(kHour, 1));
  EXPECT_NE(again, first);
  const auto position = std::get<QueueState>(engine_->Position(now_, again));
  EXPECT_EQ(position.position, 1u);
  EXPECT_EQ(position.waited_ns, 4 * kSecond);
  Release(holder);
  ASSERT_EQ(actions_.waiter_granted.size(), 1u);
  EXPECT_EQ(actions_.waiter_granted[0].ticket, again);
}

TEST_F(WaitingTest, AnAbsentWaiterIsForgottenAfterTheGraceAndBlocksNobodyMeanwhile) {
  Start();
  const Grant holder = MustAcquire();
  const uint64_t first = MustQueue(Request(kHour, 1));
  engine_->CancelCall(now_, first, actions_);
  EXPECT_EQ(gate(), shm::Gate::kOpen) << "nobody would take a slot now";
  Release(holder);
  EXPECT_TRUE(LocalRelease(kAlice, MustLocalAcquire(kAlice)));
  EXPECT_EQ(engine_->Counts().waiters, 1u);
  Pass(kTicketGrace);
  EXPECT_EQ(engine_->Counts().waiters, 0u);
}

TEST_F(WaitingTest, AnAbsentWaiterThatComesBackToAFreeSlotGetsIt) {
  Start();
  const Grant holder = MustAcquire();
  engine_->CancelCall(now_, MustQueue(Request(kHour, 1)), actions_);
  Release(holder);
  const Grant grant = MustAcquire(Request(0, 1));
  EXPECT_EQ(grant.lease.slot, 0u);
  EXPECT_TRUE(actions_.waiter_granted.empty()) << "the answer is the only one";
}

TEST_F(WaitingTest, ARepeatedCallTakesThePlaceFromTheOlderCall) {
  Start();
  MustAcquire();
  const uint64_t first = MustQueue(Request(kHour, 1));
  const uint64_t again = MustQueue(Request(kHour, 1));
  ASSERT_EQ(actions_.waiter_refused.size(), 1u);
  EXPECT_EQ(actions_.waiter_refused[0].ticket, first);
  EXPECT_EQ(actions_.waiter_refused[0].refusal.reason, Reason::kCancelled);
  engine_->CancelCall(now_, first, actions_);
  EXPECT_EQ(std::get<QueueState>(engine_->Position(now_, again)).position, 1u)
      << "the older call's end is not the newer one's";
  AcquireRequest other = Request(kHour, 1);
  other.body_hash = 8;
  EXPECT_EQ(RefusalOf(Acquire(other)), Reason::kRequestIdConflict);
}

TEST_F(WaitingTest, ATimedOutCallWithARequestIdKeepsItsPlaceForTheNextCall) {
  Start();
  MustAcquire();
  const uint64_t first = MustQueue(Request(kHour, 1));
  MustQueue(Request(kHour, 2));
  engine_->EndWait(now_, first, Reason::kWaitTimeout, actions_);
  ASSERT_EQ(actions_.waiter_refused.size(), 1u);
  EXPECT_EQ(actions_.waiter_refused[0].refusal.reason, Reason::kWaitTimeout);
  const uint64_t again = MustQueue(Request(kHour, 1));
  EXPECT_EQ(std::get<QueueState>(engine_->Position(now_, again)).position, 1u);
}

TEST_F(WaitingTest, AFullQueueAnswersAtOnce) {
  options_.max_waiters = 2;
  Start();
  MustAcquire();
  MustQueue();
  Enqueue(kAlice, 1);
  EXPECT_EQ(RefusalOf(Acquire(Request(kHour))), Reason::kQueueFull);
  Enqueue(kBob, 1);
  ASSERT_EQ(actions_.ticket_refused.size(), 1u);
  EXPECT_EQ(actions_.ticket_refused[0].session, kBob);
  EXPECT_EQ(actions_.ticket_refused[0].reason, Reason::kQueueFull);
}

TEST_F(WaitingTest, AClientMayHaveOnlySoManyWaiting) {
  options_.max_waiters_per_client = 1;
  Start();
  MustAcquire();
  MustQueue();
  EXPECT_EQ(RefusalOf(Acquire(Request(kHour))), Reason::kClientQuota);
  AcquireRequest other = Request(kHour);
  other.client_id = "other";
  MustQueue(other);
}

TEST_F(WaitingTest, TheEstimateIsTheMeanHoldTimesThePosition) {
  Start();
  for (int i = 0; i < 4; ++i) {
    const Grant grant = MustAcquire();
    Pass(2 * kSecond);
    Release(grant);
  }
  MustAcquire();
  MustQueue();
  const uint64_t second = MustQueue();
  const auto position = std::get<QueueState>(engine_->Position(now_, second));
  EXPECT_NEAR(static_cast<double>(position.estimated_wait_ns), 4.0 * kSecond, 0.2 * kSecond);
}

TEST_F(WaitingTest, LocalHoldsCountInTheEstimateToo) {
  Start();
  for (int i = 0; i < 4; ++i) {
    const SlotGrant held = MustLocalAcquire(kAlice);
    Pass(kSecond);
    LocalRelease(kAlice, held);
    Pass(kSecond);
  }
  MustAcquire();
  const uint64_t ticket = MustQueue();
  const auto position = std::get<QueueState>(engine_->Position(now_, ticket));
  EXPECT_NEAR(static_cast<double>(position.estimated_wait_ns), 1.0 * kSecond, 0.2 * kSecond);
}

TEST_F(WaitingTest, OperatorsSeeWaitersInOrderAndCanDropThem) {
  Start();
  MustAcquire();
  const uint64_t remote = MustQueue(Request(kHour, 9));
  Enqueue(kAlice, 77);
  const auto waiters = engine_->ListWaiters(now_);
  ASSERT_EQ(waiters.size(), 2u);
  EXPECT_EQ(waiters[0].ticket, remote);
  EXPECT_EQ(waiters[1].path, LeasePath::kLocal);
  engine_->CancelWaiter(now_, remote, actions_);
  engine_->CancelWaiter(now_, waiters[1].ticket, actions_);
  ASSERT_EQ(actions_.waiter_refused.size(), 1u);
  EXPECT_EQ(actions_.waiter_refused[0].refusal.reason, Reason::kCancelled);
  ASSERT_EQ(actions_.ticket_refused.size(), 1u);
  EXPECT_EQ(actions_.ticket_refused[0].ticket, 77u);
  EXPECT_EQ(engine_->Counts().waiters, 0u);
  EXPECT_EQ(ReasonIn(engine_->CancelWaiter(now_, remote, actions_)), Reason::kNotFound);
}

TEST_F(WaitingTest, DrainRefusesWaitersAndNewRequestsAndKeepsLeases) {
  options_.capacity = 2;
  Start();
  const Grant grant = MustAcquire();
  const SlotGrant local = MustLocalAcquire(kAlice);
  MustQueue();
  Enqueue(kBob, 1);
  engine_->BeginDrain(now_, Reason::kDraining, actions_);
  ASSERT_EQ(actions_.waiter_refused.size(), 1u);
  EXPECT_EQ(actions_.waiter_refused[0].refusal.reason, Reason::kDraining);
  EXPECT_GT(actions_.waiter_refused[0].refusal.retry_after_ns, 0);
  ASSERT_EQ(actions_.ticket_refused.size(), 1u);
  EXPECT_EQ(RefusalOf(Acquire(Request())), Reason::kDraining);
  EXPECT_FALSE(LocalAcquire(kBob).has_value());
  Enqueue(kBob, 2);
  EXPECT_EQ(actions_.ticket_refused.size(), 2u);
  EXPECT_EQ(ReasonIn(Renew(grant)), Reason::kNone);
  EXPECT_TRUE(LocalRelease(kAlice, local));
  engine_->RevokeAll(now_, actions_);
  EXPECT_EQ(actions_.lease_ended.size(), 1u);
  EXPECT_TRUE(ledger_.leases.empty());
}

TEST_F(WaitingTest, AStoreThatFailsStopsRemoteGrantsOnly) {
  Start();
  const Grant holder = MustAcquire();
  MustQueue();
  Enqueue(kAlice, 1);
  engine_->SetRemoteRefusal(now_, Reason::kStoreFailed, actions_);
  ASSERT_EQ(actions_.waiter_refused.size(), 1u);
  EXPECT_EQ(actions_.waiter_refused[0].refusal.reason, Reason::kStoreFailed);
  EXPECT_EQ(RefusalOf(Acquire(Request())), Reason::kStoreFailed);
  Release(holder);
  EXPECT_EQ(actions_.send_grant.size(), 1u);
  engine_->SetRemoteRefusal(now_, Reason::kNone, actions_);
  EXPECT_EQ(RefusalOf(Acquire(Request())), Reason::kNoFreeSlot);
}

TEST(WaitOrderTest, RanksAndOrderAgreeWithASortedListUnderRandomUse) {
  WaitOrder order;
  std::vector<Place> expected;
  uint64_t x = 88172645463325252u;
  for (uint64_t i = 1; i <= 6000; ++i) {
    x ^= x << 13, x ^= x >> 7, x ^= x << 17;
    if (x % 5 < 3 || expected.empty()) {
      const Place place{static_cast<int64_t>(x % 997), i};
      expected.insert(std::lower_bound(expected.begin(), expected.end(), place), place);
      order.Insert(place, i);
    } else {
      const size_t at = x % expected.size();
      EXPECT_TRUE(order.Erase(expected[at]));
      EXPECT_FALSE(order.Erase(expected[at]));
      expected.erase(expected.begin() + static_cast<std::ptrdiff_t>(at));
    }
    ASSERT_EQ(order.size(), expected.size());
    if (expected.empty()) continue;
    ASSERT_EQ(order.Front()->place, expected.front());
    const size_t at = (x >> 20) % expected.size();
    ASSERT_EQ(order.Rank(expected[at]), at);
  }
}

}  // namespace
}  // namespace leaseplane::engine
