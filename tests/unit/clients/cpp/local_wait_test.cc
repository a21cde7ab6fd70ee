// SPDX-License-Identifier: Apache-2.0
// Waiting: on the shared word, in the daemon's queue, and with a daemon that does not answer.
#include "tests/unit/clients/cpp/local_fixture.h"

namespace leaseplane {
namespace {

constexpr absl::Duration kLong = absl::Seconds(60);

class LocalWaitTest : public LocalTest {
 protected:
  // A thread that waits in Acquire.
  class Waiting {
   public:
    Waiting(const Pool& pool, absl::Duration max_wait)
        : thread_([this, &pool, max_wait] { result_ = pool.Acquire({.max_wait = max_wait}); }) {}
    absl::StatusOr<Lease>& Result() {
      if (thread_.joinable()) thread_.join();
      return result_;
    }
    ~Waiting() {
      if (thread_.joinable()) thread_.join();
    }

   private:
    absl::StatusOr<Lease> result_;
    std::thread thread_;
  };
};

TEST_F(LocalWaitTest, ARelaseWakesAWaiterOfTheSharedWord) {
  daemon_options_.pools[0].max_overtake_ns = 3'600'000'000'000;  // never the queue
  StartDaemon();
  const Client client = Connect();
  const Pool pool = Open(client);
  Lease one = pool.TryAcquire();
  Lease two = pool.TryAcquire();
  Waiting waiting(pool, kLong);
  ASSERT_TRUE(Eventually([this] { return daemon_->EnlistedCount("gpu") == 1; }));
  const SlotIndex slot = two.slot();
  EXPECT_TRUE(std::move(two).Release().ok());
  ASSERT_TRUE(waiting.Result().ok()) << waiting.Result().status();
  EXPECT_EQ(waiting.Result()->slot(), slot);
  EXPECT_EQ(daemon_->EnlistedCount("gpu"), 0u);
}

TEST_F(LocalWaitTest, AWaitThatEndsSaysSoAndLeavesNothingBehind) {
  StartDaemon();
  const Client client = Connect();
  const Pool pool = Open(client);
  const Lease one = pool.TryAcquire();
  const Lease two = pool.TryAcquire();
  const auto none = pool.Acquire({.max_wait = absl::Milliseconds(150)});
  EXPECT_EQ(ReasonOf(none.status()), Reason::kWaitTimeout);
  EXPECT_TRUE(Eventually([this] { return daemon_->QueueLength() == 0; }));
  EXPECT_EQ(daemon_->EnlistedCount("gpu"), 0u);
}

TEST_F(LocalWaitTest, ALongWaitIsServedByTheDaemonsQueue) {
  daemon_options_.pools[0].max_overtake_ns = 1'000'000;
  daemon_options_.pools[0].capacity = 1;
  StartDaemon();
  const Client client = Connect();
  const Pool pool = Open(client);
  Lease held = pool.TryAcquire();
  Waiting waiting(pool, kLong);
  ASSERT_TRUE(Eventually([this] { return daemon_->QueueLength() == 1; }));
  daemon_->SetGate("gpu", shm::Gate::kClosed);
  EXPECT_TRUE(std::move(held).Release().ok());
  ASSERT_TRUE(waiting.Result().ok()) << waiting.Result().status();
  EXPECT_TRUE(waiting.Result()->still_held());
  EXPECT_TRUE(Eventually([this] { return daemon_->acks() == 1; })) << daemon_->acks();
  const Lease& lease = *waiting.Result();
  EXPECT_EQ(daemon_->Audit("gpu", lease.slot(), GenerationOf(lease.token())),
            GenerationOf(lease.token()));
}

TEST_F(LocalWaitTest, AClosedGateStopsTheFastPathUntilTheHeartStandsStill) {
  StartDaemon();
  const Client client = Connect();
  const Pool pool = Open(client);
  daemon_->SetServing(false);
  daemon_->SetGate("gpu", shm::Gate::kClosed);
  EXPECT_FALSE(pool.TryAcquire());
  Waiting waiting(pool, kLong);
  ASSERT_TRUE(Eventually([this] { return daemon_->QueueLength() == 1; }));
  daemon_->SetBeating(false);
  ASSERT_TRUE(waiting.Result().ok()) << waiting.Result().status();
  EXPECT_TRUE(pool.TryAcquire()) << "the gate counts for nothing now";
  daemon_->SetBeating(true);
  EXPECT_TRUE(Eventually([&pool] { return !pool.TryAcquire(); })) << "and counts again";
}

TEST_F(LocalWaitTest, FifoWaitersAreServedInTheOrderOfTheirArrival) {
  StartDaemon();
  const Client client = Connect();
  const Pool pool = Open(client, "line");
  Lease held = pool.TryAcquire();
  std::vector<std::unique_ptr<Waiting>> waiters;
  for (size_t i = 0; i < 4; ++i) {
    waiters.push_back(std::make_unique<Waiting>(pool, kLong));
    ASSERT_TRUE(Eventually([this, i] { return daemon_->QueueLength() == i + 1; }));
  }
  FencingToken last = held.token();
  EXPECT_TRUE(std::move(held).Release().ok());
  for (const auto& waiter : waiters) {
    absl::StatusOr<Lease>& lease = waiter->Result();
    ASSERT_TRUE(lease.ok()) << lease.status();
    EXPECT_GT(lease->token(), last);
    last = lease->token();
    EXPECT_TRUE((*std::move(lease)).Release().ok());
  }
}

TEST_F(LocalWaitTest, ARestartedWorkerHearsOfEveryWaiterAgain) {
  daemon_options_.pools[0].capacity = 1;
  daemon_options_.pools[0].max_overtake_ns = 1'000'000;
  StartDaemon();
  const Client client = Connect();
  const Pool pool = Open(client);
  Lease held = pool.TryAcquire();
  Waiting one(pool, kLong);
  ASSERT_TRUE(Eventually([this] { return daemon_->QueueLength() == 1; }));
  daemon_->RestartWorker();
  ASSERT_TRUE(Eventually([this] { return daemon_->QueueLength() == 1; }));
  EXPECT_EQ(daemon_->resent_tickets(), 1);
  EXPECT_TRUE(held.still_held());
  EXPECT_TRUE(std::move(held).Release().ok());
  EXPECT_TRUE(one.Result().ok());
}

TEST_F(LocalWaitTest, AGrantThatComesTooLateIsGivenBack) {
  daemon_options_.pools[0].capacity = 1;
  daemon_options_.pools[0].max_overtake_ns = 0;
  StartDaemon();
  const Client client = Connect();
  const Pool pool = Open(client);
  // Waits end at every instant around the grant; whoever loses the race gives the slot back.
  for (int i = 0; i < 200; ++i) {
    Lease held = pool.TryAcquire();
    if (!held) {
      --i;
      continue;
    }
    Waiting waiting(pool, absl::Microseconds(100 * i));
    std::this_thread::sleep_for(std::chrono::microseconds(100 * (i % 50)));
    EXPECT_TRUE(std::move(held).Release().ok());
  }
  EXPECT_TRUE(Eventually([this] { return daemon_->BusyCount("gpu") == 0; }));
  EXPECT_TRUE(Eventually([this] { return daemon_->QueueLength() == 0; }));
}

}  // namespace
}  // namespace leaseplane
