// SPDX-License-Identifier: Apache-2.0
//
// The attach protocol: what a co-located process and the daemon say to each other over the attach
// socket (AF_UNIX, SOCK_SEQPACKET). Every message is exactly kMessageBytes long; a message of
// another length, an unknown kind or a kind of the wrong direction closes the connection. File
// descriptors travel only from the daemon to the client; the daemon receives without a control
// buffer, so descriptors sent to it are dropped by the kernel.
//
// Conversation:
//   client: kHello{abi, liveness}      daemon: kWelcome{session...} + fds [SESS, lifeline]
//                                              or kRefused{reason}
//   client: kOpenPool{pool name, tag}  daemon: kPoolOpened{tag, geometry} + fds [DATA, CTL, META]
//                                              or kRefused{tag, reason}
//   then, in any order:
//   client: kEnqueue, kLeave, kAuditAnswer, kClaim, kClaimsDone
//   daemon: kGrant, kTicketRefused, kAudit, kRevokeRequested, kLeaseEnded, kClaimResult,
//           kWorkerRestarted, kDraining, kPoolMoved, kRefused
// An answer with descriptors counts against the daemon until the client has read it. A client that
// leaves kOpenedUnreadMax kPoolOpened unread is not listened to until it has read all that it was
// sent; then its messages are served in order. Connections that have not sent kHello yet: 256, and
// 64 of one user; beyond, the one of that user that was silent longest is refused.
// kPoolMoved: the pool has new segments. The old ones grant nothing any more; the client opens the
// pool again under the same handle and declares there what it holds (kClaim, kClaimsDone).
// A worker that was restarted inherits the connections and says kWorkerRestarted on each: the
// client sends every waiting ticket again, and looks at the words of what it holds, for the worker
// before may have taken leases back without a kLeaseEnded. A connection that hangs up ends the
// session.
//
// Native byte order and layout: both ends are on one host. Plain data, no behaviour.
#pragma once

#include <cstdint>

#include "core/base/ids.h"

namespace leaseplane::attach {

inline constexpr uint32_t kMessageBytes = 128;
inline constexpr uint32_t kProtocolMagic = 0x4c504131;  // "LPA1"
inline constexpr uint32_t kPoolNameBytes = 64;          // NUL-terminated, at most 63
inline constexpr uint32_t kOpenedUnreadMax = 4;

enum class Kind : uint32_t {
  kNone = 0,
  // client -> daemon
  kHello = 1,
  kOpenPool = 2,
  kEnqueue = 3,
  kLeave = 4,
  kAuditAnswer = 5,
  kClaim = 6,
  kClaimsDone = 7,
  kGrantAck = 8,
  // daemon -> client
  kWelcome = 64,
  kRefused = 65,
  kPoolOpened = 66,
  kGrant = 67,
  kTicketRefused = 68,
  kAudit = 69,
  kRevokeRequested = 70,
  kLeaseEnded = 71,
  kClaimResult = 72,
  kWorkerRestarted = 73,
  kDraining = 74,
  kPoolMoved = 75,
};

enum class Liveness : uint32_t {
  kProcess = 0,  // ends by hang-up or by the end of the process, whichever is first
  kTree = 1,     // ends by hang-up alone: whoever inherited the descriptor keeps the leases
};

enum class Refusal : uint32_t {
  kNone = 0,
  kAbiMismatch = 1,
  kNotAllowed = 2,  // local_access of the pool, or of the daemon
  kUnknownPool = 3,
  kTooManySessions = 4,  // no session index or descriptor left
  kRecovering = 5,
  kDraining = 6,
  kLocalDisabled = 7,
  kQueueFull = 8,
  kPoolDeleted = 9,
  kInternal = 10,
  kPoolDraining = 11,
};

struct Hello {
  uint32_t magic;
  uint16_t abi_major, abi_minor;
  uint32_t liveness;  // Liveness
  uint32_t reserved;
  char client_name[48];  // for people, NUL-terminated
};
struct Welcome {
  uint32_t session;  // SessionIndex
  uint16_t abi_major, abi_minor;
  uint64_t session_word;
  char instance_id[40];  // of the state directory
  uint64_t segment_uid;  // random per SESS segment: another value = the old one is dead
  int64_t heartbeat_period_ns;
};
struct Refused {
  uint32_t tag;     // of the request that is refused; 0 = hello
  uint32_t reason;  // Refusal
  char text[96];
};
struct OpenPool {
  uint32_t tag;
  uint32_t reserved;
  char pool[kPoolNameBytes];
};
struct PoolOpened {
  uint32_t tag;
  uint32_t pool;  // handle of this pool in all later messages
  uint64_t pool_uid;
  uint64_t data_bytes, ctl_bytes, meta_bytes;
  uint32_t capacity, max_capacity;
  uint32_t fairness;  // 0 BOUNDED, 1 FIFO
  uint32_t reserved;
  int64_t max_overtake_ns;
  uint32_t recovering;  // 1: claims are still being taken; nothing is granted yet
};
struct Enqueue {
  uint32_t pool;
  uint32_t priority;
  uint64_t ticket;  // unique in the session while it waits
  int64_t waited_ns;
  int64_t rest_ns;  // until the waiter's own deadline
};
struct Leave {
  uint32_t pool, reserved;
  uint64_t ticket;
};
struct GrantMsg {
  uint32_t pool;
  uint32_t slot;
  uint64_t ticket;
  int64_t token;
};
struct GrantAck {
  uint32_t pool, slot;
  uint64_t ticket;
};
struct TicketRefused {
  uint32_t pool;
  uint32_t reason;  // Refusal
  uint64_t ticket;
};
struct Audit {
  uint32_t pool, slot;
  uint64_t gen;  // 0: "which generation of this slot do you hold?"
  uint64_t question;
};
struct AuditAnswer {
  uint32_t pool, slot;
  uint64_t gen;  // the one held, 0 = none
  uint64_t question;
};
struct RevokeRequested {
  uint32_t pool, slot;
  int64_t token;
  int64_t grace_ns;
};
struct LeaseEnded {  // taken back by the daemon
  uint32_t pool, slot;
  int64_t token;
};
struct Claim {
  uint32_t pool, slot;
  int64_t token;
};
struct ClaimResult {
  uint32_t pool, slot;
  int64_t token;
  uint32_t accepted;  // 0: somebody with a higher token holds it; the lease is lost
};
struct ClaimsDone {
  uint32_t pool;
};
struct PoolMoved {
  uint32_t pool;
};
struct WorkerRestarted {
  uint64_t starts;
};

struct Message {
  Kind kind;
  uint32_t reserved;
  union {
    Hello hello;
    Welcome welcome;
    Refused refused;
    OpenPool open_pool;
    PoolOpened pool_opened;
    Enqueue enqueue;
    Leave leave;
    GrantMsg grant;
    GrantAck grant_ack;
    TicketRefused ticket_refused;
    Audit audit;
    AuditAnswer audit_answer;
    RevokeRequested revoke_requested;
    LeaseEnded lease_ended;
    Claim claim;
    ClaimResult claim_result;
    ClaimsDone claims_done;
    PoolMoved pool_moved;
    WorkerRestarted worker_restarted;
    unsigned char raw[kMessageBytes - 8];
  };
};
static_assert(sizeof(Message) == kMessageBytes);

}  // namespace leaseplane::attach
