// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>
#include <thread>

#include "tests/unit/server/rpc/rpc_fixture.h"

namespace leaseplane::rpc {
namespace {

using engine::Reason;

// One AcquireLease in a thread of its own.
class AcquireInBackground {
 public:
  AcquireInBackground(v1::LeaseService::Stub* stub, const v1::AcquireLeaseRequest& request,
                      absl::Duration limit = absl::Minutes(1))
      : call_(limit), thread_([this, stub, request] {
          status_ = stub->AcquireLease(&call_, request, &response_);
        }) {}
  ~AcquireInBackground() {
    if (thread_.joinable()) thread_.join();
  }

  void Cancel() { call_.TryCancel(); }
  grpc::Status Join() {
    thread_.join();
    return status_;
  }
  const v1::AcquireLeaseResponse& response() const { return response_; }

 private:
  Call call_;
  v1::AcquireLeaseResponse response_;
  grpc::Status status_;
  std::thread thread_;
};

class AcquireCallTest : public RpcTest {
 protected:
  grpc::Status Acquire(const v1::AcquireLeaseRequest& request,
                       absl::Duration limit = absl::Minutes(1)) {
    Call call(limit);
    return leases->AcquireLease(&call, request, &response);
  }
  // The plane has let go of everything, and no call is left behind.
  bool IsQuiet() {
    return FakePlane::Await([&] { return server_->open_call_count() == 0; });
  }

  v1::AcquireLeaseResponse response;
};

TEST_F(AcquireCallTest, AFreeSlotIsGrantedWithAllThatItsHolderNeeds) {
  plane.is_slot_free = true;
  auto request = AcquireRequest(5);
  request.set_client_id("worker");
  request.set_request_id("00112233-4455-6677-8899-aabbccddeeff");
  request.mutable_ttl()->set_seconds(10);
  (*request.mutable_metadata())["job"] = "7";
  ASSERT_TRUE(Acquire(request).ok());
  EXPECT_EQ(response.lease().name(), kLeaseName);
  EXPECT_EQ(response.lease().pool(), "pools/gpu");
  EXPECT_EQ(response.lease().slot_index(), 3);
  EXPECT_EQ(response.lease().fencing_token(), 77);
  EXPECT_EQ(response.lease().resource(), "host:1");
  EXPECT_EQ(response.lease().state(), v1::Lease::STATE_ACTIVE);
  EXPECT_EQ(response.remaining_duration().seconds(), 9);
  EXPECT_EQ(response.queued_duration().nanos(), 5'000'000);
  EXPECT_EQ(response.renew_interval().seconds(), 3);

  const auto asked = plane.acquired();
  ASSERT_EQ(asked.size(), 1u);
  EXPECT_EQ(asked[0].principal, "anonymous");
  EXPECT_EQ(asked[0].client_id, "worker");
  EXPECT_EQ(asked[0].request_id.hi, 0x0011223344556677u);
  EXPECT_EQ(asked[0].ttl_ns, 10 * engine::kSecond);
  EXPECT_EQ(asked[0].max_wait_ns, 5 * engine::kSecond);
  EXPECT_EQ(asked[0].metadata.at("job"), "7");
}

TEST_F(AcquireCallTest, WithoutAWaitNoFreeSlotIsSaidAtOnce) {
  EXPECT_REFUSED(Acquire(AcquireRequest()), RESOURCE_EXHAUSTED, "NO_FREE_SLOT");
}

TEST_F(AcquireCallTest, AParkedCallIsAnsweredWhenItsSlotComes) {
  AcquireInBackground call(leases.get(), AcquireRequest(20));
  const auto tickets = plane.AwaitParked(1);
  ASSERT_EQ(tickets.size(), 1u);
  EXPECT_TRUE(FakePlane::Await([&] { return server_->open_call_count() == 1; }));
  plane.Take(tickets[0]).listener->OnGranted(SomeGrant());
  EXPECT_TRUE(call.Join().ok());
  EXPECT_EQ(call.response().lease().fencing_token(), 77);
  EXPECT_TRUE(IsQuiet());
  EXPECT_EQ(plane.abandoned_count(), 0);
}

// As for a lease that its request_id is asked for again: it is stored, so the plane answers at
// once, and has named the call because it might have had to wait.
TEST_F(AcquireCallTest, ACallThatHasATicketAndIsAnsweredAtOnceIsNotLeftBehind) {
  plane.is_slot_free = true;
  plane.gives_ticket = true;
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(Acquire(AcquireRequest(20)).ok());
  EXPECT_EQ(response.lease().fencing_token(), 77);
  EXPECT_EQ(observer.count("AcquireLease OK"), 100);
  EXPECT_EQ(server_->open_call_count(), 0u);
  EXPECT_TRUE(plane.cancelled().empty());
  EXPECT_EQ(plane.abandoned_count(), 0);
}

TEST_F(AcquireCallTest, ManyCallsWaitAtTheSameTime) {
  constexpr size_t kCalls = 64;
  std::vector<std::unique_ptr<AcquireInBackground>> calls;
  for (size_t i = 0; i < kCalls; ++i) {
    calls.push_back(std::make_unique<AcquireInBackground>(leases.get(), AcquireRequest(40)));
  }
  const auto tickets = plane.AwaitParked(kCalls);
  ASSERT_EQ(tickets.size(), kCalls) << "a handler waits in a thread of the library";
  EXPECT_REFUSED(Acquire(AcquireRequest()), RESOURCE_EXHAUSTED, "NO_FREE_SLOT");
  for (const uint64_t ticket : tickets) {
    plane.Take(ticket).listener->OnRefused(Refuse(Reason::kWaitTimeout));
  }
  for (auto& call : calls) EXPECT_REFUSED(call->Join(), RESOURCE_EXHAUSTED, "WAIT_TIMEOUT");
  EXPECT_TRUE(IsQuiet());
}

TEST_F(AcquireCallTest, ACallThatIsCancelledWhileQueuedLeavesTheQueue) {
  AcquireInBackground call(leases.get(), AcquireRequest(20));
  const auto tickets = plane.AwaitParked(1);
  ASSERT_EQ(tickets.size(), 1u);
  call.Cancel();
  EXPECT_EQ(call.Join().error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_TRUE(FakePlane::Await([&] { return !plane.cancelled().empty(); }));
  EXPECT_THAT(plane.cancelled(), testing::ElementsAre(tickets[0]));
  EXPECT_TRUE(IsQuiet());
  EXPECT_EQ(plane.abandoned_count(), 0);
}

TEST_F(AcquireCallTest, AGrantThatComesAfterTheCallHasGoneIsGivenBack) {
  AcquireInBackground call(leases.get(), AcquireRequest(20));
  const auto tickets = plane.AwaitParked(1);
  ASSERT_EQ(tickets.size(), 1u);
  const auto parked = plane.Take(tickets[0]);  // the engine has decided already
  ASSERT_TRUE(FakePlane::Await([&] { return server_->open_call_count() == 1; }));
  call.Cancel();
  call.Join();
  EXPECT_TRUE(IsQuiet());
  parked.listener->OnGranted(SomeGrant());
  EXPECT_EQ(plane.abandoned_count(), 1);
}

// The grant and the cancellation race for the call: whoever wins, the slot is either told to the
// caller or given back.
TEST_F(AcquireCallTest, AGrantThatRacesACancellationIsDeliveredOrGivenBack) {
  for (int round = 0; round < 200; ++round) {
    const int given_back_before = plane.abandoned_count();
    const int answered_before = observer.count("AcquireLease OK");
    AcquireInBackground call(leases.get(), AcquireRequest(20));
    const auto tickets = plane.AwaitParked(1);
    ASSERT_EQ(tickets.size(), 1u);
    const auto parked = plane.Take(tickets[0]);
    std::thread canceller([&] { call.Cancel(); });
    parked.listener->OnGranted(SomeGrant());
    canceller.join();
    call.Join();
    ASSERT_TRUE(IsQuiet());
    const int given_back = plane.abandoned_count() - given_back_before;
    const int answered = observer.count("AcquireLease OK") - answered_before;
    EXPECT_EQ(given_back + answered, 1) << "round " << round;
  }
}

TEST_F(AcquireCallTest, TheWaitEndsBeforeTheDeadlineOfTheCall) {
  AcquireInBackground call(leases.get(), AcquireRequest(40), absl::Seconds(20));
  const auto tickets = plane.AwaitParked(1);
  ASSERT_EQ(tickets.size(), 1u);
  EXPECT_LE(plane.acquired()[0].max_wait_ns, 19'900 * engine::kMillisecond);
  EXPECT_GT(plane.acquired()[0].max_wait_ns, 0);
  plane.Take(tickets[0]).listener->OnRefused(Refuse(Reason::kWaitTimeout));
  EXPECT_REFUSED(call.Join(), RESOURCE_EXHAUSTED, "WAIT_TIMEOUT");
}

TEST_F(AcquireCallTest, ADeadlineTooNearToWaitIsATimeoutOfTheWait) {
  // 100 ms are kept for the answer, so a call of less never waits. On a slow machine it may also
  // end before it is answered, and then once more.
  grpc::Status status;
  EXPECT_TRUE(FakePlane::Await([&] {
    status = Acquire(AcquireRequest(40), absl::Milliseconds(99));
    return status.error_code() != grpc::StatusCode::DEADLINE_EXCEEDED;
  }));
  EXPECT_REFUSED(status, RESOURCE_EXHAUSTED, "WAIT_TIMEOUT");
  EXPECT_EQ(plane.acquired().back().max_wait_ns, 0);
}

TEST_F(AcquireCallTest, ACallWithoutADeadlineWaitsAsLongAsItAsked) {
  grpc::ClientContext no_deadline;
  std::promise<grpc::Status> done;
  const auto request = AcquireRequest(50);
  leases->async()->AcquireLease(&no_deadline, &request, &response,
                                [&](grpc::Status status) { done.set_value(std::move(status)); });
  const auto tickets = plane.AwaitParked(1);
  ASSERT_EQ(tickets.size(), 1u);
  EXPECT_EQ(plane.acquired()[0].max_wait_ns, 50 * engine::kSecond);
  plane.Take(tickets[0]).listener->OnGranted(SomeGrant());
  EXPECT_TRUE(done.get_future().get().ok());
}

TEST_F(AcquireCallTest, ADeadlineThatHasPassedAsksThePlaneForNothing) {
  plane.is_slot_free = true;
  EXPECT_EQ(Acquire(AcquireRequest(), absl::Seconds(-5)).error_code(),
            grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_THAT(plane.acquired(), testing::IsEmpty());
}

TEST_F(AcquireCallTest, AnExceptionOfThePlaneIsAnInternalError) {
  plane.is_throwing = true;
  EXPECT_REFUSED(Acquire(AcquireRequest(20)), INTERNAL, "INTERNAL");
  EXPECT_EQ(observer.failure_count, 1);
  EXPECT_TRUE(IsQuiet());
}

TEST_F(AcquireCallTest, AShutdownEndsWaitsWithAReasonToTryAgain) {
  AcquireInBackground call(leases.get(), AcquireRequest(40));
  ASSERT_EQ(plane.AwaitParked(1).size(), 1u);
  EXPECT_TRUE(FakePlane::Await([&] { return server_->open_call_count() == 1; }));
  server_->Shutdown(absl::Seconds(30));
  const grpc::Status status = call.Join();
  EXPECT_REFUSED(status, UNAVAILABLE, "DRAINING");
  EXPECT_TRUE(DetailOf<google::rpc::RetryInfo>(status));
  EXPECT_EQ(plane.cancelled().size(), 1u);
  EXPECT_EQ(server_->open_call_count(), 0u);
}

TEST_F(AcquireCallTest, ACallerThatVanishesLeavesTheQueue) {
  {
    auto channel =
        grpc::CreateCustomChannel("127.0.0.1:" + std::to_string(server_->tcp_ports()[0]),
                                  grpc::InsecureChannelCredentials(), [] {
                                    grpc::ChannelArguments own_connection;
                                    own_connection.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
                                    return own_connection;
                                  }());
    auto stub = v1::LeaseService::NewStub(channel);
    AcquireInBackground call(stub.get(), AcquireRequest(40), absl::Seconds(3));
    ASSERT_EQ(plane.AwaitParked(1).size(), 1u);
    // The plane does not end the wait, so the call's own deadline does.
    EXPECT_EQ(call.Join().error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  }
  EXPECT_TRUE(FakePlane::Await([&] { return plane.cancelled().size() == 1; }));
  EXPECT_TRUE(IsQuiet());
}

}  // namespace
}  // namespace leaseplane::rpc
