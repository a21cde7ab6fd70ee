// SPDX-License-Identifier: Apache-2.0
//
// Attached sessions: their waiters in the common queue, the grants sent to them, their ends, and
// their answers about what they hold.
#include <algorithm>
#include <utility>

#include "server/engine/pool_engine.h"

namespace leaseplane::engine {

void PoolEngine::Enqueue(Instant now, SessionIndex session, uint64_t ticket, int64_t waited_ns,
                         int64_t rest_ns, Actions& actions) {
  if (rest_ns <= 0 || queue_.FindLocal(session, ticket) != nullptr ||
      locals_.IsTicketSent(session, ticket) || !sessions_.IsActive(session)) {
    return;
  }
  if (is_damaged_) {
    actions.ticket_refused.push_back({session, ticket, Reason::kDataLoss});
    return;
  }
  if (state_ == PoolState::kDraining) {
    actions.ticket_refused.push_back({session, ticket, close_reason_});
    return;
  }
  if (drain_reason_) {
    ++stats_.refused_draining;
    actions.ticket_refused.push_back({session, ticket, Reason::kPoolDraining});
    return;
  }
  Waiter waiter;
  waiter.ticket = next_ticket_;
  waiter.session = session;
  waiter.session_ticket = ticket;
  // What a session says it has waited is believed only so far (E6: it cannot overtake for ever).
  const int64_t age_ns = std::max<int64_t>(now.boot_ns - sessions_.AttachedAtNs(session), 0);
  const int64_t credit_ns =
      std::min({std::max<int64_t>(waited_ns, 0), age_ns, options_.max_overtake_ns});
  waiter.place = {now.boot_ns - credit_ns, next_arrival_};
  const bool is_counted = options_.max_waiters_per_client != 0;
  if (QueueLimit(is_counted ? WaitQueue::ClientOf(waiter) : std::string()).reason !=
      Reason::kNone) {
    ++stats_.refused_queue_full;
    actions.ticket_refused.push_back({session, ticket, Reason::kQueueFull});
    return;
  }
  ++next_ticket_;
  ++next_arrival_;
  Waiter& added = queue_.Add(std::move(waiter));
  const int64_t ends_ns = rest_ns > kNever - now.boot_ns ? kNever : now.boot_ns + rest_ns;
  SetWaitTimer(added, TimerKind::kWaitEnds, ends_ns);
  // Alone: perhaps a slot is free already, and the gate need not move at all.
  if (queue_.present_count() == 1) Serve(now, actions);
  AdjustGate(now, actions);
}

void PoolEngine::Leave(Instant now, SessionIndex session, uint64_t ticket, Actions& actions) {
  const Waiter* waiter = queue_.FindLocal(session, ticket);
  if (waiter == nullptr) return;
  RemoveWaiter(waiter->ticket);
  AdjustGate(now, actions);
}

void PoolEngine::GrantAck(SessionIndex session, SlotIndex slot, uint64_t ticket) {
  locals_.Acknowledge(session, slot, ticket);
}

void PoolEngine::SendFailed(Instant now, SessionIndex session, SlotIndex slot, FencingToken token,
                            Actions& actions) {
  if (slot >= authority_.capacity()) return;
  const Generation gen = GenerationOf(token);
  if (!locals_.IsSent(session, slot, gen)) return;
  locals_.ForgetSent(session, slot);
  tickets_.clear();
  queue_.AppendTicketsOf(session, tickets_);  // E2: it is as good as ended
  for (const uint64_t ticket : tickets_) RemoveWaiter(ticket);
  tickets_.clear();
  if (authority_.UndoGrant(slot, session, gen) && slots_.is_admin_locked(slot)) {
    authority_.Lock(slot);
  }
  Settle(now, actions);
}

void PoolEngine::SessionsEnded(Instant now, std::span<const SessionIndex> sessions,
                               Actions& actions) {
  tickets_.clear();
  for (const SessionIndex session : sessions) {
    queue_.AppendTicketsOf(session, tickets_);
    locals_.ForgetSession(session);
  }
  for (const uint64_t ticket : tickets_) RemoveWaiter(ticket);
  tickets_.clear();
  events_.clear();
  authority_.EndSessions(sessions, events_);
  HandleFindings(now, events_, actions);
  events_.clear();
  Settle(now, actions);
}

void PoolEngine::AuditAnswer(Instant now, SessionIndex session, SlotIndex slot, Generation gen_held,
                             uint64_t question, Actions& actions) {
  if (slot >= authority_.capacity()) return;
  AuditBook::DamageCase* damage = audits_.FindDamage(slot);
  if (damage != nullptr && damage->question == question) {
    HearDamageClaim(session, slot, gen_held, *damage, actions);
    return;
  }
  const auto lost = audits_.Answer(slot, session, gen_held, question, now.boot_ns);
  if (!lost) return;
  const FencingToken token = TokenAt(slot, *lost);
  if (!EndLocalLease(now, session, slot, token, /*abrupt=*/false, actions)) return;
  ++stats_.recovered_local;
  Settle(now, actions);
}

// The highest generation wins, if it can be true: not older than what has been seen, and not
// further ahead than honest grants could have come since.
void PoolEngine::HearDamageClaim(SessionIndex session, SlotIndex slot, Generation gen_held,
                                 AuditBook::DamageCase& damage, Actions& actions) {
  const Generation seen = authority_.shadow(slot).gen_max;
  if (gen_held == 0 || gen_held < seen || gen_held - seen > kGrantsPerSecondMax) return;
  if (gen_held <= damage.gen) {
    if (session != damage.session) {
      actions.local_lease_ended.push_back({session, slot, MakeToken(authority_.epoch(), gen_held)});
    }
    return;
  }
  if (damage.session != kOwnerNone && damage.session != session) {
    actions.local_lease_ended.push_back(
        {damage.session, slot, MakeToken(authority_.epoch(), damage.gen)});
  }
  damage.session = session;
  damage.gen = gen_held;
}

}  // namespace leaseplane::engine
