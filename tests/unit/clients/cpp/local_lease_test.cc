// SPDX-License-Identifier: Apache-2.0
// Taking, holding and giving back over the local path.
#include <set>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

#include "tests/unit/clients/cpp/local_fixture.h"

namespace leaseplane {
namespace {

static_assert(sizeof(Lease) <= 32);
static_assert(!std::is_copy_constructible_v<Lease> && std::is_nothrow_move_constructible_v<Lease>);

class LocalLeaseTest : public LocalTest {};

TEST_F(LocalLeaseTest, ALeaseCarriesSlotTokenResourceAndName) {
  daemon_options_.pools[0].resources = {"card-0", "card-1"};
  StartDaemon();
  const Client client = Connect();
  EXPECT_EQ(client.path(), Path::kLocal);
  EXPECT_EQ(client.instance_id(), "instance-a");
  const Pool pool = Open(client);
  EXPECT_EQ(pool.capacity(), 2u);
  EXPECT_EQ(pool.name(), "gpu");
  const Lease lease = pool.TryAcquire();
  ASSERT_TRUE(lease);
  EXPECT_EQ(lease.path(), Path::kLocal);
  EXPECT_EQ(EpochOf(lease.token()), 7u);
  EXPECT_EQ(lease.resource(), "card-" + std::to_string(lease.slot()));
  EXPECT_EQ(lease.pool(), "gpu");
  EXPECT_EQ(lease.name(), "pools/gpu/leases/local-" + std::to_string(lease.slot()) + "-" +
                              std::to_string(lease.token()));
  EXPECT_TRUE(lease.still_held());
  EXPECT_EQ(lease.remaining(), absl::InfiniteDuration());
}

TEST_F(LocalLeaseTest, AFullPoolGivesAnEmptyLeaseUntilOneIsReleased) {
  StartDaemon();
  const Client client = Connect();
  const Pool pool = Open(client);
  Lease one = pool.TryAcquire();
  const Lease two = pool.TryAcquire();
  ASSERT_TRUE(one && two);
  EXPECT_NE(one.slot(), two.slot());
  EXPECT_FALSE(pool.TryAcquire());
  EXPECT_EQ(ReasonOf(pool.Acquire().status()), Reason::kNoFreeSlot);
  const FencingToken before = one.token();
  const SlotIndex slot = one.slot();
  EXPECT_TRUE(std::move(one).Release().ok());
  const Lease three = pool.TryAcquire();
  ASSERT_TRUE(three);
  EXPECT_EQ(three.slot(), slot);
  EXPECT_GT(three.token(), before);
}

TEST_F(LocalLeaseTest, TheDestructorReleasesAndAMovedFromLeaseDoesNot) {
  StartDaemon();
  const Client client = Connect();
  const Pool pool = Open(client);
  {
    Lease first = pool.TryAcquire();
    Lease second = std::move(first);
    EXPECT_FALSE(first);  // NOLINT(bugprone-use-after-move): what is tested
    EXPECT_TRUE(second.still_held());
    first = std::move(second);
    EXPECT_EQ(daemon_->BusyCount("gpu"), 1u);
  }
  EXPECT_EQ(daemon_->BusyCount("gpu"), 0u);
}

TEST_F(LocalLeaseTest, ReleasingWhatIsNotHeldFailsAndTouchesNothing) {
  StartDaemon();
  const Client client = Connect();
  const Pool pool = Open(client);
  EXPECT_EQ(ReasonOf(Lease().Release()), Reason::kLeaseReleased);
  Lease lease = pool.TryAcquire();
  ASSERT_TRUE(daemon_->Revoke("gpu", lease.slot()));
  const Lease other = pool.TryAcquire();
  EXPECT_FALSE(lease.still_held());
  EXPECT_EQ(lease.remaining(), absl::ZeroDuration());
  EXPECT_EQ(ReasonOf(std::move(lease).Release()), Reason::kLeaseRevoked);
  EXPECT_TRUE(other.still_held());
}

TEST_F(LocalLeaseTest, UseHoldsASlotWhileTheCallRunsAndReturnsItsResult) {
  StartDaemon();
  const Client client = Connect();
  const Pool pool = Open(client, "line");
  const absl::StatusOr<int> answer = pool.Use({}, [&](const Lease& lease) {
    EXPECT_TRUE(lease.still_held());
    EXPECT_FALSE(pool.TryAcquire());
    return 42;
  });
  ASSERT_TRUE(answer.ok());
  EXPECT_EQ(*answer, 42);
  EXPECT_TRUE(pool.Use({}, [](const Lease&) {}).ok());
  EXPECT_TRUE(pool.TryUse([](const Lease&) {}));
  EXPECT_EQ(pool.TryUse([](const Lease&) { return 1; }), 1);
  const Lease held = pool.TryAcquire();
  EXPECT_FALSE(pool.TryUse([](const Lease&) {}));
  EXPECT_EQ(ReasonOf(pool.Use({}, [](const Lease&) { return absl::OkStatus(); })),
            Reason::kNoFreeSlot);
}

TEST_F(LocalLeaseTest, LeasesThatOutliveTheClientHaveEnded) {
  StartDaemon();
  Lease lease;
  {
    const Client client = Connect();
    lease = Open(client).TryAcquire();
    ASSERT_TRUE(lease);
  }
  EXPECT_FALSE(lease.still_held());
  EXPECT_TRUE(Eventually([this] { return daemon_->BusyCount("gpu") == 0; }));
  const Client again = Connect();
  const Pool pool = Open(again);
  EXPECT_FALSE(lease.still_held());
  EXPECT_FALSE(std::move(lease).Release().ok());
  EXPECT_TRUE(pool.TryAcquire());
}

TEST_F(LocalLeaseTest, ClientsOfOneTargetShareASession) {
  StartDaemon();
  const Client one = Connect();
  const Client two = Connect();
  const Lease lease = Open(one).TryAcquire();
  EXPECT_TRUE(lease && Open(two).TryAcquire());
  EXPECT_EQ(daemon_->SessionCount(), 1u);
  ClientOptions tree;
  tree.session.liveness = Liveness::kTree;
  const Client three = Connect(tree);
  EXPECT_EQ(daemon_->SessionCount(), 2u);
  EXPECT_GE(three.InheritableSessionFd(), 0);
}

TEST_F(LocalLeaseTest, TheAuditKnowsWhatIsHeldAndNothingElse) {
  StartDaemon();
  const Client client = Connect();
  const Pool pool = Open(client);
  const Lease lease = pool.TryAcquire();
  const Generation gen = GenerationOf(lease.token());
  EXPECT_EQ(daemon_->Audit("gpu", lease.slot(), gen), gen);
  EXPECT_EQ(daemon_->Audit("gpu", lease.slot(), gen + 1), 0u);
  EXPECT_EQ(daemon_->Audit("gpu", lease.slot(), 0), gen);
}

TEST_F(LocalLeaseTest, TheAuditKnowsNothingOfAGrantThatWasNotToldAfterARevocation) {
  StartDaemon();
  Heard heard;
  const Client client = Connect(heard.Options());
  const Pool pool = Open(client);
  const Lease lease = pool.TryAcquire();
  ASSERT_TRUE(daemon_->Revoke("gpu", lease.slot()));
  ASSERT_TRUE(Eventually([&] { return heard.lost().size() == 1; }));
  const Generation gen = daemon_->GrantSilently("gpu", lease.slot());
  ASSERT_EQ(gen, GenerationOf(lease.token()) + 1);
  EXPECT_EQ(daemon_->Audit("gpu", lease.slot(), gen), 0u);
}

TEST_F(LocalLeaseTest, ALeaseIsReportedAsLostThoughItsSlotCameBackBeforeTheNews) {
  daemon_options_.pools[0].capacity = 1;
  StartDaemon();
  Heard heard;
  const Client client = Connect(heard.Options());
  const Pool pool = Open(client);
  attach::Message ended{};
  ended.kind = attach::Kind::kLeaseEnded;
  // Who gives back hears it then, and not once more.
  for (const bool is_given_back : {true, false}) {
    Lease lost = pool.TryAcquire();
    ended.lease_ended.token = lost.token();
    ASSERT_TRUE(daemon_->RevokeSilently("gpu", 0));
    if (is_given_back) {
      EXPECT_EQ(ReasonOf(std::move(lost).Release()), Reason::kLeaseRevoked);
    }
    const Lease next = pool.TryAcquire();
    ASSERT_TRUE(next);
    daemon_->SendToAll(ended);
    daemon_->Audit("gpu", 0, GenerationOf(next.token()));  // answered after the news was read
    EXPECT_TRUE(next.still_held());
  }
  ASSERT_TRUE(Eventually([&] { return !heard.lost().empty(); }));
  ASSERT_EQ(heard.lost().size(), 1u);
  EXPECT_EQ(heard.lost()[0].token, ended.lease_ended.token);
}

TEST_F(LocalLeaseTest, CallbacksTellOfRevocationAndDraining) {
  StartDaemon();
  Heard heard;
  const Client client = Connect(heard.Options());
  const Pool pool = Open(client);
  const Lease lease = pool.TryAcquire();
  daemon_->AskBack("gpu", lease.slot(), 5'000'000'000);
  ASSERT_TRUE(Eventually([&] { return heard.revokes().size() == 1; }));
  EXPECT_EQ(heard.revokes()[0].token, lease.token());
  EXPECT_EQ(heard.revokes()[0].grace, absl::Seconds(5));
  ASSERT_TRUE(daemon_->Revoke("gpu", lease.slot()));
  ASSERT_TRUE(Eventually([&] { return heard.lost().size() == 1; }));
  EXPECT_EQ(heard.lost()[0].token, lease.token());
  EXPECT_EQ(heard.lost()[0].pool, "gpu");
  EXPECT_EQ(heard.lost()[0].reason, Reason::kLeaseRevoked);
  daemon_->SayDraining();
  EXPECT_TRUE(Eventually([&] { return heard.drainings() == 1; }));
}

// The daemon does not know in which epoch a lease was taken by direct compare-and-swap.
TEST_F(LocalLeaseTest, CallbacksTellOfLeasesOlderThanTheDaemonsEpoch) {
  StartDaemon();
  Heard heard;
  const Client client = Connect(heard.Options());
  const Pool pool = Open(client);
  const Lease lease = pool.TryAcquire();
  daemon_->RestartWorker();
  daemon_->AskBack("gpu", lease.slot(), 5'000'000'000);
  ASSERT_TRUE(Eventually([&] { return heard.revokes().size() == 1; }));
  EXPECT_EQ(heard.revokes()[0].token, lease.token());
  ASSERT_TRUE(daemon_->Revoke("gpu", lease.slot()));
  ASSERT_TRUE(Eventually([&] { return heard.lost().size() == 1; }));
  EXPECT_EQ(heard.lost()[0].token, lease.token());
}

TEST_F(LocalLeaseTest, ManyThreadsNeverShareASlot) {
  daemon_options_.pools[0].capacity = 3;
  StartDaemon();
  const Client client = Connect();
  const Pool pool = Open(client);
  std::vector<int> users(3);  // guarded by the leases: a race here is a broken promise
  std::vector<std::thread> threads;
  for (int t = 0; t < 6; ++t) {
    threads.emplace_back([&pool, &users] {
      for (int i = 0; i < 2000; ++i) {
        const auto lease = pool.Acquire({.max_wait = absl::InfiniteDuration()});
        ASSERT_TRUE(lease.ok()) << lease.status();
        ++users[lease->slot()];
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(users[0] + users[1] + users[2], 12000);
  EXPECT_EQ(daemon_->BusyCount("gpu"), 0u);
}

// Built before the thread's first acquisition, so destroyed after everything the library keeps for
// the thread.
TEST_F(LocalLeaseTest, ALeaseMayOutliveWhatTheLibraryKeepsForItsThread) {
  StartDaemon();
  const Client client = Connect();
  const Pool pool = Open(client);
  for (int round = 0; round < 3; ++round) {
    std::thread([&] {
      thread_local Lease first, second;
      first = pool.TryAcquire();
      second = pool.TryAcquire();
      EXPECT_TRUE(first && second);
    }).join();
  }
  EXPECT_TRUE(pool.Acquire().ok()) << "both were given back";
}

TEST_F(LocalLeaseTest, AThreadMayUseManyPoolsInTurn) {
  constexpr int kPools = 20;
  for (int i = 0; i < kPools; ++i) {
    auto pool = daemon_options_.pools[0];
    pool.name = "p" + std::to_string(i);
    daemon_options_.pools.push_back(pool);
  }
  StartDaemon();
  const Client client = Connect();
  std::vector<Pool> pools;
  for (int i = 0; i < kPools; ++i) pools.push_back(*client.OpenPool("p" + std::to_string(i)));
  std::vector<FencingToken> last(kPools, 0);
  for (int round = 0; round < 3; ++round) {
    std::vector<Lease> leases;
    for (int i = 0; i < kPools; ++i) {
      leases.push_back(pools[static_cast<size_t>(i)].TryAcquire());
      ASSERT_TRUE(leases.back());
      EXPECT_EQ(leases.back().pool(), "p" + std::to_string(i));
      EXPECT_GT(leases.back().token(), last[static_cast<size_t>(i)]);
      last[static_cast<size_t>(i)] = leases.back().token();
    }
    for (Lease& lease : leases) EXPECT_TRUE(std::move(lease).Release().ok());
  }
  for (const Pool& pool : pools) {
    const Lease one = pool.TryAcquire(), two = pool.TryAcquire();
    EXPECT_TRUE(one && two) << pool.name();
  }
}

}  // namespace
}  // namespace leaseplane
