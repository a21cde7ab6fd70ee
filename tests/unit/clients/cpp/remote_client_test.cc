// SPDX-License-Identifier: Apache-2.0
// The remote client against a service that fails when told to.
#include <gtest/gtest.h>

#include <mutex>
#include <thread>
#include <vector>

#include "leaseplane/client.h"
#include "tests/unit/clients/cpp/eventually.h"
#include "tests/unit/clients/cpp/fake_lease_service.h"

namespace leaseplane {
namespace {

class RemoteClientTest : public ::testing::Test {
 protected:
  RemoteClientTest() { service_.Start(); }

  Client Connect(ClientOptions options = {}) {
    options.forbid_local = true;
    options.on_lost = [this](const LostLease& lease) {
      const std::lock_guard<std::mutex> lock(mu_);
      lost_.push_back(lease);
    };
    auto client = Client::Connect(service_.target(), std::move(options));
    EXPECT_TRUE(client.ok()) << client.status();
    return *std::move(client);
  }
  Pool Open(const Client& client) {
    auto pool = client.OpenPool("gpu");
    EXPECT_TRUE(pool.ok()) << pool.status();
    return *std::move(pool);
  }
  std::vector<LostLease> lost() {
    const std::lock_guard<std::mutex> lock(mu_);
    return lost_;
  }

  FakeLeaseService service_{2};

 private:
  std::mutex mu_;
  std::vector<LostLease> lost_;
};

TEST_F(RemoteClientTest, ALeaseCarriesWhatTheDaemonSaid) {
  const Client client = Connect();
  EXPECT_EQ(client.path(), Path::kRemote);
  EXPECT_EQ(client.instance_id(), "instance-a");
  EXPECT_EQ(client.InheritableSessionFd(), -1);
  const Pool pool = Open(client);
  const Lease lease = pool.TryAcquire();
  ASSERT_TRUE(lease);
  EXPECT_EQ(lease.path(), Path::kRemote);
  EXPECT_EQ(lease.token(), 1);
  EXPECT_EQ(lease.resource(), "card");
  EXPECT_EQ(lease.pool(), "gpu");
  EXPECT_EQ(lease.name(), "pools/gpu/leases/1");
  EXPECT_TRUE(lease.still_held());
  EXPECT_LE(lease.remaining(), absl::Seconds(30));
}

TEST_F(RemoteClientTest, AnUnknownPoolIsNotFoundAndNoDaemonIsUnreachable) {
  const Client client = Connect();
  EXPECT_EQ(ReasonOf(client.OpenPool("none").status()), Reason::kNotFound);
  const auto nowhere = Client::Connect("127.0.0.1:1", {.forbid_local = true});
  EXPECT_EQ(ReasonOf(nowhere.status()), Reason::kUnreachable) << nowhere.status();
}

TEST_F(RemoteClientTest, ReleaseWaitsForTheAnswerAndTheDestructorDoesNot) {
  const Client client = Connect();
  const Pool pool = Open(client);
  Lease lease = pool.TryAcquire();
  EXPECT_TRUE(std::move(lease).Release().ok());
  EXPECT_EQ(service_.held(), 0u);
  { const Lease dropped = pool.TryAcquire(); }
  EXPECT_TRUE(Eventually([this] { return service_.held() == 0; }));
}

TEST_F(RemoteClientTest, TheEndOfTheClientWaitsForReleasesUnderWay) {
  {
    const Client client = Connect();
    const Pool pool = Open(client);
    const Lease one = pool.TryAcquire();
    const Lease two = pool.TryAcquire();
  }
  EXPECT_EQ(service_.held(), 0u);
}

TEST_F(RemoteClientTest, ALeaseThatOutlivesItsClientHasEnded) {
  Lease lease;
  {
    const Client client = Connect();
    lease = Open(client).TryAcquire();
    EXPECT_TRUE(lease.still_held());
  }
  EXPECT_FALSE(lease.still_held());
  EXPECT_EQ(ReasonOf(std::move(lease).Release()), Reason::kSessionEnded);
}

TEST_F(RemoteClientTest, RetriesOfOneWishUseOneRequestId) {
  const Client client = Connect();
  const Pool pool = Open(client);
  service_.FailNext("Acquire", Failure(grpc::StatusCode::UNAVAILABLE, "RECOVERING"));
  service_.FailNext("Acquire", grpc::Status(grpc::StatusCode::UNAVAILABLE, "cut"));
  service_.FailNext("Acquire", grpc::Status(grpc::StatusCode::CANCELLED, "cut"));
  const auto lease = pool.Acquire({.max_wait = absl::Seconds(60)});
  ASSERT_TRUE(lease.ok()) << lease.status();
  EXPECT_EQ(service_.count("Acquire"), 4);
  EXPECT_EQ(service_.request_ids(), 1u);
}

TEST_F(RemoteClientTest, ADecidedRefusalIsNotRepeated) {
  const Client client = Connect();
  const Pool pool = Open(client);
  service_.FailNext("Acquire", Failure(grpc::StatusCode::RESOURCE_EXHAUSTED, "QUEUE_FULL"));
  EXPECT_EQ(ReasonOf(pool.Acquire({.max_wait = absl::Seconds(60)}).status()), Reason::kQueueFull);
  EXPECT_EQ(service_.count("Acquire"), 1);
}

TEST_F(RemoteClientTest, AWaitIsServedWhenASlotBecomesFree) {
  const Client client = Connect();
  const Pool pool = Open(client);
  Lease one = pool.TryAcquire();
  const Lease two = pool.TryAcquire();
  EXPECT_FALSE(pool.TryAcquire());
  EXPECT_EQ(ReasonOf(pool.Acquire({.max_wait = absl::Milliseconds(20)}).status()),
            Reason::kWaitTimeout);
  std::thread releaser([&one] { EXPECT_TRUE(std::move(one).Release().ok()); });
  EXPECT_TRUE(pool.Acquire({.max_wait = absl::Seconds(60)}).ok());
  releaser.join();
}

TEST_F(RemoteClientTest, LeasesAreRenewedInTheBackground) {
  service_.SetTtl(900);
  const Client client = Connect();
  const Lease lease = Open(client).TryAcquire();
  EXPECT_TRUE(Eventually([this] { return service_.count("Renew") >= 4; }));
  EXPECT_TRUE(lease.still_held());
  EXPECT_TRUE(lost().empty());
}

TEST_F(RemoteClientTest, WithoutAutoRenewTheLeaseEndsAtItsSafeDeadline) {
  service_.SetTtl(600);
  const Client client = Connect({.auto_renew = false});
  Lease lease = Open(client).TryAcquire();
  ASSERT_TRUE(lease);
  ASSERT_TRUE(Eventually([this] { return lost().size() == 1; }));
  EXPECT_FALSE(lease.still_held());
  EXPECT_EQ(lost()[0].token, lease.token());
  EXPECT_EQ(lost()[0].reason, Reason::kLeaseExpired);
  EXPECT_EQ(lost()[0].path, Path::kRemote);
  EXPECT_EQ(service_.count("Renew"), 0);
  EXPECT_EQ(ReasonOf(std::move(lease).Release()), Reason::kLeaseExpired);
}

TEST_F(RemoteClientTest, ALeaseIsLostAtTheSafeDeadlineThoughItsRenewalIsUnderWay) {
  service_.SetTtl(900);
  service_.HoldRenewals(true);
  const Client client = Connect();
  const Lease lease = Open(client).TryAcquire();
  EXPECT_TRUE(Eventually([this] { return lost().size() == 1; }));
  EXPECT_FALSE(lease.still_held());
  service_.HoldRenewals(false);
}

TEST_F(RemoteClientTest, WhatTheDaemonEndedIsReportedWithItsReasonOnce) {
  service_.SetTtl(900);
  const Client client = Connect();
  const Lease lease = Open(client).TryAcquire();
  service_.EndAll();
  ASSERT_TRUE(Eventually([this] { return lost().size() == 1; }));
  EXPECT_FALSE(lease.still_held());
  EXPECT_EQ(lost()[0].reason, Reason::kLeaseExpired);
}

TEST_F(RemoteClientTest, ADaemonThatRestartsInTimeCostsNoLease) {
  service_.SetTtl(5'000);
  const Client client = Connect();
  const Lease lease = Open(client).TryAcquire();
  const std::string address = service_.target();
  service_.Stop();
  service_.Start(address);
  const int before = service_.count("Renew");
  EXPECT_TRUE(Eventually([&] { return service_.count("Renew") >= before + 3; }));
  EXPECT_TRUE(lease.still_held());
  EXPECT_TRUE(lost().empty());
}

TEST_F(RemoteClientTest, AnAcquireGivenUpWithoutAnAnswerIsTakenBack) {
  const Client client = Connect();
  const Pool pool = Open(client);
  for (int i = 0; i < 5; ++i) {
    service_.FailNext("Acquire", grpc::Status(grpc::StatusCode::UNAVAILABLE, "cut"));
  }
  EXPECT_EQ(ReasonOf(pool.Acquire().status()), Reason::kUnreachable);
  // The call in the background gets a lease under the same id, and releases it.
  EXPECT_TRUE(Eventually([this] { return service_.count("Release") == 1; }));
  EXPECT_TRUE(Eventually([this] { return service_.held() == 0; }));
  EXPECT_EQ(service_.request_ids(), 1u);
}

}  // namespace
}  // namespace leaseplane
