// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "tests/unit/server/rpc/lease_stream_fixture.h"

namespace leaseplane::rpc {
namespace {

using LeaseStreamBoundsTest = LeaseStreamTest;

TEST_F(LeaseStreamBoundsTest, ReleaseOnDisconnectGivesBackWhatWasNotReleased) {
  plane.is_slot_free = plane.are_leases_new = true;
  for (const bool is_cancelled : {true, false}) {
    Call own_call;
    auto stream = leases->LeaseStream(&own_call);
    Request request = AcquireOf(1);
    request.set_release_on_disconnect(true);
    AddAcquire(&request, 2);
    ASSERT_TRUE(stream->Write(request));
    const std::string first = Read(stream.get()).acquired().name();
    EXPECT_TRUE(Read(stream.get()).has_acquired());
    const size_t before = plane.notes().size();
    Request release;
    AddRelease(&release, 3, first);
    ASSERT_TRUE(stream->Write(release));
    EXPECT_TRUE(Read(stream.get()).has_released());
    EXPECT_EQ(plane.notes().size(), before + 1);
    if (is_cancelled) {
      own_call.TryCancel();
    } else {
      stream->WritesDone();
    }
    End(stream.get());
    EXPECT_TRUE(IsQuiet());
    EXPECT_EQ(plane.notes().size(), before + 2) << "the second lease alone";
    EXPECT_EQ(plane.notes().back(), "Release gpu  77 allow_missing");
  }
}

TEST_F(LeaseStreamBoundsTest, ALateGrantOfAStreamThatReleasesIsReleasedEvenWithARequestId) {
  auto stream = leases->LeaseStream(&call);
  Request request = AcquireOf(1, 60);
  request.set_release_on_disconnect(true);
  ASSERT_TRUE(stream->Write(request));
  const auto tickets = plane.AwaitParked(1);
  ASSERT_EQ(tickets.size(), 1u);
  const auto late = plane.Take(tickets[0]).listener;
  call.TryCancel();
  End(stream.get());
  EXPECT_TRUE(IsQuiet());
  late->OnGranted(SomeGrant());
  EXPECT_EQ(CountNotes("Release gpu  77 allow_missing"), 1u);
}

TEST_F(LeaseStreamBoundsTest, WhatAStreamHoldsForReleaseIsBoundedAndForgetsWhatEnded) {
  constexpr int kLeasesMax = 65'536;
  plane.is_slot_free = plane.are_leases_new = true;
  Call long_call(absl::Minutes(5));
  auto stream = leases->LeaseStream(&long_call);
  for (int sent = 0; sent < kLeasesMax; sent += 256) {
    Request request;
    request.set_release_on_disconnect(true);
    for (int i = 0; i < 256; ++i) AddAcquire(&request, sent + i);
    ASSERT_TRUE(stream->Write(request));
    for (int i = 0; i < 256; ++i) ASSERT_TRUE(Read(stream.get()).has_acquired());
  }
  ASSERT_TRUE(stream->Write(AcquireOf(1)));
  EXPECT_EQ(Read(stream.get()).error().reason(), v1::CLIENT_QUOTA);
  plane.is_lease_expired = true;
  EXPECT_TRUE(FakePlane::Await([&] {
    stream->Write(AcquireOf(2));
    return Read(stream.get()).has_acquired();
  }));
  long_call.TryCancel();
  End(stream.get());
  EXPECT_TRUE(IsQuiet());
  EXPECT_EQ(plane.notes().size(), 1u) << "the others had ended";
}

TEST_F(LeaseStreamBoundsTest, TooManyWaitsEndTheStream) {
  auto stream = leases->LeaseStream(&call);
  for (int sent = 0; sent < 8192; sent += 256) {
    Request request;
    for (int i = 0; i < 256; ++i) AddAcquire(&request, sent + i, 60);
    ASSERT_TRUE(stream->Write(request));
  }
  ASSERT_EQ(plane.AwaitParked(8192).size(), 8192u);
  stream->Write(AcquireOf(1));
  const grpc::Status status = End(stream.get());
  EXPECT_REFUSED(status, RESOURCE_EXHAUSTED, "CLIENT_QUOTA");
  EXPECT_TRUE(FakePlane::Await([&] { return plane.cancelled().size() == 8192; }));
  EXPECT_TRUE(IsQuiet());
}

// Sends renewals from a thread of its own and reads nothing until the daemon has given up on it.
class SlowReader {
 public:
  SlowReader(grpc::ClientReaderWriter<v1::LeaseStreamRequest, v1::LeaseStreamResponse>* stream,
             const v1::LeaseStreamRequest& request)
      : writer_([stream, request] {
          while (stream->Write(request)) continue;
        }) {}
  ~SlowReader() { writer_.join(); }

 private:
  std::thread writer_;
};

TEST_F(LeaseStreamBoundsTest, AClientThatDoesNotReadIsEndedAndItsUntoldGrantsAreGivenBack) {
  plane.is_slot_free = plane.are_leases_new = true;
  auto stream = leases->LeaseStream(&call);
  Request request;
  for (int i = 0; i < 256; ++i) AddAcquire(&request, i);
  {
    SlowReader reader(stream.get(), request);
    EXPECT_TRUE(
        FakePlane::Await([&] { return observer.count("LeaseStream RESOURCE_EXHAUSTED") == 1; }));
    const auto status = End(stream.get());
    EXPECT_REFUSED(status, RESOURCE_EXHAUSTED, "CLIENT_QUOTA");
  }
  EXPECT_TRUE(IsQuiet());
  EXPECT_EQ(static_cast<size_t>(result_count_ + plane.abandoned_count()), plane.acquired().size());
  EXPECT_GT(plane.abandoned_count(), 0);
}

TEST_F(LeaseStreamBoundsTest, AClientThatNeverReadsIsCutOff) {
  auto stream = leases->LeaseStream(&call);
  Request request;
  for (int i = 0; i < 256; ++i) AddRenew(&request, i);
  {
    SlowReader reader(stream.get(), request);
    EXPECT_TRUE(IsQuiet()) << "without a single read";
  }
  End(stream.get());
}

}  // namespace
}  // namespace leaseplane::rpc
