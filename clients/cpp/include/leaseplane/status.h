// SPDX-License-Identifier: Apache-2.0
//
// Why a call of this library failed. Every absl::Status it returns that is not OK carries a Reason;
// the code says what kind of failure it is, the reason which one, the message is for people.
//
// Pure functions; any thread.
#pragma once

#include <optional>
#include <string_view>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace leaseplane {

enum class Reason {
  kNone = 0,  // the status is OK, or comes from elsewhere
  kUnknown,   // a daemon newer than this library gave a reason it does not know

  // -- said by the daemon; the names are those of leaseplane.v1.ErrorReason
  kInvalidArgument,    // INVALID_ARGUMENT     a field is missing or out of range; the text names it
  kRequestIdConflict,  // INVALID_ARGUMENT     the request id was used with another request
  kNotFound,           // NOT_FOUND            no such pool, slot, lease or waiter
  kAlreadyExists,      // ALREADY_EXISTS
  kNoFreeSlot,         // RESOURCE_EXHAUSTED   none free, and no wait asked for
  kWaitTimeout,        // RESOURCE_EXHAUSTED   none free in time; nothing was granted
  kQueueFull,          // RESOURCE_EXHAUSTED   too many are waiting
  kClientQuota,        // RESOURCE_EXHAUSTED   this holder has as much as it may
  kPoolDraining,       // FAILED_PRECONDITION  an operator drains the pool: no new leases
  kSlotLocked,         // FAILED_PRECONDITION
  kLeaseExpired,       // FAILED_PRECONDITION  the lease ended; its slot was not touched
  kLeaseRevoked,       // FAILED_PRECONDITION  as above, taken away by an operator
  kLeaseReleased,      // FAILED_PRECONDITION  as above, given back before
  kFailedPrecondition,  // FAILED_PRECONDITION
  kStaleToken,          // ABORTED             the fencing token is not the lease's
  kWaitCancelled,       // ABORTED             an operator ended the wait, or the pool was deleted
  kNotHolder,           // PERMISSION_DENIED   the lease is somebody else's
  kPermissionDenied,    // PERMISSION_DENIED   not allowed; says nothing about what exists
  kUnauthenticated,     // UNAUTHENTICATED     no certificate or token that the daemon knows
  kDraining,            // UNAVAILABLE         the daemon is stopping; nothing was done
  kRecovering,          // UNAVAILABLE         the daemon does not know yet who holds what
  kStoreFailed,         // INTERNAL            the daemon's disk refuses
  kDataLoss,            // INTERNAL            the pool is damaged: the daemon has to be restarted
  kInternal,            // INTERNAL
  kUnimplemented,       // UNIMPLEMENTED

  // -- said by this library
  kUnreachable,      // UNAVAILABLE          no daemon answers at the target
  kOutcomeUnknown,   // DEADLINE_EXCEEDED    the call ran out of time; it may have been carried out
  kNoLocalPath,      // FAILED_PRECONDITION  require_local was asked for and cannot be had
  kNoRemotePath,     // FAILED_PRECONDITION  only gRPC would do, and this program has it not linked
  kUntrustedServer,  // PERMISSION_DENIED    the daemon's uid is not an accepted one
  kAbiMismatch,      // FAILED_PRECONDITION  the daemon's shared memory has another version
  kOtherProcess,     // FAILED_PRECONDITION  made before fork(), used in the child
  kSessionEnded,     // UNAVAILABLE          the session with the daemon is over or being renewed
};

// The reason carried by `status`; kNone for OK and for statuses of other origin.
Reason ReasonOf(const absl::Status& status);

// The name as in leaseplane.v1.ErrorReason where there is one: "WAIT_TIMEOUT".
std::string_view ReasonName(Reason reason);

// kUnknown for a name that is none.
Reason ReasonFromName(std::string_view name);

// How long the daemon suggests to wait before the next try; nullopt if it said nothing.
std::optional<absl::Duration> RetryAfter(const absl::Status& status);

// The code that belongs to a reason (the table above).
absl::StatusCode CodeOf(Reason reason);

// A status with that reason. REQUIRES reason != kNone.
absl::Status MakeStatus(Reason reason, std::string_view message);
absl::Status MakeStatus(Reason reason, std::string_view message, absl::Duration retry_after);

}  // namespace leaseplane
