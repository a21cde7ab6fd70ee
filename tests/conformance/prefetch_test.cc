// SPDX-License-Identifier: Apache-2.0
// Leases that a remote client keeps, as the daemon and other clients see them.
#include <algorithm>
#include <chrono>
#include <cstdio>

#include "tests/conformance/lease_suite.h"

namespace leaseplane {
namespace {

class PrefetchSuite : public LeaseSuite {
 protected:
  Client ConnectAndKeep(absl::Duration idle) {
    ClientOptions options;
    options.prefetch = 1;
    options.prefetch_idle = idle;
    return Connect(std::move(options));
  }
};

INSTANTIATE_TEST_SUITE_P(Paths, PrefetchSuite, ::testing::Values(Way::kTcp, Way::kUnixSocket),
                         [](const auto& way) { return NameOf(way.param); });

// The kept lease would be held for an hour.
TEST_P(PrefetchSuite, WaitersAreNotStarvedByWhatLiesIdle) {
  const Client client = ConnectAndKeep(absl::Hours(1));
  for (const char* name : {"single", "line"}) {
    const Pool pool = Open(client, name);
    Lease lease = pool.TryAcquire();
    ASSERT_TRUE(lease);
    const FencingToken token = lease.token();
    ASSERT_TRUE(std::move(lease).Release().ok());
    for (const bool forbid_local : {true, false}) {
      ClientOptions options;
      options.forbid_local = forbid_local;
      const auto other = Client::Connect(daemon_.unix_target(), options);
      ASSERT_TRUE(other.ok()) << other.status();
      const Pool other_pool = Open(*other, name);
      absl::StatusOr<Lease> got = other_pool.Acquire({.max_wait = kLong});
      ASSERT_TRUE(got.ok()) << name << ": " << got.status();
      EXPECT_GT(got->token(), token);
      ASSERT_TRUE((*std::move(got)).Release().ok());
      // Keeps it again, when the daemon has not spoken of waiters for a while.
      EXPECT_TRUE(Eventually([&] {
        lease = pool.TryAcquire();
        if (!lease) return false;
        const FencingToken first = lease.token();
        lease = Lease();
        lease = pool.TryAcquire();
        return lease && lease.token() == first;
      }));
      lease = Lease();
    }
  }
  EXPECT_TRUE(lost().empty());
}

TEST_P(PrefetchSuite, AKeptLeaseOutlivesARestartOfTheWorkerAndGoesBackInTheEnd) {
  const Client client = ConnectAndKeep(absl::Seconds(2));
  const Pool pool = Open(client, "single");
  Lease lease = pool.TryAcquire();
  ASSERT_TRUE(lease);
  ASSERT_TRUE(std::move(lease).Release().ok());
  ASSERT_TRUE(Eventually([this] { return daemon_.KillWorker(); }));
  const auto other = Client::Connect(daemon_.unix_target());
  ASSERT_TRUE(other.ok()) << other.status();
  const Pool other_pool = Open(*other, "single");
  EXPECT_TRUE(Eventually([&] { return static_cast<bool>(other_pool.TryAcquire()); }));
  EXPECT_TRUE(lost().empty());
}

// Windows of both in turn; the fastest of each kind is what neither a busy machine nor a timer
// cost.
TEST_P(PrefetchSuite, AKeptPairCostsNoRoundTrip) {
  const Client plain_client = Connect(), keeping_client = ConnectAndKeep(absl::Hours(1));
  const Pool plain = Open(plain_client, "single"), keeping = Open(keeping_client, "pair");
  const auto pair_ns = [](const Pool& pool) {
    constexpr int kPairs = 50;
    const auto started = std::chrono::steady_clock::now();
    for (int i = 0; i < kPairs; ++i) {
      Lease lease = pool.TryAcquire();
      EXPECT_TRUE(lease);
      EXPECT_TRUE(std::move(lease).Release().ok());
    }
    const std::chrono::duration<double, std::nano> took =
        std::chrono::steady_clock::now() - started;
    return took.count() / kPairs;
  };
  double plain_ns = pair_ns(plain), kept_ns = pair_ns(keeping);
  for (int window = 0; window < 10; ++window) {
    plain_ns = std::min(plain_ns, pair_ns(plain));
    kept_ns = std::min(kept_ns, pair_ns(keeping));
  }
  std::printf("acquire and release, ns: plain %.0f, kept %.0f, ratio %.1f\n", plain_ns, kept_ns,
              plain_ns / kept_ns);
  EXPECT_GT(plain_ns / kept_ns, 5);
}

}  // namespace
}  // namespace leaseplane
