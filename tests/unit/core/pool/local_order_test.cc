// SPDX-License-Identifier: Apache-2.0
// Waiting among local waiters: the looks before a wait is counted as one, and how long until the
// daemon is asked.
#include <gtest/gtest.h>

#include <functional>

#include "core/pool/waiter.h"
#include "tests/unit/core/pool/heap_pool.h"

namespace leaseplane {
namespace {

// Pauses and sleeps are counted, and others act in them. Nobody is woken: each sleep takes its
// time.
struct M : RealMemory {
  static inline int pauses, sleeps;
  static inline int64_t now_ns;
  static inline std::function<void()> in_pause, in_sleep;

  static int SpinRounds() noexcept { return 3; }
  static void Pause() {
    ++pauses;
    if (in_pause) in_pause();
  }
  static bool FutexWait(U32&, uint32_t, int64_t timeout_ns, uint32_t = kAnySleeper) {
    ++sleeps;
    now_ns += timeout_ns;
    if (in_sleep) in_sleep();
    return false;
  }
};

// A daemon whose queue is full; it notes when it was asked.
struct FullQueuePort {
  int64_t asked_after_ns = 0;

  int64_t NowNs() const { return M::now_ns; }
  void Enqueue(Ticket<M>& ticket, int64_t waited_ns, int64_t) {
    asked_after_ns = waited_ns;
    ticket.Answer(TicketState::kRefused);
  }
  void Forget(Ticket<M>&) {}
  void Leave(Ticket<M>&) {}
};

// A daemon that refuses the first question, by a queue that is full or a message that is not sent,
// and answers the next with the slot that is free.
struct RefusingOncePort {
  LocalGrant grant;
  int questions = 0;

  int64_t NowNs() const { return M::now_ns; }
  void Enqueue(Ticket<M>& ticket, int64_t, int64_t) {
    ticket.grant = grant;
    ticket.Answer(++questions == 1 ? TicketState::kRefused : TicketState::kGranted);
  }
  void Forget(Ticket<M>&) {}
  void Leave(Ticket<M>&) {}
};

class LocalOrderTest : public ::testing::Test {
 protected:
  LocalOrderTest() {
    authority_.Initialize(/*first_generation=*/10, true, 0);
    M::pauses = M::sleeps = 0;
    M::now_ns = 0;
    M::in_pause = M::in_sleep = nullptr;
    EXPECT_EQ(holder_.Try(held_), TryResult::kOk);
  }
  WaitResult AwaitSlot(bool fifo = false, int64_t max_overtake_ns = int64_t{1} << 55) {
    LocalGrant grant;
    Wait<M, FullQueuePort> wait(waiter_.thread, port_, fifo, max_overtake_ns);
    return wait.Run(0, kNoDeadline, grant);
  }
  // When a waiter beside `others` asks the daemon.
  int64_t PatienceBeside(uint32_t others) {
    pool_.Enlist(others);
    M::in_sleep = [this] {
      if (port_.asked_after_ns != 0) GiveBack();
    };
    EXPECT_EQ(AwaitSlot(/*fifo=*/false, /*max_overtake_ns=*/1'000'000), WaitResult::kOk);
    return port_.asked_after_ns;
  }
  void GiveBack() { holder_.Release(held_); }
  uint64_t Waiters() const { return WaiterCount(M::Load(*pool_.words().wcnt)); }

  FullQueuePort port_;
  HeapPool<M> pool_{1};
  Authority<M> authority_{pool_.words(), 1};
  HeapClient<M> holder_{pool_, 5}, waiter_{pool_, 6};
  LocalGrant held_;
};

TEST_F(LocalOrderTest, ASlotThatComesBackSoonCostsNobodyASleepOrAWake) {
  M::in_pause = [this] {
    EXPECT_EQ(Waiters(), 0u) << "the releaser would wake it";
    if (M::pauses == 2) GiveBack();
  };
  M::in_sleep = [this] { GiveBack(); };  // a wait that does not look ends as well
  EXPECT_EQ(AwaitSlot(), WaitResult::kOk);
  EXPECT_EQ(M::pauses, 2);
  EXPECT_EQ(M::sleeps, 0);
  EXPECT_EQ(pool_.wseq(), 0u);
}

TEST_F(LocalOrderTest, ASpinEndsInASleepThatIsCounted) {
  M::in_sleep = [this] {
    EXPECT_EQ(Waiters(), 1u);
    if (M::sleeps == 1) GiveBack();
  };
  EXPECT_EQ(AwaitSlot(), WaitResult::kOk);
  EXPECT_EQ(M::pauses, 3);
  EXPECT_EQ(M::sleeps, 1);
}

TEST_F(LocalOrderTest, ASpinDoesNotPassThoseWhoWaitAlready) {
  pool_.Enlist(1);
  M::in_sleep = [this] { GiveBack(); };
  EXPECT_EQ(AwaitSlot(), WaitResult::kOk);
  EXPECT_EQ(M::pauses, 0);
}

TEST_F(LocalOrderTest, ASpinStopsWhenTheGateIsClosed) {
  M::in_pause = [this] {
    GiveBack();
    pool_.SetGate(shm::Gate::kClosed);
  };
  M::in_sleep = [this] { pool_.SetGate(shm::Gate::kOpen); };
  EXPECT_EQ(AwaitSlot(), WaitResult::kOk);
  EXPECT_EQ(M::pauses, 1);
  EXPECT_EQ(M::sleeps, 1);
}

TEST_F(LocalOrderTest, NobodySpinsForAnOrderedPool) {
  M::in_pause = [this] { GiveBack(); };
  EXPECT_EQ(AwaitSlot(/*fifo=*/true), WaitResult::kQueueFull);
  EXPECT_EQ(M::pauses, 0);
}

// A brokered pool's gate never opens.
TEST_F(LocalOrderTest, UnderAClosedGateARefusedWaiterAsksAgainAfterASleep) {
  GiveBack();
  pool_.SetGate(shm::Gate::kClosed);
  RefusingOncePort port{.grant = {0, MakeToken(1, 12)}};
  M::in_sleep = [&port] { EXPECT_EQ(port.questions, 1) << "not at once"; };
  LocalGrant grant;
  Wait<M, RefusingOncePort> wait(waiter_.thread, port, /*fifo=*/false, /*max_overtake_ns=*/0);
  EXPECT_EQ(wait.Run(0, /*deadline_ns=*/10 * kSleepCapNs, grant), WaitResult::kOk);
  EXPECT_EQ(port.questions, 2);
  EXPECT_EQ(grant.token, port.grant.token);
  EXPECT_EQ(M::sleeps, 1);
  EXPECT_EQ(M::now_ns, kSleepCapNs);
  EXPECT_EQ(Waiters(), 0u);
}

// A hostile neighbour changes wseq all the time.
TEST_F(LocalOrderTest, HoweverShortTheSleepsTheDaemonIsNotAskedAtOnce) {
  GiveBack();
  pool_.SetGate(shm::Gate::kClosed);
  M::in_sleep = [] { M::now_ns = M::sleeps * (kAskAgainNs / 10); };
  LocalGrant grant;
  RefusingOncePort port;
  Wait<M, RefusingOncePort> wait(waiter_.thread, port, /*fifo=*/false, /*max_overtake_ns=*/0);
  EXPECT_EQ(wait.Run(0, kNoDeadline, grant), WaitResult::kOk);
  EXPECT_EQ(port.questions, 2);
  EXPECT_EQ(M::now_ns, kAskAgainNs);
}

TEST_F(LocalOrderTest, WhereTheGateIsOpenARefusedWaiterStaysWithTheOthers) {
  M::in_sleep = [this] {
    if (M::sleeps == 10) GiveBack();
  };
  LocalGrant grant;
  RefusingOncePort port;
  Wait<M, RefusingOncePort> wait(waiter_.thread, port, /*fifo=*/false, /*max_overtake_ns=*/0);
  EXPECT_EQ(wait.Run(0, kNoDeadline, grant), WaitResult::kOk);
  EXPECT_EQ(port.questions, 1);
}

TEST_F(LocalOrderTest, AWaiterTurnsToTheDaemonAfterMaxOvertake) {
  EXPECT_EQ(PatienceBeside(0), 1'000'000);
}

TEST_F(LocalOrderTest, LaterWhereOthersWaitToo) {
  EXPECT_EQ(PatienceBeside(3), 1'000'000 + 3 * kHandOverNs);
}

TEST_F(LocalOrderTest, AtTenTimesMaxOvertakeHoweverManyTheyClaimToBe) {
  EXPECT_EQ(PatienceBeside(1'000'000), 10'000'000);
}

}  // namespace
}  // namespace leaseplane
