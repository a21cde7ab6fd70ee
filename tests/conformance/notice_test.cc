// SPDX-License-Identifier: Apache-2.0
// What a holder is told without asking: by the session locally, by the stream remotely.
#include <grpcpp/grpcpp.h>

#include "leaseplane/v1/admin_service.grpc.pb.h"
#include "tests/conformance/lease_suite.h"

namespace leaseplane {
namespace {

class NoticeSuite : public LeaseSuite {
 protected:
  Client ConnectAndHear() {
    ClientOptions options;
    options.on_revoke = [this](const RevokeRequest& request) {
      const std::lock_guard<std::mutex> lock(mu_);
      revokes_.push_back(request);
    };
    options.on_draining = [this] {
      const std::lock_guard<std::mutex> lock(mu_);
      ++drainings_;
    };
    return Connect(std::move(options));
  }

  void Revoke(const Lease& lease, int64_t grace_s) {
    auto stub = v1::AdminService::NewStub(
        grpc::CreateChannel("unix:" + daemon_.socket_path(), grpc::InsecureChannelCredentials()));
    grpc::ClientContext context;
    v1::RevokeLeaseRequest request;
    request.set_name(lease.name());
    request.mutable_grace_duration()->set_seconds(grace_s);
    request.set_reason("maintenance");
    v1::RevokeLeaseResponse answer;
    const grpc::Status status = stub->RevokeLease(&context, request, &answer);
    EXPECT_TRUE(status.ok()) << status.error_message();
  }

  std::vector<RevokeRequest> revokes() {
    const std::lock_guard<std::mutex> lock(mu_);
    return revokes_;
  }
  int drainings() {
    const std::lock_guard<std::mutex> lock(mu_);
    return drainings_;
  }

 private:
  std::mutex mu_;
  std::vector<RevokeRequest> revokes_;
  int drainings_ = 0;
};

INSTANTIATE_TEST_SUITE_P(Paths, NoticeSuite,
                         ::testing::Values(Way::kLocal, Way::kTcp, Way::kUnixSocket),
                         [](const auto& way) { return NameOf(way.param); });

// At once, so that a remote holder's stream does not know the lease yet.
TEST_P(NoticeSuite, AHolderIsAskedToGiveBackWithinTheGrace) {
  const Client client = ConnectAndHear();
  Lease lease = Open(client, "single").TryAcquire();
  ASSERT_TRUE(lease);
  Revoke(lease, 300);
  ASSERT_TRUE(Eventually([this] { return !revokes().empty(); }));
  EXPECT_EQ(revokes()[0].token, lease.token());
  EXPECT_EQ(revokes()[0].pool, "single");
  EXPECT_GT(revokes()[0].grace, absl::Seconds(100));
  EXPECT_LE(revokes()[0].grace, absl::Seconds(300));
  EXPECT_TRUE(lease.still_held());
  EXPECT_TRUE(std::move(lease).Release().ok());
  EXPECT_TRUE(lost().empty());
}

TEST_P(NoticeSuite, ARevocationWithoutGraceIsALoss) {
  const Client client = ConnectAndHear();
  const Lease lease = Open(client, "single").TryAcquire();
  ASSERT_TRUE(lease);
  Revoke(lease, 0);
  ASSERT_TRUE(Eventually([this] { return !lost().empty(); }));
  EXPECT_EQ(lost()[0].reason, Reason::kLeaseRevoked);
  EXPECT_EQ(lost()[0].token, lease.token());
  EXPECT_FALSE(lease.still_held());
}

TEST_P(NoticeSuite, ADrainIsHeardAndCostsNoLease) {
  const Client client = ConnectAndHear();
  const Pool pool = Open(client, "single");
  const Lease lease = pool.TryAcquire();
  ASSERT_TRUE(lease);
  // The stream of a remote client is open some time after the lease.
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  EXPECT_EQ(daemon_.Stop(), 0);
  EXPECT_TRUE(Eventually([this] { return drainings() > 0; }));
  daemon_.Start();
  EXPECT_TRUE(Eventually([&] { return lease.still_held(); }));
  EXPECT_TRUE(lost().empty());
}

}  // namespace
}  // namespace leaseplane
