// SPDX-License-Identifier: Apache-2.0
// Leases that a remote client keeps, as the daemon and other clients see them.
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

}  // namespace
}  // namespace leaseplane
