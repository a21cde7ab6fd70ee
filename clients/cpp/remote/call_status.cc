// SPDX-License-Identifier: Apache-2.0
#include "clients/cpp/remote/call_status.h"

#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace leaseplane::internal {
namespace {

constexpr char kDomain[] = "leaseplane";
constexpr int64_t kNsPerSecond = 1'000'000'000;

struct Details {
  Reason reason = Reason::kNone;
  std::optional<absl::Duration> retry_after;
  std::string fields;  // of BadRequest
};

Details ParseDetails(const std::string& bytes) {
  Details details;
  google::rpc::Status status;
  if (bytes.empty() || !status.ParseFromString(bytes)) return details;
  google::rpc::ErrorInfo info;
  google::rpc::RetryInfo retry;
  google::rpc::BadRequest bad;
  for (const google::protobuf::Any& any : status.details()) {
    if (any.Is<google::rpc::ErrorInfo>() && any.UnpackTo(&info) && info.domain() == kDomain) {
      details.reason = ReasonFromName(info.reason());
    } else if (any.Is<google::rpc::RetryInfo>() && any.UnpackTo(&retry)) {
      details.retry_after = absl::Nanoseconds(ToNs(retry.retry_delay()));
    } else if (any.Is<google::rpc::BadRequest>() && any.UnpackTo(&bad)) {
      for (const auto& violation : bad.field_violations()) {
        absl::StrAppend(&details.fields, details.fields.empty() ? "" : "; ", violation.field(),
                        ": ", violation.description());
      }
    }
  }
  return details;
}

// For answers that gRPC gives by itself.
Reason ReasonWithoutDetails(grpc::StatusCode code) {
  switch (code) {
    case grpc::StatusCode::UNAVAILABLE:
      return Reason::kUnreachable;
    case grpc::StatusCode::DEADLINE_EXCEEDED:
    case grpc::StatusCode::CANCELLED:
      return Reason::kOutcomeUnknown;
    case grpc::StatusCode::UNIMPLEMENTED:
      return Reason::kUnimplemented;
    case grpc::StatusCode::PERMISSION_DENIED:
    case grpc::StatusCode::UNAUTHENTICATED:
      return Reason::kPermissionDenied;
    case grpc::StatusCode::INVALID_ARGUMENT:
      return Reason::kInvalidArgument;
    default:
      return Reason::kInternal;
  }
}

}  // namespace

absl::Status ToStatus(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  const Details details = ParseDetails(status.error_details());
  const Reason reason =
      details.reason != Reason::kNone ? details.reason : ReasonWithoutDetails(status.error_code());
  std::string text = status.error_message();
  // The daemon's text usually names the fields already.
  if (!details.fields.empty() && text.find(details.fields) == std::string::npos) {
    absl::StrAppend(&text, " (", details.fields, ")");
  }
  return details.retry_after.has_value() ? MakeStatus(reason, text, *details.retry_after)
                                         : MakeStatus(reason, text);
}

bool IsTransient(const absl::Status& status) {
  switch (ReasonOf(status)) {
    case Reason::kUnreachable:
    case Reason::kOutcomeUnknown:
    case Reason::kDraining:
    case Reason::kRecovering:
      return true;
    default:
      return false;
  }
}

bool IsOutcomeUnknown(const absl::Status& status) {
  const Reason reason = ReasonOf(status);
  return reason == Reason::kUnreachable || reason == Reason::kOutcomeUnknown;
}

std::string PoolIdOf(const std::string& pool_name) {
  return pool_name.substr(pool_name.rfind('/') + 1);
}

int64_t ToNs(const google::protobuf::Duration& duration) {
  return duration.seconds() * kNsPerSecond + duration.nanos();
}

void SetNs(int64_t ns, google::protobuf::Duration* duration) {
  duration->set_seconds(ns / kNsPerSecond);
  duration->set_nanos(static_cast<int32_t>(ns % kNsPerSecond));
}

}  // namespace leaseplane::internal
