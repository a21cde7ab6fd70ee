// SPDX-License-Identifier: Apache-2.0
// The remote client against a service that fails when told to.
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "tests/unit/clients/cpp/remote_fixture.h"

namespace leaseplane {
namespace {

using RemoteClientTest = RemoteTest;

// Takes connections on a port of the loopback and hangs up at once.
class CountingPort {
 public:
  explicit CountingPort(int port) : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const int on = 1;
    ::setsockopt(socket_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const void* untyped = &address;
    EXPECT_EQ(::bind(socket_, static_cast<const sockaddr*>(untyped), sizeof(address)), 0);
    EXPECT_EQ(::listen(socket_, 16), 0);
    thread_ = std::thread([this] {
      for (int peer; (peer = ::accept(socket_, nullptr, nullptr)) >= 0; ++knocks_) ::close(peer);
    });
  }
  ~CountingPort() {
    ::shutdown(socket_, SHUT_RDWR);
    thread_.join();
    ::close(socket_);
  }
  int knocks() const { return knocks_; }

 private:
  const int socket_;
  std::atomic<int> knocks_{0};
  std::thread thread_;
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

TEST_F(RemoteClientTest, APoolKnowsItsCapacityIfTheDaemonTells) {
  const Client client = Connect();
  EXPECT_EQ(Open(client).capacity(), 2u);
  service_.BeOld();
  EXPECT_EQ(Open(client).capacity(), 0u);
  EXPECT_EQ(ReasonOf(client.OpenPool("none").status()), Reason::kNotFound);
}

TEST_F(RemoteClientTest, AWaitLongerThanACallMayLastIsManyCallsUnderOneRequestId) {
  const Client client = Connect();
  const Pool pool = Open(client);
  Lease one = pool.TryAcquire();
  const Lease two = pool.TryAcquire();
  service_.CapWaits(150);
  const int before = service_.count("Acquire");
  absl::StatusOr<Lease> lease;
  std::thread waiter([&] { lease = pool.Acquire({.max_wait = absl::InfiniteDuration()}); });
  EXPECT_TRUE(Eventually([&] { return service_.count("Acquire") >= before + 4; }));
  EXPECT_EQ(service_.request_ids(), 3u);
  EXPECT_TRUE(std::move(one).Release().ok());
  waiter.join();
  EXPECT_TRUE(lease.ok()) << lease.status();
}

TEST_F(RemoteClientTest, AChainedWaitEndsAtItsOwnDeadline) {
  const Client client = Connect();
  const Pool pool = Open(client);
  const Lease one = pool.TryAcquire();
  const Lease two = pool.TryAcquire();
  service_.CapWaits(50);
  const int before = service_.count("Acquire");
  const auto started = std::chrono::steady_clock::now();
  EXPECT_EQ(ReasonOf(pool.Acquire({.max_wait = absl::Milliseconds(400)}).status()),
            Reason::kWaitTimeout);
  EXPECT_GE(std::chrono::steady_clock::now() - started, std::chrono::milliseconds(390));
  EXPECT_GE(service_.count("Acquire"), before + 2);
  EXPECT_LE(service_.count("Acquire"), before + 8);
}

TEST_F(RemoteClientTest, ADaemonThatEndsWaitsAtOnceIsNotAskedInATightLoop) {
  const Client client = Connect();
  const Pool pool = Open(client);
  const Lease one = pool.TryAcquire();
  const Lease two = pool.TryAcquire();
  service_.CapWaits(0);
  const int before = service_.count("Acquire");
  EXPECT_FALSE(pool.Acquire({.max_wait = absl::Milliseconds(500)}).ok());
  EXPECT_LE(service_.count("Acquire"), before + 8);
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

TEST_F(RemoteClientTest, ADaemonThatWasAwayForLongIsFoundSoon) {
  const Client client = Connect();
  const Pool pool = Open(client);
  const Lease lease = pool.TryAcquire();  // whose stream and renewals keep trying
  service_.Stop();
  {
    // gRPC's own pauses would grow beyond a minute before the tenth try.
    const CountingPort closed_door(service_.port());
    ASSERT_TRUE(Eventually([&] { return closed_door.knocks() >= 10; }));
  }
  service_.Start(service_.target());
  Lease other;
  EXPECT_TRUE(Eventually([&] {
    if (!other) other = pool.TryAcquire();
    return static_cast<bool>(other);
  }));
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
