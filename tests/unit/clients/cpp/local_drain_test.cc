// SPDX-License-Identifier: Apache-2.0
// A pool that an operator drains: who asks or waits is told so, who holds a lease notices nothing.
#include <thread>

#include "tests/unit/clients/cpp/local_fixture.h"

namespace leaseplane {
namespace {

constexpr absl::Duration kLong = absl::Minutes(10);

class LocalDrainTest : public LocalTest {
 protected:
  // What a wait in a full pool ends with when that is drained; `is_waiting`: it can be.
  template <class IsWaiting>
  Reason DrainUnderAWaiter(const std::string& name, IsWaiting is_waiting) {
    StartDaemon();
    const Client client = Connect();
    const Pool pool = Open(client, name);
    const Lease one = pool.TryAcquire();
    const Lease two = pool.TryAcquire();
    absl::Status ended;
    std::thread waiting([&] { ended = pool.Acquire({.max_wait = kLong}).status(); });
    EXPECT_TRUE(Eventually(is_waiting));
    daemon_->SetDrained(name, true);
    waiting.join();
    EXPECT_TRUE(one.still_held());
    EXPECT_EQ(daemon_->EnlistedCount(name), 0u);
    EXPECT_EQ(daemon_->QueueLength(), 0u);
    return ReasonOf(ended);
  }
};

TEST_F(LocalDrainTest, NothingIsGrantedAndLeasesLiveOn) {
  StartDaemon();
  const Client client = Connect();
  const Pool pool = Open(client);
  Lease held = pool.TryAcquire();
  daemon_->SetDrained("gpu", true);
  EXPECT_TRUE(held.still_held());
  EXPECT_FALSE(pool.TryAcquire());
  EXPECT_EQ(ReasonOf(pool.Acquire({}).status()), Reason::kPoolDraining);
  EXPECT_EQ(ReasonOf(pool.Acquire({.max_wait = kLong}).status()), Reason::kPoolDraining);
  EXPECT_TRUE(std::move(held).Release().ok());
  EXPECT_FALSE(pool.TryAcquire());
  daemon_->SetDrained("gpu", false);
  EXPECT_TRUE(pool.TryAcquire());
  EXPECT_TRUE(pool.Acquire({.max_wait = kLong}).ok());
}

TEST_F(LocalDrainTest, AWaiterOfTheSharedWordLeaves) {
  daemon_options_.pools[0].max_overtake_ns = 3'600'000'000'000;  // never the queue
  EXPECT_EQ(DrainUnderAWaiter("gpu", [this] { return daemon_->EnlistedCount("gpu") == 1; }),
            Reason::kPoolDraining);
}

TEST_F(LocalDrainTest, AWaiterInTheQueueLeaves) {
  daemon_options_.pools[0].max_overtake_ns = 1'000'000;
  EXPECT_EQ(DrainUnderAWaiter("gpu", [this] { return daemon_->QueueLength() == 1; }),
            Reason::kPoolDraining);
}

TEST_F(LocalDrainTest, AWaiterInAFifoQueueLeaves) {
  EXPECT_EQ(DrainUnderAWaiter("line", [this] { return daemon_->QueueLength() == 1; }),
            Reason::kPoolDraining);
}

// The gate is void then; the grant bits are not.
TEST_F(LocalDrainTest, ASilentDaemonDoesNotOpenIt) {
  StartDaemon();
  const Client client = Connect();
  const Pool pool = Open(client);
  daemon_->SetGate("gpu", shm::Gate::kClosed);
  EXPECT_FALSE(pool.TryAcquire());
  daemon_->SetBeating(false);
  EXPECT_TRUE(Eventually([&] { return static_cast<bool>(pool.TryAcquire()); })) << "void";
  daemon_->SetDrained("gpu", true);
  EXPECT_FALSE(pool.TryAcquire());
  EXPECT_EQ(ReasonOf(pool.Acquire({}).status()), Reason::kPoolDraining);
}

}  // namespace
}  // namespace leaseplane
