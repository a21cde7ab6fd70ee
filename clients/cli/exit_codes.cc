// SPDX-License-Identifier: Apache-2.0
#include "clients/cli/exit_codes.h"

#include <errno.h>
#include <sys/wait.h>

#include <string_view>

#include "absl/strings/str_cat.h"
#include "clients/cli/output.h"
#include "leaseplane/status.h"

namespace leaseplane::cli {
namespace {

bool IsNoSlot(Reason reason) {
  return reason == Reason::kNoFreeSlot || reason == Reason::kWaitTimeout ||
         reason == Reason::kQueueFull || reason == Reason::kClientQuota;
}

}  // namespace

int ExitCodeOf(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return kExitOk;
    case absl::StatusCode::kInvalidArgument:
      return kExitUsage;
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kAlreadyExists:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kAborted:
    case absl::StatusCode::kOutOfRange:
      return kExitRefused;
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kUnimplemented:
      return kExitUnavailable;
    case absl::StatusCode::kResourceExhausted:
      // Without a reason it is gRPC that refuses, a message too large for example.
      return IsNoSlot(ReasonOf(status)) ? kExitNoSlot : kExitInternal;
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kUnauthenticated:
      return kExitDenied;
    case absl::StatusCode::kCancelled:
    case absl::StatusCode::kUnknown:
    case absl::StatusCode::kInternal:
    case absl::StatusCode::kDataLoss:
    default:
      return kExitInternal;
  }
}

int RunExitCodeOf(const absl::Status& status, int conflict) {
  return ExitCodeOf(status) == kExitNoSlot ? conflict : kExitRunFailed;
}

int ExecExitCodeOf(int error_number) {
  return error_number == ENOENT || error_number == ENOTDIR ? kExitNoCommand : kExitNotExecutable;
}

int WaitExitCodeOf(int wait_status) {
  if (WIFSIGNALED(wait_status)) return kExitSignalBase + WTERMSIG(wait_status);
  return WEXITSTATUS(wait_status);
}

std::string Describe(const absl::Status& status) {
  const Reason reason = ReasonOf(status);
  const std::string_view name = reason == Reason::kNone ? std::string_view() : ReasonName(reason);
  const std::string message(status.message());
  if (name.empty()) {
    return Printable(absl::StrCat(absl::StatusCodeToString(status.code()), ": ", message));
  }
  return Printable(absl::StrCat(std::string(name), ": ", message));
}

}  // namespace leaseplane::cli
