// SPDX-License-Identifier: Apache-2.0
// What a remote client hears over its stream, and how it does without.
#include "tests/unit/clients/cpp/remote_fixture.h"

namespace leaseplane {
namespace {

constexpr int64_t kHourMs = 3'600'000;

class KeepAliveTest : public RemoteTest {
 protected:
  KeepAliveTest() {
    service_.streams().Offer(true);
    service_.SetTtl(kHourMs);  // no renewal is due within the test
  }

  Lease AcquireKnown(const Pool& pool) {
    Lease lease = pool.TryAcquire();
    EXPECT_TRUE(lease);
    EXPECT_TRUE(Eventually([&] { return service_.streams().knows(lease.name()); }));
    return lease;
  }
  void SayLost(const Lease& lease, v1::ErrorReason reason) {
    v1::KeepAliveResponse message;
    message.mutable_lost()->set_name(lease.name());
    message.mutable_lost()->set_reason(reason);
    service_.streams().Say(message);
  }
};

TEST_F(KeepAliveTest, ALossIsHeardWithoutARenewal) {
  const Client client = Connect({.client_id = "me"});
  const Lease lease = AcquireKnown(Open(client));
  EXPECT_EQ(service_.streams().client_id(), "me");
  SayLost(lease, v1::LEASE_REVOKED);
  ASSERT_TRUE(Eventually([this] { return lost().size() == 1; }));
  EXPECT_EQ(lost()[0].token, lease.token());
  EXPECT_EQ(lost()[0].reason, Reason::kLeaseRevoked);
  EXPECT_FALSE(lease.still_held());
  EXPECT_EQ(service_.count("Renew"), 0);
}

TEST_F(KeepAliveTest, ALossBeforeTheLeaseWasAnnouncedIsTheAnswerToThat) {
  const Client client = Connect();
  const Lease lease = Open(client).TryAcquire();
  service_.EndAll();
  ASSERT_TRUE(Eventually([this] { return lost().size() == 1; }));
  EXPECT_EQ(lost()[0].reason, Reason::kLeaseExpired);
}

TEST_F(KeepAliveTest, ARequestToGiveBackIsHeardWithItsGrace) {
  const Client client = Connect();
  const Pool pool = Open(client);
  const Lease lease = AcquireKnown(pool);
  v1::KeepAliveResponse message;
  message.mutable_revoke_requested()->set_name("pools/gpu/leases/unknown");
  service_.streams().Say(message);
  message.mutable_revoke_requested()->set_name(lease.name());
  message.mutable_revoke_requested()->mutable_grace_duration()->set_seconds(7);
  service_.streams().Say(message);
  service_.streams().Say(message);  // as on another stream
  ASSERT_TRUE(Eventually([this] { return !revokes().empty(); }));
  const Lease fence = AcquireKnown(pool);
  SayLost(fence, v1::LEASE_REVOKED);
  ASSERT_TRUE(Eventually([this] { return !lost().empty(); }));
  ASSERT_EQ(revokes().size(), 1u);
  EXPECT_EQ(revokes()[0].pool, "gpu");
  EXPECT_EQ(revokes()[0].token, lease.token());
  EXPECT_EQ(revokes()[0].grace, absl::Seconds(7));
  EXPECT_TRUE(lease.still_held());
}

TEST_F(KeepAliveTest, ADrainIsHeardByAClientThatHoldsNothing) {
  const Client client = Connect();
  const Pool pool = Open(client);
  ASSERT_TRUE(Eventually([this] { return service_.streams().opened() == 1; }));
  v1::KeepAliveResponse message;
  message.mutable_draining();
  EXPECT_TRUE(Eventually([&] {
    service_.streams().Say(message);
    return drainings() >= 1;
  }));
}

TEST_F(KeepAliveTest, RenewalsGoOverTheStreamWhileItWorks) {
  service_.SetTtl(4'000);
  const Client client = Connect();
  const Pool pool = Open(client);
  const Lease one = AcquireKnown(pool);
  const Lease two = AcquireKnown(pool);
  const int calls = service_.count("Renew");
  EXPECT_TRUE(Eventually([this] { return service_.streams().renewals() >= 8; }));
  EXPECT_TRUE(one.still_held() && two.still_held());
  EXPECT_EQ(service_.count("Renew"), calls);
  EXPECT_EQ(service_.streams().opened(), 1);
}

TEST_F(KeepAliveTest, ABrokenStreamIsOpenedAgainAndKnowsEveryLease) {
  const Client client = Connect();
  const Pool pool = Open(client);
  const Lease one = AcquireKnown(pool);
  const Lease two = AcquireKnown(pool);
  for (int broken = 1; broken <= 3; ++broken) {
    service_.streams().Break();
    ASSERT_TRUE(Eventually([&] { return service_.streams().opened() > broken; }));
    ASSERT_TRUE(Eventually([&] {
      return service_.streams().knows(one.name()) && service_.streams().knows(two.name());
    }));
  }
  SayLost(two, v1::LEASE_EXPIRED);
  EXPECT_TRUE(Eventually([this] { return lost().size() == 1; }));
  EXPECT_TRUE(one.still_held());
}

TEST_F(KeepAliveTest, RenewalsAreCallsWhileTheStreamIsDown) {
  service_.SetTtl(3'000);
  const Client client = Connect();
  const Lease lease = AcquireKnown(Open(client));
  service_.streams().Offer(false);
  service_.streams().Break();
  EXPECT_TRUE(Eventually([this] { return service_.count("Renew") >= 3; }));
  EXPECT_TRUE(lease.still_held());
  EXPECT_TRUE(lost().empty());
}

TEST_F(KeepAliveTest, AStreamThatAnswersNoRenewalIsGivenUp) {
  service_.SetTtl(9'000);
  const Client client = Connect();
  const Lease lease = AcquireKnown(Open(client));
  service_.streams().FallSilent(true);
  EXPECT_TRUE(Eventually([this] { return service_.count("Renew") >= 1; }));
  EXPECT_TRUE(Eventually([this] { return service_.streams().opened() >= 2; }));
  EXPECT_TRUE(lease.still_held());
  EXPECT_TRUE(lost().empty());
}

TEST_F(KeepAliveTest, TheEndOfTheClientEndsItsStream) {
  {
    const Client client = Connect();
    const Lease lease = AcquireKnown(Open(client));
  }
  EXPECT_EQ(service_.held(), 0u);
}

}  // namespace
}  // namespace leaseplane
