// SPDX-License-Identifier: Apache-2.0
// Leases that a remote client keeps for its next acquire.
#include <algorithm>
#include <atomic>
#include <string>
#include <thread>

#include "tests/unit/clients/cpp/remote_fixture.h"

namespace leaseplane {
namespace {

constexpr int64_t kHourMs = 3'600'000;

class PrefetchTest : public RemoteTest {
 protected:
  PrefetchTest() {
    service_.streams().Offer(true);
    service_.SetTtl(kHourMs);
  }
  static ClientOptions Keeping(uint32_t count, absl::Duration idle = absl::Hours(1)) {
    return {.prefetch = count, .prefetch_idle = idle};
  }
  static void Release(Lease lease) { EXPECT_TRUE(std::move(lease).Release().ok()); }
};

TEST_F(PrefetchTest, AReleasedLeaseIsAcquiredAgainWithoutACall) {
  const Client client = Connect(Keeping(1));
  const Pool pool = Open(client);
  Lease lease = pool.TryAcquire();
  const FencingToken token = lease.token();
  Release(std::move(lease));
  for (int i = 0; i < 100; ++i) {
    lease = pool.TryAcquire();
    ASSERT_TRUE(lease);
    EXPECT_TRUE(lease.still_held());
    EXPECT_EQ(lease.token(), token) << "it is the same lease";
    if (i % 2 == 0) Release(std::move(lease));
    lease = Lease();  // or by the destructor
  }
  EXPECT_EQ(service_.count("Acquire"), 1);
  EXPECT_EQ(service_.count("Release"), 0);
}

TEST_F(PrefetchTest, NoMoreAreKeptThanAskedFor) {
  const Client client = Connect(Keeping(1));
  const Pool pool = Open(client);
  Lease one = pool.TryAcquire(), two = pool.TryAcquire();
  Release(std::move(one));
  Release(std::move(two));
  EXPECT_EQ(service_.count("Release"), 1);
  EXPECT_EQ(service_.held(), 1u);
}

TEST_F(PrefetchTest, WithoutTheOptionNothingIsKept) {
  const Client client = Connect();
  Release(Open(client).TryAcquire());
  EXPECT_EQ(service_.held(), 0u);
}

TEST_F(PrefetchTest, WhatLiesIdleGoesBack) {
  const Client client = Connect(Keeping(2, absl::Milliseconds(100)));
  const Pool pool = Open(client);
  Lease one = pool.TryAcquire(), two = pool.TryAcquire();
  Release(std::move(one));
  Release(std::move(two));
  EXPECT_TRUE(Eventually([this] { return service_.held() == 0; }));
  EXPECT_TRUE(lost().empty());
}

TEST_F(PrefetchTest, AWaiterAtTheDaemonGetsWhatLiesIdleAndIsNotPassed) {
  const Client client = Connect(Keeping(2));
  const Pool pool = Open(client);
  Lease one = pool.TryAcquire(), two = pool.TryAcquire();
  Release(std::move(one));
  Release(std::move(two));
  EXPECT_EQ(service_.held(), 2u);
  ASSERT_TRUE(Eventually([this] { return service_.streams().hears_waiting(); }));
  v1::KeepAliveResponse message;
  message.mutable_waiting()->set_pool("pools/other");
  service_.streams().Say(message);
  const Client other = Connect();
  absl::StatusOr<Lease> got;
  std::thread waiter([&] { got = Open(other).Acquire({.max_wait = absl::Seconds(60)}); });
  EXPECT_TRUE(Eventually([this] { return service_.waiting() == 1; }));
  EXPECT_EQ(service_.held(), 2u) << "another pool's waiters are not ours";
  message.mutable_waiting()->set_pool("pools/gpu");
  service_.streams().Say(message);
  waiter.join();
  EXPECT_TRUE(got.ok()) << got.status();
  // And for a while what is released goes straight back.
  EXPECT_TRUE(Eventually([this] { return service_.held() == 1; }));
  const int before = service_.count("Release");
  Release(pool.TryAcquire());
  EXPECT_EQ(service_.count("Release"), before + 1);
}

TEST_F(PrefetchTest, WhatAnOperatorWantsIsNotKeptAndNobodyIsAsked) {
  const Client client = Connect(Keeping(2));
  const Pool pool = Open(client);
  Lease used = pool.TryAcquire(), idle = pool.TryAcquire();
  const std::string used_name = used.name(), idle_name = idle.name();
  Release(std::move(idle));
  ASSERT_TRUE(Eventually(
      [&] { return service_.streams().knows(used_name) && service_.streams().knows(idle_name); }));
  v1::KeepAliveResponse message;
  message.mutable_revoke_requested()->mutable_grace_duration()->set_seconds(60);
  for (const std::string& name : {idle_name, used_name}) {
    message.mutable_revoke_requested()->set_name(name);
    service_.streams().Say(message);
  }
  EXPECT_TRUE(Eventually([this] { return revokes().size() == 1; }));
  EXPECT_EQ(revokes()[0].token, used.token());
  EXPECT_TRUE(Eventually([this] { return service_.held() == 1; }));
  Release(std::move(used));
  EXPECT_EQ(service_.held(), 0u);
}

TEST_F(PrefetchTest, ALossOfWhatLiesIdleIsNobodysLoss) {
  const Client client = Connect(Keeping(2));
  const Pool pool = Open(client);
  Lease idle = pool.TryAcquire();
  const Lease used = pool.TryAcquire();
  const std::string name = idle.name();
  const FencingToken token = idle.token();
  Release(std::move(idle));
  ASSERT_TRUE(Eventually(
      [&] { return service_.streams().knows(name) && service_.streams().knows(used.name()); }));
  service_.EndAll();
  v1::KeepAliveResponse message;
  message.mutable_lost()->set_reason(v1::LEASE_REVOKED);
  for (const std::string& lost_name : {name, used.name()}) {
    message.mutable_lost()->set_name(lost_name);
    service_.streams().Say(message);
  }
  ASSERT_TRUE(Eventually([this] { return !lost().empty(); }));
  const Lease next = pool.TryAcquire();
  ASSERT_TRUE(next);
  EXPECT_GT(next.token(), std::max(token, used.token()));
  ASSERT_EQ(lost().size(), 1u);
  EXPECT_EQ(lost()[0].token, used.token());
}

TEST_F(PrefetchTest, ALeaseThatRunsOutIsNotHandedOut) {
  service_.streams().Offer(false);
  service_.SetTtl(1'000);
  service_.HoldRenewals(true);
  const Client client = Connect(Keeping(1));
  const Pool pool = Open(client);
  Lease lease = pool.TryAcquire();
  const FencingToken token = lease.token();
  Release(std::move(lease));
  // Its safe deadline passes without a renewal.
  EXPECT_TRUE(Eventually([&] {
    lease = pool.TryAcquire();
    return lease && lease.token() != token;
  }));
  EXPECT_TRUE(lease.still_held());
  EXPECT_TRUE(lost().empty());
  service_.HoldRenewals(false);
}

TEST_F(PrefetchTest, KeptLeasesAreRenewed) {
  service_.SetTtl(3'000);
  const Client client = Connect(Keeping(1));
  const Pool pool = Open(client);
  Lease lease = pool.TryAcquire();
  const FencingToken token = lease.token();
  Release(std::move(lease));
  EXPECT_TRUE(Eventually([this] { return service_.streams().renewals() >= 4; }));
  lease = pool.TryAcquire();
  EXPECT_EQ(lease.token(), token);
  EXPECT_TRUE(lease.still_held());
}

TEST_F(PrefetchTest, WhoAsksForAFreshOrAnotherLeaseGetsOne) {
  const Client client = Connect(Keeping(2));
  const Pool pool = Open(client);
  Lease lease = pool.TryAcquire();
  FencingToken token = lease.token();
  const std::vector<AcquireOptions> wishes = {
      {.fresh = true},
      {.ttl = absl::Seconds(20)},
      {.metadata = {{"job", "7"}}},
      {.request_id = "6f1c2b2e-0d0a-4c9e-9a4f-0123456789ab"}};
  for (const AcquireOptions& wish : wishes) {
    Release(std::move(lease));
    auto other = pool.Acquire(wish);
    ASSERT_TRUE(other.ok()) << other.status();
    EXPECT_GT(other->token(), token);
    EXPECT_EQ(service_.held(), 1u) << "what was kept does not stand in the way";
    token = other->token();
    lease = *std::move(other);
  }
}

TEST_F(PrefetchTest, PoolsThatCapALeasesLifeAreLeftOut) {
  service_.CapLeases(true);
  const Client client = Connect(Keeping(2));
  Release(Open(client).TryAcquire());
  EXPECT_EQ(service_.held(), 0u);
}

TEST_F(PrefetchTest, TheEndOfTheClientGivesEverythingBack) {
  {
    const Client client = Connect(Keeping(2));
    const Pool pool = Open(client);
    Lease one = pool.TryAcquire(), two = pool.TryAcquire();
    Release(std::move(one));
    EXPECT_EQ(service_.held(), 2u);
  }
  EXPECT_EQ(service_.held(), 0u);
}

TEST_F(PrefetchTest, AnIdleTimeOfNothingIsRefused) {
  const auto client =
      Client::Connect(service_.target(),
                      {.forbid_local = true, .prefetch = 1, .prefetch_idle = absl::ZeroDuration()});
  EXPECT_EQ(ReasonOf(client.status()), Reason::kInvalidArgument);
  EXPECT_NE(client.status().message().find("prefetch_idle"), std::string::npos);
}

TEST_F(PrefetchTest, ManyThreadsNeverShareAKeptLease) {
  const Client client = Connect(Keeping(2));
  const Pool pool = Open(client);
  std::atomic<int> users[2] = {};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 200; ++i) {
        const Lease lease = pool.TryAcquire();
        if (!lease) continue;
        EXPECT_EQ(users[lease.slot()].fetch_add(1), 0);
        std::this_thread::yield();
        users[lease.slot()].fetch_sub(1);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(lost().empty());
}

}  // namespace
}  // namespace leaseplane
