// SPDX-License-Identifier: Apache-2.0
#include "clients/cpp/remote/call_status.h"

#include <gtest/gtest.h>

#include "clients/cpp/request_id.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "leaseplane/v1/lease.pb.h"

namespace leaseplane::internal {
namespace {

grpc::Status WithReason(grpc::StatusCode code, const std::string& reason,
                        const std::string& domain = "leaseplane") {
  google::rpc::Status details;
  google::rpc::ErrorInfo info;
  info.set_reason(reason);
  info.set_domain(domain);
  details.add_details()->PackFrom(info);
  google::rpc::RetryInfo retry;
  retry.mutable_retry_delay()->set_nanos(250'000'000);
  details.add_details()->PackFrom(retry);
  return grpc::Status(code, "text", details.SerializeAsString());
}

TEST(CallStatusTest, TheDaemonsReasonAndRetryHintSurvive) {
  const absl::Status status =
      ToStatus(WithReason(grpc::StatusCode::RESOURCE_EXHAUSTED, "WAIT_TIMEOUT"));
  EXPECT_EQ(ReasonOf(status), Reason::kWaitTimeout);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(RetryAfter(status), absl::Milliseconds(250));
  EXPECT_FALSE(IsTransient(status));
}

TEST(CallStatusTest, EveryReasonOfTheProtocolIsKnown) {
  for (int i = 1; v1::ErrorReason_IsValid(i); ++i) {
    const std::string name = v1::ErrorReason_Name(static_cast<v1::ErrorReason>(i));
    EXPECT_NE(ReasonFromName(name), Reason::kUnknown) << name;
  }
}

TEST(CallStatusTest, WithoutDetailsTheCodeDecides) {
  const auto reason = [](grpc::StatusCode code) {
    return ReasonOf(ToStatus(grpc::Status(code, "")));
  };
  EXPECT_EQ(reason(grpc::StatusCode::UNAVAILABLE), Reason::kUnreachable);
  EXPECT_EQ(reason(grpc::StatusCode::DEADLINE_EXCEEDED), Reason::kOutcomeUnknown);
  EXPECT_EQ(reason(grpc::StatusCode::CANCELLED), Reason::kOutcomeUnknown);
  EXPECT_EQ(reason(grpc::StatusCode::UNKNOWN), Reason::kInternal);
  EXPECT_TRUE(ToStatus(grpc::Status::OK).ok());
}

TEST(CallStatusTest, ForeignDomainsAndDamagedDetailsAreIgnored) {
  EXPECT_EQ(
      ReasonOf(ToStatus(WithReason(grpc::StatusCode::UNAVAILABLE, "DRAINING", "example.org"))),
      Reason::kUnreachable);
  EXPECT_EQ(ReasonOf(ToStatus(grpc::Status(grpc::StatusCode::INTERNAL, "", "\xff\xff\x01"))),
            Reason::kInternal);
}

TEST(RequestIdTest, IdsAreUuidsAndDiffer) {
  const std::string id = NewRequestId();
  ASSERT_EQ(id.size(), 36u);
  EXPECT_EQ(id[8], '-');
  EXPECT_EQ(id[14], '4');
  EXPECT_NE(id, NewRequestId());
}

}  // namespace
}  // namespace leaseplane::internal
