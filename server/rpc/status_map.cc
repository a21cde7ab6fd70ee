// SPDX-License-Identifier: Apache-2.0
#include "server/rpc/status_map.h"

#include <google/protobuf/util/time_util.h>

#include "google/rpc/code.pb.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "server/rpc/resource_name.h"

namespace leaseplane::rpc {
namespace {

using engine::Reason;
using google::protobuf::util::TimeUtil;
using grpc::StatusCode;

// Details travel in a trailer, which proxies and gRPC itself bound to a few KiB.
constexpr size_t kTextBytesMax = 1024;
constexpr size_t kViolationsMax = 16;
constexpr int64_t kRetryAfterDefault = engine::kSecond;

// Cuts at a character's begin, so that UTF-8 stays UTF-8.
std::string Clip(std::string_view text) {
  if (text.size() <= kTextBytesMax) return std::string(text);
  size_t size = kTextBytesMax;
  while (size > 0 && (static_cast<unsigned char>(text[size]) & 0xc0) == 0x80) --size;
  return std::string(text.substr(0, size));
}

class Details {
 public:
  Details(ReasonStatus status, std::string_view text) {
    status_.set_code(status.code);
    status_.set_message(Clip(text));
    info_.set_reason(v1::ErrorReason_Name(status.reason));
    info_.set_domain(std::string(kErrorDomain));
  }

  void AddMetadata(const std::string& key, std::string value) {
    (*info_.mutable_metadata())[key] = std::move(value);
  }
  void Add(const google::protobuf::Message& detail) { others_.add_details()->PackFrom(detail); }

  grpc::Status Build() {
    status_.add_details()->PackFrom(info_);
    status_.mutable_details()->MergeFrom(others_.details());
    return {static_cast<StatusCode>(status_.code()), status_.message(),
            status_.SerializeAsString()};
  }

 private:
  google::rpc::Status status_;
  google::rpc::Status others_;
  google::rpc::ErrorInfo info_;
};

void AddRetryInfo(int64_t retry_after_ns, Details* details) {
  google::rpc::RetryInfo retry;
  *retry.mutable_retry_delay() =
      TimeUtil::NanosecondsToDuration(retry_after_ns > 0 ? retry_after_ns : kRetryAfterDefault);
  details->Add(retry);
}

void AddViolations(const std::vector<FieldViolation>& violations, Details* details) {
  google::rpc::BadRequest bad;
  for (const FieldViolation& violation : violations) {
    if (bad.field_violations_size() == static_cast<int>(kViolationsMax)) break;
    auto* out = bad.add_field_violations();
    out->set_field(Clip(violation.field));
    out->set_description(Clip(violation.description));
  }
  details->Add(bad);
}

// pools/P of any name below it.
std::string PoolPart(const std::string& name) { return name.substr(0, name.find('/', 6)); }

void AddResourceInfo(const engine::Refusal& refusal, const Subject& subject, Details* details) {
  google::rpc::ResourceInfo resource;
  const bool is_about_pool = refusal.field == "pool" || refusal.field == "parent";
  resource.set_resource_type(is_about_pool ? "leaseplane.v1.Pool" : subject.type);
  resource.set_resource_name(is_about_pool ? PoolPart(subject.name) : subject.name);
  resource.set_description(Clip(refusal.text));
  details->Add(resource);
}

void AddQuotaFailure(const engine::Refusal& refusal, const Subject& subject, Details* details) {
  google::rpc::QuotaFailure quota;
  auto* violation = quota.add_violations();
  violation->set_subject("client:" + subject.holder);
  violation->set_description(Clip(refusal.text));
  details->Add(quota);
}

void AddPrecondition(const engine::Refusal& refusal, const Subject& subject, Details* details) {
  google::rpc::PreconditionFailure failure;
  auto* violation = failure.add_violations();
  violation->set_type(v1::ErrorReason_Name(StatusOf(refusal.reason).reason));
  violation->set_subject(subject.name);
  violation->set_description(Clip(refusal.text));
  details->Add(failure);
}

void AddReasonDetails(const engine::Refusal& refusal, const Subject& subject, Details* details) {
  switch (refusal.reason) {
    case Reason::kInvalidArgument:
      return AddViolations({{refusal.field, refusal.text}}, details);
    case Reason::kRequestIdConflict:
      return AddViolations({{"request_id", refusal.text}}, details);
    case Reason::kNotFound:
    case Reason::kAlreadyExists:
      return AddResourceInfo(refusal, subject, details);
    case Reason::kNoFreeSlot:
    case Reason::kWaitTimeout:
    case Reason::kQueueFull:
    case Reason::kDraining:
    case Reason::kRecovering:
      return AddRetryInfo(refusal.retry_after_ns, details);
    case Reason::kClientQuota:
      return AddQuotaFailure(refusal, subject, details);
    case Reason::kPoolDraining:
    case Reason::kSlotLocked:
    case Reason::kLeaseExpired:
    case Reason::kLeaseRevoked:
    case Reason::kLeaseReleased:
    case Reason::kFailedPrecondition:
      return AddPrecondition(refusal, subject, details);
    case Reason::kNone:
    case Reason::kStaleToken:
    case Reason::kNotHolder:
    case Reason::kPermissionDenied:
    case Reason::kUnauthenticated:
    case Reason::kStoreFailed:
    case Reason::kDataLoss:
    case Reason::kCancelled:
    case Reason::kUnimplemented:
    case Reason::kInternal:
      return;
  }
}

// Said when the refusal brings no words of its own.
std::string_view DefaultText(Reason reason) {
  switch (reason) {
    case Reason::kInvalidArgument:
      return "a field is not valid";
    case Reason::kRequestIdConflict:
      return "request_id was used before with another request";
    case Reason::kNotFound:
      return "no such resource";
    case Reason::kAlreadyExists:
      return "the resource exists already";
    case Reason::kNoFreeSlot:
      return "no slot is free";
    case Reason::kWaitTimeout:
      return "no slot became free in time; nothing was granted";
    case Reason::kQueueFull:
      return "the queue is full";
    case Reason::kClientQuota:
      return "the client has reached a bound of the pool";
    case Reason::kPoolDraining:
      return "the pool gives no new lease";
    case Reason::kSlotLocked:
      return "the slot is locked by an operator";
    case Reason::kLeaseExpired:
      return "the lease expired";
    case Reason::kLeaseRevoked:
      return "the lease was revoked";
    case Reason::kLeaseReleased:
      return "the lease was released";
    case Reason::kStaleToken:
      return "fencing_token is not the lease's";
    case Reason::kNotHolder:
      return "the lease is held by somebody else";
    case Reason::kPermissionDenied:
      return "not allowed";
    case Reason::kUnauthenticated:
      return "a client certificate or a token is needed";
    case Reason::kFailedPrecondition:
      return "the resource is in no state for this";
    case Reason::kDraining:
      return "the daemon is stopping";
    case Reason::kRecovering:
      return "the daemon is recovering";
    case Reason::kStoreFailed:
      return "the store cannot be written";
    case Reason::kDataLoss:
      return "shared memory of the pool was lost";
    case Reason::kCancelled:
      return "the wait was cancelled";
    case Reason::kUnimplemented:
      return "not offered";
    case Reason::kNone:
    case Reason::kInternal:
      break;
  }
  return "internal error";
}

// A bad field is named in the message too: not every caller looks at details.
std::string WithField(const engine::Refusal& refusal) {
  if (refusal.reason != Reason::kInvalidArgument || refusal.field.empty()) return refusal.text;
  return refusal.field + ": " + refusal.text;
}

}  // namespace

Subject PoolSubject(std::string_view pool, std::string holder) {
  return {"leaseplane.v1.Pool", PoolName(pool), std::move(holder)};
}
Subject SlotSubject(std::string_view name) { return {"leaseplane.v1.Slot", std::string(name), {}}; }
Subject LeaseSubject(std::string_view name) {
  return {"leaseplane.v1.Lease", std::string(name), {}};
}
Subject WaiterSubject(std::string_view name) {
  return {"leaseplane.v1.Waiter", std::string(name), {}};
}

ReasonStatus StatusOf(Reason reason) {
  switch (reason) {
    case Reason::kInvalidArgument:
      return {StatusCode::INVALID_ARGUMENT, v1::INVALID_ARGUMENT};
    case Reason::kRequestIdConflict:
      return {StatusCode::INVALID_ARGUMENT, v1::REQUEST_ID_CONFLICT};
    case Reason::kNotFound:
      return {StatusCode::NOT_FOUND, v1::NOT_FOUND};
    case Reason::kAlreadyExists:
      return {StatusCode::ALREADY_EXISTS, v1::ALREADY_EXISTS};
    case Reason::kNoFreeSlot:
      return {StatusCode::RESOURCE_EXHAUSTED, v1::NO_FREE_SLOT};
    case Reason::kWaitTimeout:
      return {StatusCode::RESOURCE_EXHAUSTED, v1::WAIT_TIMEOUT};
    case Reason::kQueueFull:
      return {StatusCode::RESOURCE_EXHAUSTED, v1::QUEUE_FULL};
    case Reason::kClientQuota:
      return {StatusCode::RESOURCE_EXHAUSTED, v1::CLIENT_QUOTA};
    case Reason::kPoolDraining:
      return {StatusCode::FAILED_PRECONDITION, v1::POOL_DRAINING};
    case Reason::kSlotLocked:
      return {StatusCode::FAILED_PRECONDITION, v1::SLOT_LOCKED};
    case Reason::kLeaseExpired:
      return {StatusCode::FAILED_PRECONDITION, v1::LEASE_EXPIRED};
    case Reason::kLeaseRevoked:
      return {StatusCode::FAILED_PRECONDITION, v1::LEASE_REVOKED};
    case Reason::kLeaseReleased:
      return {StatusCode::FAILED_PRECONDITION, v1::LEASE_RELEASED};
    case Reason::kFailedPrecondition:
      return {StatusCode::FAILED_PRECONDITION, v1::FAILED_PRECONDITION};
    case Reason::kStaleToken:
      return {StatusCode::ABORTED, v1::STALE_TOKEN};
    case Reason::kCancelled:
      return {StatusCode::ABORTED, v1::WAIT_CANCELLED};
    case Reason::kNotHolder:
      return {StatusCode::PERMISSION_DENIED, v1::NOT_HOLDER};
    case Reason::kPermissionDenied:
      return {StatusCode::PERMISSION_DENIED, v1::PERMISSION_DENIED};
    case Reason::kUnauthenticated:
      return {StatusCode::UNAUTHENTICATED, v1::UNAUTHENTICATED};
    case Reason::kDraining:
      return {StatusCode::UNAVAILABLE, v1::DRAINING};
    case Reason::kRecovering:
      return {StatusCode::UNAVAILABLE, v1::RECOVERING};
    case Reason::kStoreFailed:
      return {StatusCode::INTERNAL, v1::STORE_FAILED};
    case Reason::kDataLoss:
      return {StatusCode::INTERNAL, v1::DATA_LOSS};
    case Reason::kUnimplemented:
      return {StatusCode::UNIMPLEMENTED, v1::UNIMPLEMENTED};
    case Reason::kNone:
    case Reason::kInternal:
      break;
  }
  return {StatusCode::INTERNAL, v1::INTERNAL};
}

grpc::Status ToStatus(const engine::Refusal& refusal, const Subject& subject) {
  if (refusal.text.empty()) {
    engine::Refusal worded = refusal;
    worded.text = DefaultText(refusal.reason);
    return ToStatus(worded, subject);
  }
  Details details(StatusOf(refusal.reason), WithField(refusal));
  if (refusal.reason == Reason::kLeaseExpired && refusal.expired_unix_ns != 0) {
    details.AddMetadata(
        "expire_time",
        TimeUtil::ToString(TimeUtil::NanosecondsToTimestamp(refusal.expired_unix_ns)));
  }
  AddReasonDetails(refusal, subject, &details);
  return details.Build();
}

grpc::Status HeldLocally(std::string_view lease_name) {
  engine::Refusal refusal;
  refusal.reason = Reason::kNotHolder;
  refusal.text = "the lease is held by a local process";
  return ToStatus(refusal, LeaseSubject(lease_name));
}

grpc::Status ToStatus(Reason reason, std::string_view text) {
  engine::Refusal refusal;
  refusal.reason = reason;
  refusal.text = std::string(text);
  return ToStatus(refusal, Subject{});
}

grpc::Status InvalidArgument(const std::vector<FieldViolation>& violations) {
  const FieldViolation& first = violations.front();
  Details details(StatusOf(Reason::kInvalidArgument),
                  first.field.empty() ? first.description : first.field + ": " + first.description);
  AddViolations(violations, &details);
  return details.Build();
}

std::string_view CodeName(StatusCode code) {
  if (!google::rpc::Code_IsValid(code)) return "UNKNOWN";
  return google::rpc::Code_Name(static_cast<google::rpc::Code>(code));
}

}  // namespace leaseplane::rpc
