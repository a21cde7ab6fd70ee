// SPDX-License-Identifier: Apache-2.0
// What a session does with the daemon's messages, on the library's thread.
#include <poll.h>

#include "clients/cpp/boot_clock.h"
#include "clients/cpp/local/session.h"

namespace leaseplane::internal {
namespace {

using attach::Kind;
using attach::Message;

constexpr int64_t kSendPatienceNs = kSecondNs;

// REQUIRES a grant's token to have been checked.
LocalGrant GrantOf(const attach::GrantMsg& grant) { return {grant.slot, grant.token}; }

// The daemon names a lease by its generation and the epoch of now, which may be newer than the one
// the lease was granted in.
bool IsSameGrant(FencingToken held, FencingToken told) {
  return held != 0 && GenerationOf(held) == GenerationOf(told);
}

// The process got the slot again before it heard that it had lost it, and has not given back what
// it had then.
bool IsOlderAndUnreleased(FencingToken told, FencingToken held, FencingToken released) {
  return GenerationOf(held) > GenerationOf(told) && released < told && !IsSameGrant(released, told);
}

}  // namespace

// False: the daemon broke the protocol.
bool Session::Handle(Incoming& incoming) {
  const Message& message = incoming.message;
  switch (message.kind) {
    case Kind::kPoolOpened:
      OnPoolOpened(incoming);
      return true;
    case Kind::kRefused:
      OnRefused(message.refused);
      return true;
    case Kind::kGrant:
      return OnGrant(message.grant);
    case Kind::kTicketRefused:
      OnTicketRefused(message.ticket_refused);
      return true;
    case Kind::kAudit:
      OnAudit(message.audit);
      return true;
    case Kind::kRevokeRequested:
      OnRevokeRequested(message.revoke_requested);
      return true;
    case Kind::kLeaseEnded:
      OnLeaseEnded(message.lease_ended);
      return true;
    case Kind::kClaimResult:
      OnClaimResult(message.claim_result);
      return true;
    case Kind::kWorkerRestarted:
      ResendTickets();
      FindTakenBack();
      return true;
    case Kind::kPoolMoved:
      OnPoolMoved(message.pool_moved.pool);
      return true;
    case Kind::kDraining: {
      const MutexLock lock(&listeners_mu_);
      for (SessionListener* listener : listeners_) listener->OnDraining();
      return true;
    }
    default:
      return false;
  }
}

// The record, if the message is about a pool we opened. The daemon may speak of others in good
// faith: it counts a pool as opened before it answers, and does not know that nobody waited for the
// answer, or that the memory could not be mapped.
PoolRecord* Session::ByHandle(uint32_t handle) {
  const auto found = by_handle_.find(handle);
  return found == by_handle_.end() ? nullptr : found->second;
}

// Whether a re-attachment or a move is about to publish the pool's next state, once it has declared
// what is held: nobody else does, meanwhile.
bool Session::IsOnItsWay(const PoolRecord& record) const {
  if (record.next != nullptr) return true;
  const LocalState* state = record.pool.state();
  return record.is_damaged && state != nullptr && IsCurrent(state->attachment, flags_);
}

void Session::OnPoolOpened(Incoming& incoming) {
  const uint32_t tag = incoming.message.pool_opened.tag;
  PoolRecord* record = nullptr;
  bool publish = true;
  {
    const MutexLock lock(&mu_);
    const auto found = openings_.find(tag);
    // The caller's time ran out, or it asked in the session before.
    if (found == openings_.end() || found->second->done) return;
    record = found->second->record;
    publish = found->second->publish;
  }
  // Asked for after the daemon had told of the move, so these are the segments it moved to.
  const auto moved = moved_.find(incoming.message.pool_opened.pool);
  if (moved != moved_.end() && moved->second < tag) moved_.erase(moved);
  if (publish && IsOnItsWay(*record)) return FinishOpening(tag, absl::OkStatus());
  auto state = record->MakeState(incoming, publish ? attached_as_ : next_as_);
  if (state.ok()) {
    by_handle_[(*state)->handle] = record;
    if (publish) {
      record->pool.Publish(*state);
      record->is_damaged = false;
    } else {
      record->next = *state;
    }
  }
  FinishOpening(tag, state.status());
}

// Noted at once: the daemon may be gone before the move is followed.
void Session::OnPoolMoved(uint32_t handle) {
  {
    const MutexLock lock(&mu_);
    moved_[handle] = last_tag_;
  }
  if (PoolRecord* record = ByHandle(handle)) record->is_damaged = true;
}

void Session::OnRefused(const attach::Refused& refused) {
  FinishOpening(refused.tag, RefusedStatus(refused, "the pool"));
}

bool Session::OnGrant(const attach::GrantMsg& grant) {
  if (!IsTokenInRange(grant.token)) return false;
  const PoolRecord* record = ByHandle(grant.pool);
  const LocalState* state = record == nullptr ? nullptr : record->StateOf(grant.pool);
  const bool has_slot = state != nullptr && grant.slot < state->claims->max_capacity();
  // The claim first: from here on an audit is answered with yes.
  if (has_slot) state->claims->NoteAcquired(grant.slot, grant.token);
  Message ack = MakeMessage(Kind::kGrantAck);
  ack.grant_ack.pool = grant.pool;
  ack.grant_ack.slot = grant.slot;
  ack.grant_ack.ticket = grant.ticket;
  SendPatiently(ack);
  if (!has_slot) return true;  // what was acknowledged is audited, and so taken back
  if (!tickets_.Grant(grant.ticket, &record->pool, GrantOf(grant))) {
    // Its waiter has left. This thread takes no slots, so it keeps no hints either.
    ReleaseForOthers<RealMemory>(state->attachment, flags_, *state->claims, grant.slot,
                                 grant.token);
  }
  return true;
}

// Answered in any case: who owes many answers is not asked any more, about no pool. Nothing is held
// in a pool that this session does not know.
void Session::OnAudit(const attach::Audit& audit) {
  const PoolRecord* record = ByHandle(audit.pool);
  const Claims<RealMemory>* claims = record == nullptr ? nullptr : record->ClaimsOf(audit.slot);
  Message answer = MakeMessage(Kind::kAuditAnswer);
  answer.audit_answer.pool = audit.pool;
  answer.audit_answer.slot = audit.slot;
  answer.audit_answer.question = audit.question;
  answer.audit_answer.gen = claims == nullptr ? 0 : claims->Audit(audit.slot, audit.gen);
  SendPatiently(answer);
}

void Session::OnTicketRefused(const attach::TicketRefused& refused) {
  const auto reason = static_cast<attach::Refusal>(refused.reason);
  if (reason == attach::Refusal::kPoolDeleted) {
    const auto found = by_handle_.find(refused.pool);
    const MutexLock lock(&mu_);
    if (found != by_handle_.end()) {
      found->second->closed = MakeStatus(Reason::kNotFound, "the pool was deleted");
      changed_.Tell();
    }
  }
  const bool is_drained = reason == attach::Refusal::kPoolDraining;
  tickets_.Refuse(refused.ticket, is_drained ? TicketState::kDrained : TicketState::kRefused);
}

void Session::OnLeaseEnded(const attach::LeaseEnded& ended) {
  PoolRecord* record = ByHandle(ended.pool);
  Claims<RealMemory>* claims = record == nullptr ? nullptr : record->ClaimsOf(ended.slot);
  if (claims == nullptr) return;
  const FencingToken held = claims->HeldToken(ended.slot);
  claims->NoteRevoked(ended.slot, ended.token);
  const LocalState* state = record->StateOf(ended.pool);
  if (state != nullptr && state->claims == claims) {
    claims->ForgetRevoked(state->attachment.words, state->attachment.owner, ended.slot);
  }
  if (IsSameGrant(held, ended.token)) {
    TellLost(*record, ended.slot, held, Reason::kLeaseRevoked);
  } else if (IsOlderAndUnreleased(ended.token, held, claims->LastReleased(ended.slot))) {
    TellLost(*record, ended.slot, ended.token, Reason::kLeaseRevoked);
  }
}

void Session::OnRevokeRequested(const attach::RevokeRequested& request) {
  const PoolRecord* record = ByHandle(request.pool);
  const Claims<RealMemory>* claims = record == nullptr ? nullptr : record->ClaimsOf(request.slot);
  if (claims == nullptr) return;
  const FencingToken held = claims->HeldToken(request.slot);
  if (!IsSameGrant(held, request.token)) return;
  RevokeRequest told;
  told.pool = record->pool.name();
  told.slot = request.slot;
  told.token = held;
  told.grace = absl::Nanoseconds(request.grace_ns);
  const MutexLock lock(&listeners_mu_);
  for (SessionListener* listener : listeners_) listener->OnRevokeRequested(told);
}

void Session::OnClaimResult(const attach::ClaimResult& result) {
  if (claims_under_way_ == nullptr) return;
  for (Claimed& claim : *claims_under_way_) {
    const bool same = claim.declared && claim.slot == result.slot && claim.token == result.token &&
                      claim.record->next != nullptr && claim.record->next->handle == result.pool;
    if (!same) continue;
    claim.answered = true;
    claim.accepted = result.accepted != 0;
  }
}

// A restarted worker has lost its queue: every waiter says again since when it waits.
void Session::ResendTickets() {
  const int64_t now_ns = BootNowNs();
  for (const TicketBook::Waiting& waiting : tickets_.AllWaiting()) {
    Message message = MakeMessage(Kind::kEnqueue);
    message.enqueue.pool = waiting.pool->state()->handle;
    message.enqueue.ticket = waiting.id;
    message.enqueue.waited_ns = now_ns - waiting.started_ns;
    message.enqueue.rest_ns =
        waiting.deadline_ns == kNeverNs ? kNeverNs : waiting.deadline_ns - now_ns;
    SendPatiently(message);
  }
}

// For what only the library's thread says and nobody repeats. If the daemon does not read for a
// second the message is dropped: it is asked again, or the connection is about to end.
void Session::SendPatiently(const Message& message) {
  if (Send(message)) return;
  const int64_t give_up_ns = BootNowNs() + kSendPatienceNs;
  while (BootNowNs() < give_up_ns) {
    pollfd item{socket_fd(), POLLOUT, 0};
    if (::poll(&item, 1, 10) > 0 && (item.revents & (POLLHUP | POLLERR)) != 0) return;
    if (Send(message)) return;
  }
}

void Session::TellLost(PoolRecord& record, SlotIndex slot, FencingToken token, Reason reason) {
  LostLease lost;
  lost.pool = record.pool.name();
  lost.slot = slot;
  lost.token = token;
  lost.resource = std::string(record.pool.Resource(slot));
  lost.path = Path::kLocal;
  lost.reason = reason;
  const MutexLock lock(&listeners_mu_);
  for (SessionListener* listener : listeners_) listener->OnLost(lost);
}

}  // namespace leaseplane::internal
