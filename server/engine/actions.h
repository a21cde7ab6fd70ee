// SPDX-License-Identifier: Apache-2.0
//
// Actions: what has to be told to somebody after a step of the engine. The engine only appends;
// the caller carries them out in the order of the fields below and of each vector, then clears the
// object and uses it again (the vectors keep their memory).
//
// Rules for the caller:
//  - Act after the pool's lock is released where acting can call back; nothing here is undone.
//  - `commit_seq` other than 0: the answer waits until the store has made that number durable.
//  - Sends to sessions are in order per session; a send that fails is reported (SendFailed for a
//    grant) and ends the session.
#pragma once

#include <cstdint>
#include <vector>

#include "core/base/ids.h"
#include "server/engine/types.h"

namespace leaseplane::engine {

struct Actions {
  // -- remote callers, by the ticket that Acquire returned
  struct WaiterGranted {
    uint64_t ticket;
    Grant grant;
    uint64_t commit_seq;
  };
  struct WaiterRefused {  // the ticket's call is over
    uint64_t ticket;
    Refusal refusal;
  };

  // -- attached sessions
  struct SendGrant {
    SessionIndex session;
    uint64_t ticket;  // the session's own number, from its Enqueue
    SlotIndex slot;
    FencingToken token;
  };
  // kQueueFull: a waiter of a BOUNDED pool goes back to the shared wait word. kCancelled,
  // kDraining, kPoolDraining, kRecovering: as named. kNotFound: the pool goes.
  struct TicketRefused {
    SessionIndex session;
    uint64_t ticket;
    Reason reason;
  };
  struct AskAudit {  // "do you hold this slot under this generation?"
    SessionIndex session;
    SlotIndex slot;
    Generation gen;
    uint64_t question;
  };
  struct AskAll {  // to every session that has the pool open: "which generation do you hold?"
    SlotIndex slot;
    uint64_t question;
  };
  struct LocalRevokeRequested {
    SessionIndex session;
    SlotIndex slot;
    FencingToken token;
    int64_t grace_ns;
  };
  struct LocalLeaseEnded {  // taken back by the daemon while the session lives
    SessionIndex session;
    SlotIndex slot;
    FencingToken token;  // the generation counts; the epoch may be newer than the holder's
  };
  struct Waited {  // a waiter was granted a slot, by now perhaps told so as the step's answer
    LeasePath path;
    int64_t waited_ns;  // since it took its place; more than 0
  };
  struct EndSession {  // the caller revokes the session's word and calls SessionsEnded
    SessionIndex session;
    const char* why;  // static text
  };

  // -- followers of remote leases
  struct RevokeRequested {
    LeaseId id;
    int64_t grace_ns;
  };
  struct LeaseEnded {
    LeaseId id;
    Reason reason;  // kLeaseReleased, kLeaseExpired, kLeaseRevoked
  };

  bool pool_moved = false;  // every session that has the pool open is told: last of its step
  std::vector<WaiterGranted> waiter_granted;
  std::vector<WaiterRefused> waiter_refused;
  std::vector<SendGrant> send_grant;
  std::vector<TicketRefused> ticket_refused;
  std::vector<AskAudit> ask_audit;
  std::vector<AskAll> ask_all;
  std::vector<LocalRevokeRequested> local_revoke_requested;
  std::vector<LocalLeaseEnded> local_lease_ended;
  std::vector<RevokeRequested> revoke_requested;
  std::vector<LeaseEnded> lease_ended;
  std::vector<EndSession> end_session;
  std::vector<Waited> waited;  // for figures only; tells nobody

  void Clear() {
    waiter_granted.clear();
    waiter_refused.clear();
    send_grant.clear();
    ticket_refused.clear();
    ask_audit.clear();
    ask_all.clear();
    local_revoke_requested.clear();
    local_lease_ended.clear();
    revoke_requested.clear();
    lease_ended.clear();
    end_session.clear();
    waited.clear();
    pool_moved = false;
  }
  bool Empty() const {
    return waiter_granted.empty() && waiter_refused.empty() && send_grant.empty() &&
           ticket_refused.empty() && ask_audit.empty() && ask_all.empty() &&
           local_revoke_requested.empty() && local_lease_ended.empty() &&
           revoke_requested.empty() && lease_ended.empty() && end_session.empty() &&
           waited.empty() && !pool_moved;
  }
};

}  // namespace leaseplane::engine
