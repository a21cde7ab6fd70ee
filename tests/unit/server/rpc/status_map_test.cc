// SPDX-License-Identifier: Apache-2.0
#include "server/rpc/status_map.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "server/rpc/request_parser.h"
#include "tests/unit/server/rpc/rpc_fixture.h"

namespace leaseplane::rpc {
namespace {

using engine::Reason;
using grpc::StatusCode;

constexpr Reason kLast = Reason::kInternal;

TEST(StatusMapTest, EveryReasonHasItsCodeAndName) {
  const std::map<Reason, std::pair<StatusCode, std::string>> expected = {
      {Reason::kInvalidArgument, {StatusCode::INVALID_ARGUMENT, "INVALID_ARGUMENT"}},
      {Reason::kRequestIdConflict, {StatusCode::INVALID_ARGUMENT, "REQUEST_ID_CONFLICT"}},
      {Reason::kNotFound, {StatusCode::NOT_FOUND, "NOT_FOUND"}},
      {Reason::kAlreadyExists, {StatusCode::ALREADY_EXISTS, "ALREADY_EXISTS"}},
      {Reason::kNoFreeSlot, {StatusCode::RESOURCE_EXHAUSTED, "NO_FREE_SLOT"}},
      {Reason::kWaitTimeout, {StatusCode::RESOURCE_EXHAUSTED, "WAIT_TIMEOUT"}},
      {Reason::kQueueFull, {StatusCode::RESOURCE_EXHAUSTED, "QUEUE_FULL"}},
      {Reason::kClientQuota, {StatusCode::RESOURCE_EXHAUSTED, "CLIENT_QUOTA"}},
      {Reason::kPoolDraining, {StatusCode::FAILED_PRECONDITION, "POOL_DRAINING"}},
      {Reason::kSlotLocked, {StatusCode::FAILED_PRECONDITION, "SLOT_LOCKED"}},
      {Reason::kLeaseExpired, {StatusCode::FAILED_PRECONDITION, "LEASE_EXPIRED"}},
      {Reason::kLeaseRevoked, {StatusCode::FAILED_PRECONDITION, "LEASE_REVOKED"}},
      {Reason::kLeaseReleased, {StatusCode::FAILED_PRECONDITION, "LEASE_RELEASED"}},
      {Reason::kFailedPrecondition, {StatusCode::FAILED_PRECONDITION, "FAILED_PRECONDITION"}},
      {Reason::kStaleToken, {StatusCode::ABORTED, "STALE_TOKEN"}},
      {Reason::kCancelled, {StatusCode::ABORTED, "WAIT_CANCELLED"}},
      {Reason::kNotHolder, {StatusCode::PERMISSION_DENIED, "NOT_HOLDER"}},
      {Reason::kPermissionDenied, {StatusCode::PERMISSION_DENIED, "PERMISSION_DENIED"}},
      {Reason::kUnauthenticated, {StatusCode::UNAUTHENTICATED, "UNAUTHENTICATED"}},
      {Reason::kDraining, {StatusCode::UNAVAILABLE, "DRAINING"}},
      {Reason::kRecovering, {StatusCode::UNAVAILABLE, "RECOVERING"}},
      {Reason::kStoreFailed, {StatusCode::INTERNAL, "STORE_FAILED"}},
      {Reason::kDataLoss, {StatusCode::INTERNAL, "DATA_LOSS"}},
      {Reason::kUnimplemented, {StatusCode::UNIMPLEMENTED, "UNIMPLEMENTED"}},
      {Reason::kInternal, {StatusCode::INTERNAL, "INTERNAL"}},
      {Reason::kNone, {StatusCode::INTERNAL, "INTERNAL"}},
  };
  ASSERT_EQ(expected.size(), static_cast<size_t>(kLast) + 1);
  std::set<std::string> names;
  for (const auto& [reason, want] : expected) {
    const grpc::Status status = ToStatus(Refuse(reason, ""), LeaseSubject(kLeaseName));
    EXPECT_EQ(status.error_code(), want.first) << want.second;
    EXPECT_EQ(ReasonOf(status), want.second);
    EXPECT_FALSE(status.error_message().empty()) << want.second;
    names.insert(want.second);
  }
  EXPECT_EQ(names.size(), static_cast<size_t>(kLast)) << "one name for each reason but kNone";
  EXPECT_EQ(names.size(), static_cast<size_t>(v1::ErrorReason_ARRAYSIZE - 1));
}

TEST(StatusMapTest, TheStatusInTheDetailsIsTheOneOfTheCall) {
  const auto status = ToStatus(Refuse(Reason::kNotFound), LeaseSubject(kLeaseName));
  google::rpc::Status details;
  ASSERT_TRUE(details.ParseFromString(status.error_details()));
  EXPECT_EQ(details.code(), static_cast<int>(status.error_code()));
  EXPECT_EQ(details.message(), status.error_message());
}

TEST(StatusMapTest, SomethingMissingIsNamed) {
  auto info = DetailOf<google::rpc::ResourceInfo>(
      ToStatus(Refuse(Reason::kNotFound), LeaseSubject(kLeaseName)));
  ASSERT_TRUE(info);
  EXPECT_EQ(info->resource_type(), "leaseplane.v1.Lease");
  EXPECT_EQ(info->resource_name(), kLeaseName);

  info = DetailOf<google::rpc::ResourceInfo>(
      ToStatus(Refuse(Reason::kNotFound, "no such pool", "pool"), LeaseSubject(kLeaseName)));
  ASSERT_TRUE(info);
  EXPECT_EQ(info->resource_type(), "leaseplane.v1.Pool");
  EXPECT_EQ(info->resource_name(), "pools/gpu");
}

TEST(StatusMapTest, WhatMayBeTriedAgainSaysWhen) {
  auto refusal = Refuse(Reason::kQueueFull);
  refusal.retry_after_ns = 1'500 * engine::kMillisecond;
  auto retry = DetailOf<google::rpc::RetryInfo>(ToStatus(refusal, PoolSubject("gpu")));
  ASSERT_TRUE(retry);
  EXPECT_EQ(retry->retry_delay().seconds(), 1);
  EXPECT_EQ(retry->retry_delay().nanos(), 500'000'000);
  for (const Reason reason :
       {Reason::kNoFreeSlot, Reason::kWaitTimeout, Reason::kDraining, Reason::kRecovering}) {
    retry = DetailOf<google::rpc::RetryInfo>(ToStatus(Refuse(reason), PoolSubject("gpu")));
    ASSERT_TRUE(retry);
    EXPECT_GT(retry->retry_delay().seconds(), 0) << "no figure: a default";
  }
}

TEST(StatusMapTest, AnExpiredLeaseSaysWhenItExpired) {
  auto refusal = Refuse(Reason::kLeaseExpired);
  refusal.expired_unix_ns = 1'700'000'000 * engine::kSecond;
  const auto status = ToStatus(refusal, LeaseSubject(kLeaseName));
  EXPECT_EQ(DetailOf<google::rpc::ErrorInfo>(status)->metadata().at("expire_time"),
            "2023-11-14T22:13:20Z");
  const auto failure = DetailOf<google::rpc::PreconditionFailure>(status);
  ASSERT_TRUE(failure);
  EXPECT_EQ(failure->violations(0).subject(), kLeaseName);
  EXPECT_EQ(failure->violations(0).type(), "LEASE_EXPIRED");
}

TEST(StatusMapTest, AQuotaNamesWhomItBinds) {
  const auto status =
      ToStatus(Refuse(Reason::kClientQuota), PoolSubject("gpu", "anonymous/worker"));
  EXPECT_EQ(DetailOf<google::rpc::QuotaFailure>(status)->violations(0).subject(),
            "client:anonymous/worker");
}

TEST(StatusMapTest, LongTextsAreCutBetweenCharacters) {
  std::string text;
  while (text.size() < 100'000) text += "\xe2\x82\xac";
  const auto status = ToStatus(Refuse(Reason::kInternal, text), Subject{});
  EXPECT_LE(status.error_message().size(), 1024u);
  EXPECT_TRUE(IsUtf8(status.error_message()));
  const std::vector<FieldViolation> many(100, {"field", text});
  EXPECT_LE(BadFieldsOf(InvalidArgument(many)).size(), 16u);
}

TEST(StatusMapTest, CodesHaveTheirPublicNames) {
  EXPECT_EQ(CodeName(StatusCode::OK), "OK");
  EXPECT_EQ(CodeName(StatusCode::RESOURCE_EXHAUSTED), "RESOURCE_EXHAUSTED");
  EXPECT_EQ(CodeName(StatusCode::UNAUTHENTICATED), "UNAUTHENTICATED");
  EXPECT_EQ(CodeName(StatusCode::DO_NOT_USE), "UNKNOWN");
}

}  // namespace
}  // namespace leaseplane::rpc
