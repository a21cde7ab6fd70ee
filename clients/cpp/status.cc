// SPDX-License-Identifier: Apache-2.0
#include "leaseplane/status.h"

#include <array>
#include <string>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace leaseplane {
namespace {

constexpr char kReasonUrl[] = "type.leaseplane/reason";
constexpr char kRetryAfterUrl[] = "type.leaseplane/retry_after_ns";

using Code = absl::StatusCode;

struct ReasonEntry {
  Reason reason;
  const char* name;
  Code code;
};

constexpr std::array kReasons = {
    ReasonEntry{Reason::kNone, "NONE", Code::kOk},
    ReasonEntry{Reason::kUnknown, "UNKNOWN", Code::kUnknown},
    ReasonEntry{Reason::kInvalidArgument, "INVALID_ARGUMENT", Code::kInvalidArgument},
    ReasonEntry{Reason::kRequestIdConflict, "REQUEST_ID_CONFLICT", Code::kInvalidArgument},
    ReasonEntry{Reason::kNotFound, "NOT_FOUND", Code::kNotFound},
    ReasonEntry{Reason::kAlreadyExists, "ALREADY_EXISTS", Code::kAlreadyExists},
    ReasonEntry{Reason::kNoFreeSlot, "NO_FREE_SLOT", Code::kResourceExhausted},
    ReasonEntry{Reason::kWaitTimeout, "WAIT_TIMEOUT", Code::kResourceExhausted},
    ReasonEntry{Reason::kQueueFull, "QUEUE_FULL", Code::kResourceExhausted},
    ReasonEntry{Reason::kClientQuota, "CLIENT_QUOTA", Code::kResourceExhausted},
    ReasonEntry{Reason::kPoolDraining, "POOL_DRAINING", Code::kFailedPrecondition},
    ReasonEntry{Reason::kSlotLocked, "SLOT_LOCKED", Code::kFailedPrecondition},
    ReasonEntry{Reason::kLeaseExpired, "LEASE_EXPIRED", Code::kFailedPrecondition},
    ReasonEntry{Reason::kLeaseRevoked, "LEASE_REVOKED", Code::kFailedPrecondition},
    ReasonEntry{Reason::kLeaseReleased, "LEASE_RELEASED", Code::kFailedPrecondition},
    ReasonEntry{Reason::kFailedPrecondition, "FAILED_PRECONDITION", Code::kFailedPrecondition},
    ReasonEntry{Reason::kStaleToken, "STALE_TOKEN", Code::kAborted},
    ReasonEntry{Reason::kWaitCancelled, "WAIT_CANCELLED", Code::kAborted},
    ReasonEntry{Reason::kNotHolder, "NOT_HOLDER", Code::kPermissionDenied},
    ReasonEntry{Reason::kPermissionDenied, "PERMISSION_DENIED", Code::kPermissionDenied},
    ReasonEntry{Reason::kUnauthenticated, "UNAUTHENTICATED", Code::kUnauthenticated},
    ReasonEntry{Reason::kDraining, "DRAINING", Code::kUnavailable},
    ReasonEntry{Reason::kRecovering, "RECOVERING", Code::kUnavailable},
    ReasonEntry{Reason::kStoreFailed, "STORE_FAILED", Code::kInternal},
    ReasonEntry{Reason::kDataLoss, "DATA_LOSS", Code::kInternal},
    ReasonEntry{Reason::kInternal, "INTERNAL", Code::kInternal},
    ReasonEntry{Reason::kUnimplemented, "UNIMPLEMENTED", Code::kUnimplemented},
    ReasonEntry{Reason::kUnreachable, "UNREACHABLE", Code::kUnavailable},
    ReasonEntry{Reason::kOutcomeUnknown, "OUTCOME_UNKNOWN", Code::kDeadlineExceeded},
    ReasonEntry{Reason::kNoLocalPath, "NO_LOCAL_PATH", Code::kFailedPrecondition},
    ReasonEntry{Reason::kNoRemotePath, "NO_REMOTE_PATH", Code::kFailedPrecondition},
    ReasonEntry{Reason::kUntrustedServer, "UNTRUSTED_SERVER", Code::kPermissionDenied},
    ReasonEntry{Reason::kAbiMismatch, "ABI_MISMATCH", Code::kFailedPrecondition},
    ReasonEntry{Reason::kOtherProcess, "OTHER_PROCESS", Code::kFailedPrecondition},
    ReasonEntry{Reason::kSessionEnded, "SESSION_ENDED", Code::kUnavailable},
};

constexpr bool IsIndexedByReason() {
  for (size_t i = 0; i < kReasons.size(); ++i) {
    if (static_cast<size_t>(kReasons[i].reason) != i) return false;
  }
  return kReasons.back().reason == Reason::kSessionEnded;
}
static_assert(IsIndexedByReason());

}  // namespace

std::string_view ReasonName(Reason reason) { return kReasons[static_cast<size_t>(reason)].name; }

absl::StatusCode CodeOf(Reason reason) { return kReasons[static_cast<size_t>(reason)].code; }

Reason ReasonFromName(std::string_view name) {
  for (const ReasonEntry& entry : kReasons) {
    if (entry.name == name && entry.reason != Reason::kNone) return entry.reason;
  }
  return Reason::kUnknown;
}

Reason ReasonOf(const absl::Status& status) {
  const auto payload = status.GetPayload(kReasonUrl);
  return payload.has_value() ? ReasonFromName(std::string(*payload)) : Reason::kNone;
}

std::optional<absl::Duration> RetryAfter(const absl::Status& status) {
  const auto payload = status.GetPayload(kRetryAfterUrl);
  int64_t ns = 0;
  if (!payload.has_value() || !absl::SimpleAtoi(std::string(*payload), &ns)) return std::nullopt;
  return absl::Nanoseconds(ns);
}

absl::Status MakeStatus(Reason reason, std::string_view message) {
  absl::Status status(CodeOf(reason), absl::string_view(message.data(), message.size()));
  status.SetPayload(kReasonUrl, absl::Cord(kReasons[static_cast<size_t>(reason)].name));
  return status;
}

absl::Status MakeStatus(Reason reason, std::string_view message, absl::Duration retry_after) {
  absl::Status status = MakeStatus(reason, message);
  status.SetPayload(kRetryAfterUrl,
                    absl::Cord(absl::StrCat(absl::ToInt64Nanoseconds(retry_after))));
  return status;
}

}  // namespace leaseplane
