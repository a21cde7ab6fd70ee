// SPDX-License-Identifier: Apache-2.0
#include "tests/conformance/lease_suite.h"

#include <unistd.h>

#include <set>

namespace leaseplane {
namespace {

INSTANTIATE_TEST_SUITE_P(Paths, LeaseSuite,
                         ::testing::Values(Way::kLocal, Way::kTcp, Way::kUnixSocket),
                         [](const auto& way) { return NameOf(way.param); });

TEST_P(LeaseSuite, TheClientSaysWhichWayItTook) {
  const Client client = Connect();
  const Pool pool = Open(client, "pair");
  EXPECT_EQ(client.path(), is_local() ? Path::kLocal : Path::kRemote);
  EXPECT_EQ(pool.path(), client.path());
  EXPECT_EQ(pool.capacity(), 2u);
  EXPECT_FALSE(client.path_reason().empty());
  EXPECT_FALSE(client.instance_id().empty());
  EXPECT_EQ(pool.TryAcquire().path(), client.path());
}

TEST_P(LeaseSuite, BothPathsSpeakOfTheSameAuthority) {
  const auto other = Client::Connect(daemon_.unix_target());
  ASSERT_TRUE(other.ok());
  EXPECT_EQ(Connect().instance_id(), other->instance_id());
}

TEST_P(LeaseSuite, ASlotIsHeldByOneAtATimeAndTokensGrow) {
  const Client client = Connect();
  const Pool pool = Open(client, "single");
  FencingToken last = 0;
  for (int i = 0; i < 20; ++i) {
    Lease lease = pool.TryAcquire();
    ASSERT_TRUE(lease);
    EXPECT_EQ(lease.slot(), 0u);
    EXPECT_GT(lease.token(), last);
    EXPECT_LE(lease.token(), kFencingTokenMax);
    last = lease.token();
    EXPECT_TRUE(lease.still_held());
    EXPECT_GT(lease.remaining(), absl::ZeroDuration());
    EXPECT_FALSE(pool.TryAcquire());
    EXPECT_TRUE(std::move(lease).Release().ok());
  }
}

TEST_P(LeaseSuite, ALeaseNamesWhatItsSlotStandsFor) {
  const Client client = Connect();
  const Pool pool = Open(client, "pair");
  const Lease one = pool.TryAcquire();
  const Lease two = pool.TryAcquire();
  ASSERT_TRUE(one && two);
  for (const Lease* lease : {&one, &two}) {
    EXPECT_EQ(lease->resource(), lease->slot() == 0 ? "left" : "right");
    EXPECT_EQ(lease->pool(), "pair");
    EXPECT_EQ(lease->name().rfind("pools/pair/leases/", 0), 0u) << lease->name();
  }
}

TEST_P(LeaseSuite, LeavingAScopeGivesTheSlotBack) {
  const Client client = Connect();
  const Pool pool = Open(client, "single");
  { const Lease lease = pool.TryAcquire(); }
  EXPECT_TRUE(Eventually([&] { return static_cast<bool>(pool.TryAcquire()); }));
  EXPECT_TRUE(lost().empty());
}

TEST_P(LeaseSuite, TheRefusalOfAFullPoolSaysWhy) {
  const Client client = Connect();
  const Pool pool = Open(client, "single");
  const Lease held = pool.TryAcquire();
  const absl::Status now = pool.Acquire().status();
  EXPECT_EQ(now.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ReasonOf(now), Reason::kNoFreeSlot);
  const absl::Status later = pool.Acquire({.max_wait = absl::Milliseconds(300)}).status();
  EXPECT_EQ(later.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ReasonOf(later), Reason::kWaitTimeout);
}

TEST_P(LeaseSuite, AnUnknownPoolIsNotFound) {
  const absl::Status status = Connect().OpenPool("nowhere").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(ReasonOf(status), Reason::kNotFound);
}

TEST_P(LeaseSuite, ANegativeWaitIsAnInvalidArgument) {
  const Client client = Connect();
  const Pool pool = Open(client, "pair");
  EXPECT_EQ(ReasonOf(pool.Acquire({.max_wait = absl::Seconds(-1)}).status()),
            Reason::kInvalidArgument);
}

TEST_P(LeaseSuite, AWaiterGetsTheSlotThatIsReleased) {
  const Client client = Connect();
  for (const char* name : {"single", "line"}) {
    const Pool pool = Open(client, name);
    Lease held = pool.TryAcquire();
    ASSERT_TRUE(held);
    const FencingToken token = held.token();
    Waiting waiting(pool, kLong);
    std::this_thread::sleep_for(std::chrono::milliseconds(200));  // most often it waits by now
    EXPECT_TRUE(std::move(held).Release().ok());
    ASSERT_TRUE(waiting.Result().ok()) << name << ": " << waiting.Result().status();
    EXPECT_GT(waiting.Result()->token(), token);
  }
}

TEST_P(LeaseSuite, AWaitThatEndedIsGrantedNothingAfterwards) {
  const Client client = Connect();
  const Pool pool = Open(client, "line");
  Lease held = pool.TryAcquire();
  EXPECT_FALSE(pool.Acquire({.max_wait = absl::Milliseconds(200)}).ok());
  EXPECT_TRUE(std::move(held).Release().ok());
  EXPECT_TRUE(Eventually([&] { return static_cast<bool>(pool.TryAcquire()); }));
}

TEST_P(LeaseSuite, AFullQueueAnswersAtOnce) {
  const Client client = Connect();
  const Pool pool = Open(client, "short");
  Lease held = pool.TryAcquire();
  // One of the two stands in the queue when the other is refused; the first does not give up.
  absl::StatusOr<Lease> first;
  std::thread waiter([&] {
    do {
      first = pool.Acquire({.max_wait = kLong});
    } while (ReasonOf(first.status()) == Reason::kQueueFull);
  });
  EXPECT_TRUE(Eventually([&] {
    const auto second = pool.Acquire({.max_wait = absl::Milliseconds(50)});
    return ReasonOf(second.status()) == Reason::kQueueFull;
  }));
  EXPECT_TRUE(std::move(held).Release().ok());
  waiter.join();
  EXPECT_TRUE(first.ok()) << first.status();
}

TEST_P(LeaseSuite, ManyThreadsNeverMeetOnASlot) {
  const Client client = Connect();
  const Pool pool = Open(client, "pair");
  std::vector<FencingToken> last(2);  // a race on these is the error this looks for
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 50; ++i) {
        absl::StatusOr<Lease> lease = pool.Acquire({.max_wait = kLong});
        ASSERT_TRUE(lease.ok()) << lease.status();
        ASSERT_GT(lease->token(), last[lease->slot()]);
        last[lease->slot()] = lease->token();
        ASSERT_TRUE((*std::move(lease)).Release().ok());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(lost().empty());
}

TEST_P(LeaseSuite, LocalAndRemoteHoldersShareOnePool) {
  const Client client = Connect();
  const Pool pool = Open(client, "single");
  ClientOptions options;
  options.forbid_local = is_local();
  const auto other = Client::Connect(daemon_.unix_target(), options);
  ASSERT_TRUE(other.ok()) << other.status();
  const auto other_pool = other->OpenPool("single");
  ASSERT_TRUE(other_pool.ok()) << other_pool.status();
  ASSERT_NE(other_pool->path(), pool.path());
  Lease mine = pool.TryAcquire();
  ASSERT_TRUE(mine);
  EXPECT_FALSE(other_pool->TryAcquire());
  Waiting theirs(*other_pool, kLong);
  const FencingToken token = mine.token();
  EXPECT_TRUE(std::move(mine).Release().ok());
  ASSERT_TRUE(theirs.Result().ok()) << theirs.Result().status();
  EXPECT_GT(theirs.Result()->token(), token);
}

TEST_P(LeaseSuite, TheEndOfTheClientEndsItsLeases) {
  Lease lease;
  {
    const Client client = Connect();
    lease = Open(client, "single").TryAcquire();
    ASSERT_TRUE(lease.still_held());
  }
  EXPECT_FALSE(lease.still_held());
  EXPECT_EQ(ReasonOf(std::move(lease).Release()), Reason::kSessionEnded);
}

TEST_P(LeaseSuite, LeasesAndWaitersSurviveARestartOfTheWorker) {
  const Client client = Connect();
  const Pool pool = Open(client, "single");
  Lease held = pool.TryAcquire();
  const FencingToken token = held.token();
  Waiting waiting(pool, kLong);
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  ASSERT_TRUE(Eventually([this] { return daemon_.KillWorker(); }));
  EXPECT_TRUE(held.still_held());
  EXPECT_EQ(held.token(), token);
  const absl::Status released = std::move(held).Release();
  EXPECT_TRUE(released.ok()) << released;
  ASSERT_TRUE(waiting.Result().ok()) << waiting.Result().status();
  EXPECT_GT(waiting.Result()->token(), token);
  EXPECT_TRUE(lost().empty());
}

TEST_P(LeaseSuite, LeasesSurviveTheReplacementOfTheWholeDaemon) {
  const Client client = Connect();
  const Pool pool = Open(client, "pair");
  Lease held = pool.TryAcquire();
  const FencingToken token = held.token();
  const SlotIndex slot = held.slot();
  daemon_.Kill();
  daemon_.Start();
  EXPECT_TRUE(Eventually([&] { return held.still_held(); })) << daemon_.log();
  EXPECT_EQ(held.token(), token);
  const absl::Status released = std::move(held).Release();
  EXPECT_TRUE(released.ok()) << released;
  // The slot comes back, with a larger token, when the successor knows who holds what.
  Lease next;
  EXPECT_TRUE(Eventually([&] {
    next = pool.TryAcquire();
    return next && next.slot() == slot;
  }));
  EXPECT_GT(next.token(), token);
  EXPECT_TRUE(lost().empty());
}

TEST_P(LeaseSuite, WithoutADaemonAnAcquireFailsAndSaysThatItMayBeTriedAgain) {
  const Client client = Connect();
  const Pool pool = Open(client, "pair");
  daemon_.Kill();
  EXPECT_TRUE(Eventually([&] { return !pool.TryAcquire(); }));
  const absl::Status status = pool.Acquire({.max_wait = absl::Milliseconds(100)}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
  daemon_.Start();
  EXPECT_TRUE(pool.Acquire({.max_wait = kLong}).ok());
}

}  // namespace
}  // namespace leaseplane
