// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/server/rpc/lease_stream_fixture.h"

namespace leaseplane::rpc {
namespace {

using engine::Reason;

using LeaseStreamCallTest = LeaseStreamTest;

TEST_F(LeaseStreamCallTest, OneMessageCarriesManyOperationsAndEachIsAnswered) {
  plane.is_slot_free = true;
  auto stream = leases->LeaseStream(&call);
  Request request;
  request.set_client_id("worker");
  AddAcquire(&request, 41);
  request.mutable_operations(0)->mutable_acquire()->mutable_ttl()->set_seconds(30);
  AddRenew(&request, 42);
  request.mutable_operations(1)->mutable_renew()->mutable_ttl()->set_seconds(31);
  AddRelease(&request, 43);
  ASSERT_TRUE(stream->Write(request));

  const auto acquired = Read(stream.get());
  EXPECT_EQ(acquired.sequence(), 41);
  EXPECT_EQ(acquired.acquired().name(), kLeaseName);
  EXPECT_EQ(acquired.acquired().slot_index(), 3);
  EXPECT_EQ(acquired.acquired().fencing_token(), 77);
  EXPECT_EQ(acquired.acquired().resource(), "host:1");
  EXPECT_EQ(acquired.acquired().remaining_duration().seconds(), 9);
  EXPECT_EQ(acquired.acquired().queued_duration().nanos(), 5'000'000);
  EXPECT_EQ(acquired.acquired().renew_interval().seconds(), 3);
  const auto renewed = Read(stream.get());
  EXPECT_EQ(renewed.sequence(), 42);
  EXPECT_EQ(renewed.renewed().remaining_duration().seconds(), 9);
  EXPECT_EQ(renewed.renewed().renew_interval().seconds(), 3);
  EXPECT_TRUE(renewed.renewed().has_queued_duration());
  const auto released = Read(stream.get());
  EXPECT_EQ(released.sequence(), 43);
  EXPECT_TRUE(released.has_released());
  EXPECT_EQ(response_.results_size(), 3) << "answered in one message";

  EXPECT_EQ(plane.acquired()[0].client_id, "worker");
  EXPECT_EQ(plane.acquired()[0].ttl_ns, 30 * engine::kSecond);
  EXPECT_EQ(plane.renewals()[0].holder.client_id, "worker");
  EXPECT_EQ(plane.renewals()[0].ttl_ns, 31 * engine::kSecond);
  EXPECT_THAT(plane.notes(), testing::ElementsAre("Release gpu worker 77"));
  stream->WritesDone();
  EXPECT_TRUE(End(stream.get()).ok());
  EXPECT_TRUE(IsQuiet());
  EXPECT_EQ(observer.count("LeaseStream OK"), 1);
}

TEST_F(LeaseStreamCallTest, AnAcquireThatHasATicketAndIsAnsweredAtOnceDoesNotWait) {
  plane.is_slot_free = true;
  plane.gives_ticket = true;
  auto stream = leases->LeaseStream(&call);
  ASSERT_TRUE(stream->Write(AcquireOf(1, 20)));
  EXPECT_EQ(Read(stream.get()).acquired().fencing_token(), 77);
  stream->WritesDone();
  EXPECT_TRUE(End(stream.get()).ok());
  EXPECT_TRUE(IsQuiet());
  EXPECT_TRUE(plane.cancelled().empty());
}

TEST_F(LeaseStreamCallTest, AnOperationsOwnClientIdGoesBeforeTheStreams) {
  plane.is_slot_free = true;
  auto stream = leases->LeaseStream(&call);
  Request request = AcquireOf(1);
  request.set_client_id("stream");
  request.mutable_operations(0)->mutable_acquire()->set_client_id("own");
  ASSERT_TRUE(stream->Write(request));
  Read(stream.get());
  EXPECT_EQ(plane.acquired()[0].client_id, "own");
}

TEST_F(LeaseStreamCallTest, ABadOperationIsAnsweredAsByItsMethodAndEndsNothing) {
  auto stream = leases->LeaseStream(&call);
  Request request;
  AddAcquire(&request, 1);
  request.mutable_operations(0)->mutable_acquire()->mutable_ttl()->set_nanos(1);
  AddRenew(&request, 2, "nonsense");
  AddRelease(&request, 3);
  request.mutable_operations(2)->mutable_release()->set_fencing_token(-1);
  request.add_operations()->set_sequence(4);
  AddRenew(&request, 5, "pools/gpu/leases/local-3-77");
  AddAcquire(&request, 6);  // and there is no free slot
  ASSERT_TRUE(stream->Write(request));

  const auto status_of = [](const Response::Result& result) {
    const auto& error = result.error();
    google::rpc::Status details;
    *details.mutable_details() = error.details();
    const grpc::Status status(static_cast<grpc::StatusCode>(error.code()), error.message(),
                              details.SerializeAsString());
    EXPECT_EQ(ReasonOf(status), v1::ErrorReason_Name(error.reason()));
    return status;
  };
  for (const auto& [sequence, field] :
       {std::pair(1, "acquire.ttl"), std::pair(2, "renew.name"),
        std::pair(3, "release.fencing_token"), std::pair(4, "operation")}) {
    const auto result = Read(stream.get());
    EXPECT_EQ(result.sequence(), sequence);
    const grpc::Status status = status_of(result);
    EXPECT_REFUSED(status, INVALID_ARGUMENT, "INVALID_ARGUMENT");
    EXPECT_THAT(BadFieldsOf(status), testing::ElementsAre(field));
  }
  EXPECT_REFUSED(status_of(Read(stream.get())), PERMISSION_DENIED, "NOT_HOLDER");
  const grpc::Status full = status_of(Read(stream.get()));
  EXPECT_REFUSED(full, RESOURCE_EXHAUSTED, "NO_FREE_SLOT");
  EXPECT_TRUE(DetailOf<google::rpc::RetryInfo>(full).has_value());

  plane.refusal = Refuse(Reason::kLeaseExpired);
  Request again;
  AddRelease(&again, 7);
  AddRenew(&again, 8);
  ASSERT_TRUE(stream->Write(again));
  EXPECT_REFUSED(status_of(Read(stream.get())), FAILED_PRECONDITION, "LEASE_EXPIRED");
  EXPECT_REFUSED(status_of(Read(stream.get())), FAILED_PRECONDITION, "LEASE_EXPIRED");
  stream->WritesDone();
  EXPECT_TRUE(End(stream.get()).ok());
}

TEST_F(LeaseStreamCallTest, AnAcquireThatWaitsHoldsUpNothing) {
  auto stream = leases->LeaseStream(&call);
  Request request = AcquireOf(1, /*wait_seconds=*/60);
  AddRenew(&request, 2);
  ASSERT_TRUE(stream->Write(request));
  EXPECT_EQ(Read(stream.get()).sequence(), 2);
  const auto tickets = plane.AwaitParked(1);
  ASSERT_EQ(tickets.size(), 1u);
  plane.Take(tickets[0]).listener->OnGranted(SomeGrant());
  const auto granted = Read(stream.get());
  EXPECT_EQ(granted.sequence(), 1);
  EXPECT_TRUE(granted.has_acquired());
  stream->WritesDone();
  EXPECT_TRUE(End(stream.get()).ok());
  EXPECT_THAT(plane.cancelled(), testing::IsEmpty());
}

TEST_F(LeaseStreamCallTest, AHalfClosedStreamStillGetsItsAnswers) {
  auto stream = leases->LeaseStream(&call);
  ASSERT_TRUE(stream->Write(AcquireOf(1, 60)));
  stream->WritesDone();
  const auto tickets = plane.AwaitParked(1);
  ASSERT_EQ(tickets.size(), 1u);
  plane.Take(tickets[0]).listener->OnRefused(Refuse(Reason::kWaitTimeout));
  EXPECT_EQ(Read(stream.get()).error().reason(), v1::WAIT_TIMEOUT);
  EXPECT_TRUE(End(stream.get()).ok());
}

TEST_F(LeaseStreamCallTest, WaitsAreCancelledWithTheStreamAndALateGrantIsGivenBack) {
  auto stream = leases->LeaseStream(&call);
  Request request = AcquireOf(1, 60);
  AddAcquire(&request, 2, 60);
  ASSERT_TRUE(stream->Write(request));
  const auto tickets = plane.AwaitParked(2);
  ASSERT_EQ(tickets.size(), 2u);
  const auto late = plane.Take(tickets[0]).listener;
  call.TryCancel();
  EXPECT_EQ(End(stream.get()).error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_TRUE(IsQuiet());
  EXPECT_THAT(plane.cancelled(), testing::UnorderedElementsAreArray(tickets));
  late->OnGranted(SomeGrant());
  EXPECT_EQ(plane.abandoned_count(), 1);
  EXPECT_THAT(plane.notes(), testing::IsEmpty()) << "nothing else was given back";
}

TEST_F(LeaseStreamCallTest, LeasesLiveOnAfterTheStreamUnlessItAskedOtherwise) {
  plane.is_slot_free = true;
  auto stream = leases->LeaseStream(&call);
  ASSERT_TRUE(stream->Write(AcquireOf(1)));
  EXPECT_TRUE(Read(stream.get()).has_acquired());
  call.TryCancel();
  End(stream.get());
  EXPECT_TRUE(IsQuiet());
  EXPECT_THAT(plane.notes(), testing::IsEmpty());
  EXPECT_EQ(plane.abandoned_count(), 0);
}

TEST_F(LeaseStreamCallTest, ADrainIsTold) {
  auto stream = leases->LeaseStream(&call);
  ASSERT_TRUE(stream->Write(Request()));
  EXPECT_TRUE(FakePlane::Await([&] { return plane.watcher_count() == 1; }));
  plane.ForEachWatcher([](auto* watcher) { watcher->OnDraining(); });
  ASSERT_TRUE(stream->Read(&response_));
  EXPECT_TRUE(response_.has_draining());
}

TEST_F(LeaseStreamCallTest, AShutdownEndsTheStreamAndKeepsItsLeases) {
  plane.is_slot_free = true;
  auto stream = leases->LeaseStream(&call);
  Request request = AcquireOf(1);
  request.set_release_on_disconnect(true);
  ASSERT_TRUE(stream->Write(request));
  EXPECT_TRUE(Read(stream.get()).has_acquired());
  plane.is_slot_free = false;
  ASSERT_TRUE(stream->Write(AcquireOf(2, 60)));
  EXPECT_EQ(plane.AwaitParked(1).size(), 1u);
  server_->Shutdown(absl::Seconds(30));
  EXPECT_REFUSED(End(stream.get()), UNAVAILABLE, "DRAINING");
  EXPECT_EQ(plane.cancelled().size(), 1u);
  EXPECT_THAT(plane.notes(), testing::IsEmpty());
  EXPECT_EQ(plane.watcher_count(), 0u);
}

TEST_F(LeaseStreamCallTest, TheTermsOfAStreamMayNotChange) {
  const auto try_second = [&](const Request& second) {
    Call own_call;
    auto stream = leases->LeaseStream(&own_call);
    Request first;
    first.set_client_id("one");
    stream->Write(first);
    stream->Write(second);
    return BadFieldsOf(End(stream.get()));
  };
  Request other_client;
  other_client.set_client_id("two");
  EXPECT_THAT(try_second(other_client), testing::ElementsAre("client_id"));
  Request late_wish;
  late_wish.set_release_on_disconnect(true);
  EXPECT_THAT(try_second(late_wish), testing::ElementsAre("release_on_disconnect"));
  Request too_many;
  for (int i = 0; i < 257; ++i) AddRenew(&too_many, i);
  EXPECT_THAT(try_second(too_many), testing::ElementsAre("operations"));
  Request not_text;
  AddRenew(&not_text, 1, "pools/\xff");
  EXPECT_THAT(try_second(not_text), testing::ElementsAre("operations[0].renew.name"));
  EXPECT_TRUE(IsQuiet());
}

}  // namespace
}  // namespace leaseplane::rpc
