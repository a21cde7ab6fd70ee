// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/server/rpc/rpc_fixture.h"

namespace leaseplane::rpc {
namespace {

using engine::Reason;

class StreamAcquireCallTest : public RpcTest {
 protected:
  using Reader = grpc::ClientReader<v1::StreamAcquireLeaseResponse>;

  static v1::StreamAcquireLeaseRequest StreamRequest(int wait_seconds) {
    v1::StreamAcquireLeaseRequest request;
    *request.mutable_acquire() = AcquireRequest(wait_seconds);
    return request;
  }
  bool IsQuiet() {
    return FakePlane::Await([&] { return server_->open_call_count() == 0; });
  }

  Call call{absl::Minutes(2)};
  v1::StreamAcquireLeaseResponse message;
};

TEST_F(StreamAcquireCallTest, AFreeSlotIsTheOnlyMessage) {
  plane.is_slot_free = true;
  auto reader = leases->StreamAcquireLease(&call, StreamRequest(0));
  ASSERT_TRUE(reader->Read(&message));
  EXPECT_EQ(message.granted().lease().fencing_token(), 77);
  EXPECT_FALSE(reader->Read(&message));
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_EQ(observer.count("StreamAcquireLease OK"), 1);
}

TEST_F(StreamAcquireCallTest, ACallThatHasATicketAndIsAnsweredAtOnceIsNotLeftBehind) {
  plane.is_slot_free = true;
  plane.gives_ticket = true;
  auto reader = leases->StreamAcquireLease(&call, StreamRequest(60));
  ASSERT_TRUE(reader->Read(&message));
  EXPECT_EQ(message.granted().lease().fencing_token(), 77);
  EXPECT_FALSE(reader->Read(&message));
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_TRUE(IsQuiet());
  EXPECT_TRUE(plane.cancelled().empty());
}

TEST_F(StreamAcquireCallTest, AWaiterHearsItsPlaceItsMovesAndItsGrant) {
  plane.position = 5;
  auto reader = leases->StreamAcquireLease(&call, StreamRequest(3600));
  ASSERT_TRUE(reader->Read(&message));
  EXPECT_EQ(message.queued().position(), 5);
  EXPECT_EQ(message.queued().estimated_wait_duration().seconds(), 2);
  EXPECT_TRUE(message.queued().has_waited_duration());
  const auto tickets = plane.AwaitParked(1);
  ASSERT_EQ(tickets.size(), 1u);
  EXPECT_EQ(message.queued().waiter(), "pools/gpu/waiters/" + std::to_string(tickets[0]));

  plane.position = 2;
  ASSERT_TRUE(reader->Read(&message));
  EXPECT_EQ(message.queued().position(), 2);

  plane.Take(tickets[0]).listener->OnGranted(SomeGrant());
  ASSERT_TRUE(reader->Read(&message));
  EXPECT_EQ(message.granted().lease().name(), kLeaseName);
  EXPECT_FALSE(reader->Read(&message));
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_TRUE(IsQuiet());
}

TEST_F(StreamAcquireCallTest, AWaiterThatDoesNotMoveStillHearsThatItWaits) {
  auto reader = leases->StreamAcquireLease(&call, StreamRequest(3600));
  ASSERT_TRUE(reader->Read(&message));
  ASSERT_TRUE(reader->Read(&message)) << "told again, though nothing changed";
  EXPECT_EQ(message.queued().position(), 1);
  EXPECT_GE(message.queued().waited_duration().seconds(), 1);
  call.TryCancel();
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_TRUE(IsQuiet());
}

TEST_F(StreamAcquireCallTest, BadFieldsAreNamedWithTheirPath) {
  auto request = StreamRequest(0);
  request.mutable_acquire()->mutable_max_wait_duration()->set_seconds(86'401);
  request.mutable_acquire()->set_request_id("x");
  auto reader = leases->StreamAcquireLease(&call, request);
  EXPECT_FALSE(reader->Read(&message));
  const grpc::Status status = reader->Finish();
  EXPECT_REFUSED(status, INVALID_ARGUMENT, "INVALID_ARGUMENT");
  EXPECT_THAT(BadFieldsOf(status),
              testing::ElementsAre("acquire.max_wait_duration", "acquire.request_id"));
}

TEST_F(StreamAcquireCallTest, TextThatIsNotUtf8IsNamed) {
  auto request = StreamRequest(0);
  request.mutable_acquire()->set_client_id("\xff");
  auto reader = leases->StreamAcquireLease(&call, request);
  const grpc::Status status = reader->Finish();
  EXPECT_REFUSED(status, INVALID_ARGUMENT, "INVALID_ARGUMENT");
  EXPECT_THAT(BadFieldsOf(status), testing::ElementsAre("acquire.client_id"));
}

TEST_F(StreamAcquireCallTest, ARefusalEndsTheStreamWithItsStatus) {
  auto reader = leases->StreamAcquireLease(&call, StreamRequest(60));
  ASSERT_TRUE(reader->Read(&message));
  const auto tickets = plane.AwaitParked(1);
  ASSERT_EQ(tickets.size(), 1u);
  plane.Take(tickets[0]).listener->OnRefused(Refuse(Reason::kCancelled));
  EXPECT_FALSE(reader->Read(&message));
  EXPECT_REFUSED(reader->Finish(), ABORTED, "WAIT_CANCELLED");
  EXPECT_TRUE(IsQuiet());
}

TEST_F(StreamAcquireCallTest, AStreamThatIsCancelledWhileQueuedLeavesTheQueue) {
  auto reader = leases->StreamAcquireLease(&call, StreamRequest(60));
  ASSERT_TRUE(reader->Read(&message));
  call.TryCancel();
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_TRUE(FakePlane::Await([&] { return plane.cancelled().size() == 1; }));
  EXPECT_TRUE(IsQuiet());
  EXPECT_EQ(plane.abandoned_count(), 0);
}

TEST_F(StreamAcquireCallTest, AGrantAfterTheStreamHasGoneIsGivenBack) {
  auto reader = leases->StreamAcquireLease(&call, StreamRequest(60));
  ASSERT_TRUE(reader->Read(&message));
  const auto tickets = plane.AwaitParked(1);
  ASSERT_EQ(tickets.size(), 1u);
  const auto parked = plane.Take(tickets[0]);
  call.TryCancel();
  reader->Finish();
  EXPECT_TRUE(IsQuiet());
  parked.listener->OnGranted(SomeGrant());
  EXPECT_EQ(plane.abandoned_count(), 1);
}

TEST_F(StreamAcquireCallTest, AnExceptionOfThePlaneIsAnInternalError) {
  plane.is_throwing = true;
  auto reader = leases->StreamAcquireLease(&call, StreamRequest(60));
  EXPECT_REFUSED(reader->Finish(), INTERNAL, "INTERNAL");
}

TEST_F(StreamAcquireCallTest, AShutdownEndsTheStreamWithAReasonToTryAgain) {
  auto reader = leases->StreamAcquireLease(&call, StreamRequest(60));
  ASSERT_TRUE(reader->Read(&message));
  server_->Shutdown(absl::Seconds(30));
  EXPECT_FALSE(reader->Read(&message));
  EXPECT_REFUSED(reader->Finish(), UNAVAILABLE, "DRAINING");
  EXPECT_EQ(plane.cancelled().size(), 1u);
}

}  // namespace
}  // namespace leaseplane::rpc
