// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/server/rpc/rpc_fixture.h"

namespace leaseplane::rpc {
namespace {

using engine::Reason;

class KeepAliveCallTest : public RpcTest {
 protected:
  using Stream = grpc::ClientReaderWriter<v1::KeepAliveRequest, v1::KeepAliveResponse>;

  static v1::KeepAliveRequest Renewal(int64_t sequence, const std::string& name = kLeaseName,
                                      int64_t token = 77) {
    v1::KeepAliveRequest request;
    auto* renewal = request.add_renewals();
    renewal->set_name(name);
    renewal->set_fencing_token(token);
    renewal->set_sequence(sequence);
    return request;
  }
  v1::KeepAliveResponse Read(Stream* stream) {
    v1::KeepAliveResponse message;
    EXPECT_TRUE(stream->Read(&message));
    return message;
  }
  // The status after everything that was written has been read.
  grpc::Status End(Stream* stream) {
    v1::KeepAliveResponse message;
    while (stream->Read(&message)) continue;
    return stream->Finish();
  }
  bool IsQuiet() {
    return FakePlane::Await(
        [&] { return server_->open_call_count() == 0 && plane.watcher_count() == 0; });
  }

  Call call;
};

TEST_F(KeepAliveCallTest, EachRenewalIsAnsweredWithItsSequence) {
  auto stream = leases->KeepAlive(&call);
  v1::KeepAliveRequest request = Renewal(41);
  request.set_client_id("worker");
  request.mutable_renewals(0)->mutable_ttl()->set_seconds(30);
  *request.add_renewals() = Renewal(42).renewals(0);
  ASSERT_TRUE(stream->Write(request));
  EXPECT_EQ(Read(stream.get()).renewed().sequence(), 41);
  const auto message = Read(stream.get());
  EXPECT_EQ(message.renewed().sequence(), 42);
  EXPECT_EQ(message.renewed().name(), kLeaseName);
  EXPECT_EQ(message.renewed().remaining_duration().seconds(), 9);
  EXPECT_EQ(message.renewed().renew_interval().seconds(), 3);
  EXPECT_TRUE(message.renewed().has_queued_duration());
  EXPECT_EQ(plane.renewals()[0].holder.client_id, "worker");
  EXPECT_EQ(plane.renewals()[0].ttl_ns, 30 * engine::kSecond);
  EXPECT_EQ(plane.renewals()[1].ttl_ns, 0);
  stream->WritesDone();
  EXPECT_TRUE(End(stream.get()).ok());
  EXPECT_TRUE(IsQuiet());
  EXPECT_EQ(observer.count("KeepAlive OK"), 1);
}

TEST_F(KeepAliveCallTest, ABadLeaseIsAnsweredInTheStreamAndDoesNotEndIt) {
  auto stream = leases->KeepAlive(&call);
  ASSERT_TRUE(stream->Write(Renewal(1, "nonsense")));
  auto message = Read(stream.get());
  EXPECT_EQ(message.rejected().reason(), v1::INVALID_ARGUMENT);
  EXPECT_EQ(message.rejected().sequence(), 1);
  EXPECT_THAT(message.rejected().message(), testing::HasSubstr("name"));

  ASSERT_TRUE(stream->Write(Renewal(2, kLeaseName, 0)));
  EXPECT_THAT(Read(stream.get()).rejected().message(), testing::HasSubstr("fencing_token"));

  ASSERT_TRUE(stream->Write(Renewal(3, "pools/gpu/leases/local-3-77")));
  message = Read(stream.get());
  EXPECT_EQ(message.lost().reason(), v1::NOT_HOLDER);
  EXPECT_EQ(message.lost().sequence(), 3);

  ASSERT_TRUE(stream->Write(Renewal(4)));
  EXPECT_EQ(Read(stream.get()).renewed().sequence(), 4);
  stream->WritesDone();
  EXPECT_TRUE(End(stream.get()).ok());
}

TEST_F(KeepAliveCallTest, ARefusalMeansLostOnlyIfTheLeaseIsLost) {
  auto stream = leases->KeepAlive(&call);
  for (const auto& [reason, name] : {std::pair(Reason::kLeaseExpired, v1::LEASE_EXPIRED),
                                     std::pair(Reason::kLeaseRevoked, v1::LEASE_REVOKED),
                                     std::pair(Reason::kLeaseReleased, v1::LEASE_RELEASED),
                                     std::pair(Reason::kNotFound, v1::NOT_FOUND),
                                     std::pair(Reason::kStaleToken, v1::STALE_TOKEN),
                                     std::pair(Reason::kNotHolder, v1::NOT_HOLDER)}) {
    plane.refusal = Refuse(reason);
    ASSERT_TRUE(stream->Write(Renewal(9)));
    EXPECT_EQ(Read(stream.get()).lost().reason(), name);
  }
  for (const auto& [reason, name] :
       {std::pair(Reason::kRecovering, v1::RECOVERING), std::pair(Reason::kDraining, v1::DRAINING),
        std::pair(Reason::kStoreFailed, v1::STORE_FAILED),
        std::pair(Reason::kInternal, v1::INTERNAL)}) {
    plane.refusal = Refuse(reason);
    ASSERT_TRUE(stream->Write(Renewal(9)));
    EXPECT_EQ(Read(stream.get()).rejected().reason(), name);
  }
  EXPECT_THAT(plane.watched(), testing::IsEmpty());
}

TEST_F(KeepAliveCallTest, TheStreamFollowsWhatItRenewedAndTellsItsLoss) {
  auto stream = leases->KeepAlive(&call);
  ASSERT_TRUE(stream->Write(Renewal(1)));
  EXPECT_TRUE(Read(stream.get()).has_renewed());
  EXPECT_TRUE(FakePlane::Await([&] { return plane.watched().size() == 1; }));

  const engine::LeaseId id = SomeLease().id;
  plane.ForEachWatcher(
      [&](auto* watcher) { watcher->OnRevokeRequested("gpu", id, 5'000'000'000); });
  auto message = Read(stream.get());
  EXPECT_EQ(message.revoke_requested().name(), kLeaseName);
  EXPECT_EQ(message.revoke_requested().grace_duration().seconds(), 5);

  plane.ForEachWatcher([&](auto* watcher) { watcher->OnLost("gpu", id, Reason::kLeaseRevoked); });
  message = Read(stream.get());
  EXPECT_EQ(message.lost().name(), kLeaseName);
  EXPECT_EQ(message.lost().reason(), v1::LEASE_REVOKED);
  EXPECT_EQ(message.lost().sequence(), 0);

  plane.ForEachWatcher([](auto* watcher) { watcher->OnDraining(); });
  EXPECT_TRUE(Read(stream.get()).has_draining());
}

TEST_F(KeepAliveCallTest, AnAnswerThatWaitsForTheDiskComesLater) {
  plane.is_renew_held = true;
  auto stream = leases->KeepAlive(&call);
  ASSERT_TRUE(stream->Write(Renewal(1)));
  stream->WritesDone();
  EXPECT_TRUE(FakePlane::Await([&] { return plane.renewals().size() == 1; }));
  engine::RenewResult result;
  result.lease = SomeLease();
  plane.renewals()[0].reply(result);
  EXPECT_EQ(Read(stream.get()).renewed().sequence(), 1);
  EXPECT_TRUE(End(stream.get()).ok()) << "half-closed, but every renewal has been answered";
  EXPECT_TRUE(IsQuiet());
}

TEST_F(KeepAliveCallTest, AnAnswerAfterTheStreamHasGoneHarmsNobody) {
  plane.is_renew_held = true;
  auto stream = leases->KeepAlive(&call);
  ASSERT_TRUE(stream->Write(Renewal(1)));
  EXPECT_TRUE(FakePlane::Await([&] { return plane.renewals().size() == 1; }));
  call.TryCancel();
  EXPECT_EQ(End(stream.get()).error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_TRUE(IsQuiet());
  engine::RenewResult result;
  result.lease = SomeLease();
  plane.renewals()[0].reply(result);
}

TEST_F(KeepAliveCallTest, TheClientMayNotChangeWhoItIs) {
  auto stream = leases->KeepAlive(&call);
  v1::KeepAliveRequest request;
  request.set_client_id("one");
  ASSERT_TRUE(stream->Write(request));
  request.clear_client_id();
  ASSERT_TRUE(stream->Write(request));
  request.set_client_id("two");
  stream->Write(request);
  const grpc::Status status = End(stream.get());
  EXPECT_REFUSED(status, INVALID_ARGUMENT, "INVALID_ARGUMENT");
  EXPECT_THAT(BadFieldsOf(status), testing::ElementsAre("client_id"));
  EXPECT_TRUE(IsQuiet());
}

TEST_F(KeepAliveCallTest, AMessageThatCannotBeReadEndsTheStreamAndNamesTheField) {
  auto stream = leases->KeepAlive(&call);
  stream->Write(Renewal(1, "pools/\xff"));
  const grpc::Status status = End(stream.get());
  EXPECT_REFUSED(status, INVALID_ARGUMENT, "INVALID_ARGUMENT");
  EXPECT_THAT(BadFieldsOf(status), testing::ElementsAre("renewals[0].name"));
}

TEST_F(KeepAliveCallTest, TooManyRenewalsInAMessageEndTheStream) {
  auto stream = leases->KeepAlive(&call);
  v1::KeepAliveRequest request;
  for (int i = 0; i < 257; ++i) *request.add_renewals() = Renewal(i).renewals(0);
  stream->Write(request);
  EXPECT_THAT(BadFieldsOf(End(stream.get())), testing::ElementsAre("renewals"));
}

TEST_F(KeepAliveCallTest, AClientThatDoesNotReadIsNotReadFromEither) {
  plane.is_renew_held = true;
  auto stream = leases->KeepAlive(&call);
  v1::KeepAliveRequest request;
  for (int i = 0; i < 256; ++i) *request.add_renewals() = Renewal(i).renewals(0);
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(stream->Write(request));
  EXPECT_TRUE(FakePlane::Await([&] { return plane.renewals().size() == 1024; }));
  ASSERT_TRUE(stream->Write(request)) << "on its way, but not taken in";
  absl::SleepFor(absl::Milliseconds(200));
  EXPECT_EQ(plane.renewals().size(), 1024u);
  // With answers there is room again.
  engine::RenewResult result;
  result.lease = SomeLease();
  for (const auto& renewal : plane.renewals()) renewal.reply(result);
  for (int i = 0; i < 1024; ++i) EXPECT_TRUE(Read(stream.get()).has_renewed());
  EXPECT_TRUE(FakePlane::Await([&] { return plane.renewals().size() == 1280; }));
  call.TryCancel();
  End(stream.get());
  EXPECT_TRUE(IsQuiet());
}

TEST_F(KeepAliveCallTest, AStreamHearsOfWaitersWhenItAskedFor) {
  auto stream = leases->KeepAlive(&call);
  ASSERT_TRUE(stream->Write(Renewal(1)));
  EXPECT_TRUE(Read(stream.get()).has_renewed());
  EXPECT_TRUE(plane.notes().empty());
  v1::KeepAliveRequest request;
  request.set_hear_waiting(true);
  ASSERT_TRUE(stream->Write(request));
  EXPECT_TRUE(
      FakePlane::Await([&] { return plane.notes() == std::vector<std::string>{"HearWaiting"}; }));
  plane.ForEachWatcher([](plane::LeaseWatcher* watcher) { watcher->OnWaiting("gpu"); });
  EXPECT_EQ(Read(stream.get()).waiting().pool(), "pools/gpu");
}

TEST_F(KeepAliveCallTest, AStreamThatBreaksIsForgotten) {
  auto stream = leases->KeepAlive(&call);
  ASSERT_TRUE(stream->Write(Renewal(1)));
  EXPECT_TRUE(Read(stream.get()).has_renewed());
  EXPECT_EQ(plane.watcher_count(), 1u);
  call.TryCancel();
  EXPECT_EQ(End(stream.get()).error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_TRUE(IsQuiet());
}

TEST_F(KeepAliveCallTest, AShutdownEndsTheStreamEvenIfTheClientKeepsItOpen) {
  auto stream = leases->KeepAlive(&call);
  ASSERT_TRUE(stream->Write(Renewal(1)));
  EXPECT_TRUE(Read(stream.get()).has_renewed());
  server_->Shutdown(absl::Seconds(30));
  EXPECT_REFUSED(End(stream.get()), UNAVAILABLE, "DRAINING");
  EXPECT_EQ(plane.watcher_count(), 0u);
}

}  // namespace
}  // namespace leaseplane::rpc
