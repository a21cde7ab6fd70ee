// SPDX-License-Identifier: Apache-2.0
//
// The vocabulary of the lease engine: pool options, requests, results and the reasons a request
// can be refused for. Plain values without behaviour; no protobuf, no clock, no I/O.
//
// Durations and instants are int64 nanoseconds. `*_at_ns` is an instant of CLOCK_BOOTTIME of this
// host; `*_unix_ns` is wall time, for people only and never compared.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/base/ids.h"

namespace leaseplane::engine {

inline constexpr int64_t kMillisecond = 1'000'000;
inline constexpr int64_t kSecond = 1'000 * kMillisecond;
inline constexpr int64_t kMinute = 60 * kSecond;
inline constexpr int64_t kHour = 60 * kMinute;
inline constexpr int64_t kNever = std::numeric_limits<int64_t>::max();

struct Instant {
  int64_t boot_ns = 0;  // CLOCK_BOOTTIME
  int64_t unix_ns = 0;  // CLOCK_REALTIME
};

// Limits, written once. The API documents the same numbers.
inline constexpr size_t kPoolIdBytesMax = 63;
inline constexpr size_t kClientIdBytesMax = 63;
inline constexpr size_t kPrincipalBytesMax = 63;
inline constexpr size_t kMetadataBytesMax = 512;  // sum over entries of key + value + 2
inline constexpr size_t kMetadataEntriesMax = 16;
inline constexpr size_t kResourceBytesMax = 255;
inline constexpr size_t kReasonTextBytesMax = 255;
inline constexpr int64_t kTtlMin = 1 * kSecond;
inline constexpr int64_t kTtlMax = 24 * kHour;
inline constexpr int64_t kUnaryWaitMax = 50 * kSecond;
inline constexpr int64_t kStreamWaitMax = 24 * kHour;
inline constexpr int64_t kTicketGrace = 5 * kSecond;
inline constexpr int64_t kTombstoneKeep = 10 * kMinute;
// Expiry is acted on at deadline + kAgeOutGuard + ttl/1000, never earlier.
inline constexpr int64_t kAgeOutGuard = 250 * kMillisecond;

enum class Fairness { kBounded, kFifo };
enum class Durability { kNone, kAsync, kSync };
enum class PoolState { kActive, kDraining, kRecovering, kDamaged };
enum class LeasePath { kLocal, kRemote };
enum class LeaseState { kActive, kReleased, kExpired, kRevoked };
enum class SlotView { kFree, kBusy, kLocked, kCooling, kQuarantined };

// Why something did not happen. One value, one gRPC status and ErrorInfo reason (server/rpc).
enum class Reason {
  kNone = 0,
  kInvalidArgument,    // `field` names it, `text` says what is valid
  kRequestIdConflict,  // same request id, other body
  kNotFound,
  kAlreadyExists,
  kNoFreeSlot,
  kWaitTimeout,
  kQueueFull,
  kClientQuota,
  kPoolDraining,  // an operator drains the pool
  kSlotLocked,
  kLeaseExpired,
  kLeaseRevoked,
  kLeaseReleased,
  kStaleToken,
  kNotHolder,
  kPermissionDenied,
  kUnauthenticated,  // nobody, where somebody is asked for
  kFailedPrecondition,
  kDraining,     // the daemon is shutting down
  kRecovering,   // the daemon does not know yet who holds what
  kStoreFailed,  // the disk refuses; no new grants
  kDataLoss,     // shared memory of the pool was lost; no new grants
  kCancelled,    // the waiter left or an operator removed it
  kUnimplemented,
  kInternal,
};

struct Refusal {
  Reason reason = Reason::kNone;
  std::string field;            // request field, snake_case path; empty if none
  std::string text;             // for people; says what would be valid
  int64_t retry_after_ns = 0;   // 0: no hint
  int64_t expired_unix_ns = 0;  // kLeaseExpired only
};

struct PoolOptions {
  std::string id;
  uint32_t capacity = 0;      // 1 .. max_capacity
  uint32_t max_capacity = 0;  // fixed for the pool's life; 0 = capacity; <= kCapacityMax
  Fairness fairness = Fairness::kBounded;
  Durability durability = Durability::kAsync;
  int64_t default_ttl_ns = 15 * kSecond;
  int64_t min_ttl_ns = kTtlMin;
  int64_t max_ttl_ns = kTtlMax;
  int64_t max_duration_ns = 0;  // cap of a lease's whole life with renewals; 0 = none
  int64_t max_overtake_ns = 100 * kMillisecond;
  uint32_t max_waiters = 10'000;
  uint32_t max_waiters_per_client = 0;  // 0 = no limit
  uint32_t max_leases_per_client = 0;   // 0 = no limit; remote leases of one principal + client_id
  int64_t reuse_delay_ns = 0;           // COOLING after every end of a lease
  int64_t lock_delay_ns = 0;            // COOLING after expiry, revocation and holder death
  // Local leases. max_hold: one is taken back after this long, counted from when the daemon first
  // saw it; 0 = never. stall_timeout: if somebody wants slots, those of a process whose library has
  // not answered for this long are taken back; 0 = never.
  int64_t max_hold_ns = 0;
  int64_t stall_timeout_ns = 30 * kSecond;
  // Where the memory of the slots lies, as far as the machine lets one choose; empty: anywhere.
  std::optional<uint32_t> numa_node;
  bool local_enabled = true;
  std::vector<uint32_t> local_uids;  // empty = whoever may open the socket
  std::vector<uint32_t> local_gids;
  std::vector<std::string> resources;  // empty, or one per slot up to capacity
  std::map<std::string, std::string> labels;
  bool from_api = false;  // created by AdminService, kept in the store

  bool operator==(const PoolOptions&) const = default;
};

struct RequestId {
  uint64_t hi = 0, lo = 0;  // a UUID; all zero = none
  bool operator==(const RequestId&) const = default;
  bool empty() const { return hi == 0 && lo == 0; }
};

struct LeaseId {
  uint64_t hi = 0, lo = 0;  // random, 32 hex digits in a name; all zero = a fast-path lease
  bool operator==(const LeaseId&) const = default;
  bool empty() const { return hi == 0 && lo == 0; }
};

using Metadata = std::map<std::string, std::string>;

struct LeaseInfo {
  LeaseId id;  // empty for path == kLocal, whose name is local-SLOT-TOKEN
  LeasePath path = LeasePath::kRemote;
  LeaseState state = LeaseState::kActive;
  SlotIndex slot = 0;
  FencingToken token = 0;
  std::string resource;
  std::string principal;  // "anonymous" for remote callers, "uid:N" for local sessions
  std::string client_id;
  Metadata metadata;
  int64_t ttl_ns = 0;        // 0 for kLocal
  int64_t remaining_ns = 0;  // at the instant of the answer; 0 for kLocal
  int64_t acquired_unix_ns = 0;
  int64_t expires_unix_ns = 0;
  int64_t ended_unix_ns = 0;  // tombstones
  int64_t revoke_in_ns = 0;   // a revocation with grace is under way, and is due then; 0: none
};

struct SlotInfo {
  SlotIndex slot = 0;
  SlotView view = SlotView::kFree;
  bool admin_locked = false;  // locked now, or draining towards it
  std::string lock_reason;
  std::string resource;
  FencingToken last_token = 0;  // 0 if never granted in this numbering
  std::optional<LeaseInfo> lease;
};

struct WaiterInfo {
  uint64_t ticket = 0;
  LeasePath path = LeasePath::kRemote;
  std::string principal, client_id;
  uint32_t position = 0;  // 1 = next
  int64_t waited_ns = 0;
};

struct PoolCounts {
  uint32_t capacity = 0, free = 0, busy_local = 0, busy_remote = 0, locked = 0, cooling = 0,
           quarantined = 0, waiters = 0, local_waiters_enlisted = 0;
  uint32_t local_waiters_queued = 0;      // of `waiters`
  int64_t first_waits_since_ns = kNever;  // CLOCK_BOOTTIME; kNever: nobody is in the queue
};

struct PoolStats {  // monotonic since the daemon's start
  uint64_t acquired_local = 0, acquired_remote = 0;
  uint64_t refused_no_slot = 0, refused_timeout = 0, refused_queue_full = 0, refused_quota = 0;
  uint64_t refused_draining = 0;  // requests and waiters, local and remote
  uint64_t released_remote = 0, renewed = 0, expired = 0, revoked = 0, stale_releases = 0;
  uint64_t recovered_local = 0;  // slots taken back from dead sessions
  uint64_t held_too_long = 0;    // local leases ended by max_hold
  uint64_t stalled = 0;          // local leases ended by stall_timeout
  uint64_t integrity_violations = 0;
  uint64_t gate_closings = 0;
  uint64_t rotations = 0;     // to new shared memory, because the old one was written to
  uint64_t renumberings = 0;  // slots whose generations began again
};

struct AcquireRequest {
  std::string principal, client_id;
  RequestId request_id;
  uint64_t body_hash = 0;   // of every field that must agree when request_id is reused
  int64_t ttl_ns = 0;       // 0 = the pool's default
  int64_t max_wait_ns = 0;  // 0 = do not wait
  Metadata metadata;
};

// `t_received_ns` of the call decides queued_ns: time the server held this call.
struct Grant {
  LeaseInfo lease;
  int64_t queued_ns = 0;
  int64_t renew_interval_ns = 0;  // ttl / 3
};

struct QueueState {
  uint32_t position = 0;          // 1 = next
  int64_t estimated_wait_ns = 0;  // 0 = unknown
  int64_t waited_ns = 0;          // a place taken up again included
};

struct HolderRef {                   // who asks, and for which lease
  std::string principal, client_id;  // client_id empty = not checked
  LeaseId id;
  FencingToken token = 0;
};

struct RenewResult {
  LeaseInfo lease;
  int64_t queued_ns = 0;
  int64_t renew_interval_ns = 0;
};

struct TokenCheck {
  bool valid = false;
  FencingToken current_token = 0;  // of the present or last grant; 0 if never granted
  SlotView state = SlotView::kFree;
};

}  // namespace leaseplane::engine
