// SPDX-License-Identifier: Apache-2.0
//
// What time does: the tick that reconciles the words, and the timers.
#include <algorithm>

#include "server/engine/pool_engine.h"
#include "server/engine/refusals.h"

namespace leaseplane::engine {
namespace {

constexpr int64_t kSuspectGap = 1 * kSecond;     // between ticks: the daemon itself was away
constexpr int64_t kExtensionMax = 15 * kSecond;  // what leases get for that
constexpr int64_t kRepairRetry = 50 * kMillisecond;

}  // namespace

// Whoever comes first after the gap accounts for it, or a lease would be ended in between.
void PoolEngine::AccountForAbsence(int64_t now_ns) {
  const int64_t gap_ns = now_ns - heard_ns_;
  heard_ns_ = now_ns;
  if (gap_ns <= kSuspectGap) return;
  const int64_t extension_ns = std::min(gap_ns, kExtensionMax);
  leases_.ExtendAll(extension_ns);
  audits_.ExtendUnanswered(extension_ns);
  locals_.ExtendSent(extension_ns);
}

void PoolEngine::Tick(Instant now, int64_t since_last_ns, Actions& actions) {
  AccountForAbsence(now.boot_ns);
  if (is_damaged_) {  // the words are not those the clients see
    FireTimers(now, actions);
    ExpireDue(now, actions);
    leases_.PurgeTombstones(now.boot_ns);
    return;
  }
  authority_.Scan(
      now.boot_ns, since_last_ns, [this](SessionIndex s) { return sessions_.IsActive(s); },
      report_);
  stats_.acquired_local += report_.acquired_delta;
  stats_.integrity_violations += report_.violations;
  damage_.Observe(now.boot_ns, since_last_ns, report_.violations, report_.invalid,
                  authority_.capacity());
  holds_.AddObserved(report_.busy_local, since_last_ns,
                     report_.acquired_delta + local_grants_unscanned_);
  local_grants_unscanned_ = 0;
  HandleFindings(now, report_.events, actions);
  RetryFreeing(now);
  FireTimers(now, actions);
  ExpireDue(now, actions);
  AuditHolds(now, actions);
  EndOverdueHolds(now, actions);
  leases_.PurgeTombstones(now.boot_ns);
  Settle(now, actions);
}

void PoolEngine::OnTimer(Instant now, Actions& actions) {
  AccountForAbsence(now.boot_ns);
  const size_t timers = timers_.size();
  const uint32_t leases = leases_.live_count();
  FireTimers(now, actions);
  ExpireDue(now, actions);
  if (timers_.size() != timers || leases_.live_count() != leases) Serve(now, actions);
  AdjustGate(now, actions);
}

void PoolEngine::OnReleased(Instant now, Actions& actions) {
  if (release_locked_ && !is_damaged_) {
    events_.clear();
    authority_.CollectReleased(events_);
    HandleFindings(now, events_, actions);
    events_.clear();
  }
  Settle(now, actions);
}

void PoolEngine::HandleFindings(Instant now, const std::vector<SlotEvent>& events,
                                Actions& actions) {
  for (const SlotEvent& event : events) {
    if (event.slot >= authority_.capacity()) continue;
    switch (event.finding) {
      case SlotFinding::kOrphan:
        if (event.owner >= kOwnerSessionFirst) ++stats_.recovered_local;
        SlotLeft(now, event.slot, /*abrupt=*/true);
        break;
      case SlotFinding::kReleasedLocked:
      case SlotFinding::kDrainDone:
        // Known already if it is cooling, or kept LOCKED for a lease that the ledger knows.
        if (slots_.is_cooling(event.slot) || leases_.At(event.slot) != nullptr) break;
        SlotLeft(now, event.slot, /*abrupt=*/false);
        break;
      case SlotFinding::kInvalid:
        OpenDamageCase(now, event.slot, actions);
        break;
    }
  }
}

void PoolEngine::FireTimers(Instant now, Actions& actions) {
  while (const auto timer = timers_.PopDue(now.boot_ns)) {
    const auto slot = static_cast<SlotIndex>(timer->id);
    switch (timer->kind) {
      case TimerKind::kWaitEnds:
      case TimerKind::kPlaceEnds:
        WaitEnded(now, *timer, actions);
        break;
      case TimerKind::kCoolingEnds:
        EndCooling(slot);
        break;
      case TimerKind::kRevokeDue:
        if (leases_.At(slot) == nullptr) break;
        EndRemoteLease(now, slot, LeaseState::kRevoked, actions);
        ++stats_.revoked;
        break;
      case TimerKind::kLocalRevokeDue: {
        const auto due = locals_.FindRevocation(slot);
        locals_.ForgetRevocation(slot);
        if (due && EndLocalLease(now, due->session, slot, due->token, /*abrupt=*/true, actions)) {
          ++stats_.revoked;
        }
        break;
      }
      case TimerKind::kRepairDue:
        RepairDamaged(now, slot, actions);
        break;
    }
  }
}

void PoolEngine::WaitEnded(Instant now, const Timer& timer, Actions& actions) {
  Waiter* waiter = queue_.Find(timer.id);
  if (waiter == nullptr) return;
  waiter->timer_at_ns = kNever;
  if (!waiter->present || waiter->is_local()) {
    queue_.Remove(timer.id);  // a local waiter keeps its own time and leaves by itself
    return;
  }
  ++stats_.refused_timeout;
  actions.waiter_refused.push_back(
      {timer.id, Refuse(Reason::kWaitTimeout, "no slot in time", RetryHintNs())});
  EndCall(now, *waiter, /*keep_place=*/true);
}

void PoolEngine::OpenDamageCase(Instant now, SlotIndex slot, Actions& actions) {
  if (audits_.FindDamage(slot) != nullptr) return;
  actions.ask_all.push_back({slot, audits_.OpenDamage(slot)});
  timers_.Set({now.boot_ns + kDamageClaimTime, TimerKind::kRepairDue, slot});
}

void PoolEngine::RepairDamaged(Instant now, SlotIndex slot, Actions& actions) {
  const AuditBook::DamageCase* damage = audits_.FindDamage(slot);
  if (damage == nullptr || is_damaged_ || !authority_.shadow(slot).quarantined) {
    audits_.CloseDamage(slot);
    return;
  }
  bool is_done = false;
  const bool is_claimed = damage->session != kOwnerNone && sessions_.IsActive(damage->session);
  const FencingToken token = MakeToken(authority_.shadow(slot).base_epoch, damage->gen);
  if (is_claimed) is_done = authority_.Restore(slot, damage->session, token, now.boot_ns);
  if (!is_done && !slots_.is_cooling(slot)) {
    authority_.Repair(slot);
    is_done = !authority_.shadow(slot).quarantined;
    if (is_done && is_claimed) actions.local_lease_ended.push_back({damage->session, slot, token});
    if (is_done && slots_.is_admin_locked(slot)) authority_.Lock(slot);
  }
  if (is_done) {
    audits_.CloseDamage(slot);
  } else {
    timers_.Set({now.boot_ns + kRepairRetry, TimerKind::kRepairDue, slot});
  }
}

// A few holds a tick, going round: asks their sessions whether they still know them.
void PoolEngine::AuditHolds(Instant now, Actions& actions) {
  const uint32_t capacity = authority_.capacity();
  const uint32_t looks = std::min(capacity, kAuditSlotsMax);
  uint32_t questions = 0;
  for (uint32_t k = 0; k < looks && questions < kAuditQuestionsMax; ++k) {
    if (audit_cursor_ >= capacity) audit_cursor_ = 0;
    const SlotIndex slot = audit_cursor_++;
    const SlotShadow& shadow = authority_.shadow(slot);
    if (shadow.daemon_held || shadow.quarantined) continue;
    const SlotWord word = shadow.last_word;  // of the Scan just made, or granted since
    const SessionIndex session = OwnerOf(word);
    if (StateOf(word) != SlotState::kBusy || session < kOwnerSessionFirst) {
      audits_.Forget(slot);
      continue;
    }
    const Generation gen = GenerationOfWord(word);
    if (now.boot_ns - shadow.first_seen_ns < kAuditHoldAge || locals_.IsSent(session, slot, gen)) {
      continue;
    }
    if (const auto question = audits_.Ask(slot, session, gen, now.boot_ns)) {
      actions.ask_audit.push_back({session, slot, gen, *question});
      ++questions;
    }
  }
}

// Somebody waits, or there may soon be nothing left to give: reason enough to take slots from those
// who do not answer.
bool PoolEngine::IsWanted() const {
  const uint64_t used = authority_.capacity() - std::min(report_.free, authority_.capacity());
  return queue_.present_count() != 0 || authority_.enlisted_waiters() != 0 ||
         10 * used > 9 * uint64_t{authority_.capacity()};
}

// Asked about the hold, or sent it, so long ago, and not a word of its session since.
bool PoolEngine::IsStalled(int64_t now_ns, SessionIndex session, SlotIndex slot,
                           Generation gen) const {
  const int64_t since_ns =
      std::min(audits_.UnansweredSinceNs(slot, session, gen), locals_.SentAtNs(session, slot, gen));
  if (since_ns == kNever || now_ns - since_ns < options_.stall_timeout_ns) return false;
  return now_ns - sessions_.HeardAtNs(session) >= options_.stall_timeout_ns;
}

// A stalled session would only be granted the slot again.
void PoolEngine::DropTicketsOf(SessionIndex session, Actions& actions) {
  tickets_.clear();
  queue_.AppendTicketsOf(session, tickets_);
  for (const uint64_t ticket : tickets_) RefuseWaiter(ticket, Reason::kQueueFull, actions);
  tickets_.clear();
}

void PoolEngine::EndOverdueHolds(Instant now, Actions& actions) {
  const bool looks_for_stalls = options_.stall_timeout_ns > 0 && IsWanted();
  if (!looks_for_stalls && options_.max_hold_ns <= 0) return;
  const uint32_t capacity = authority_.capacity();
  for (uint32_t looks = std::min(capacity, kAuditSlotsMax); looks > 0; --looks) {
    if (overdue_cursor_ >= capacity) overdue_cursor_ = 0;
    const SlotIndex slot = overdue_cursor_++;
    const SlotShadow& shadow = authority_.shadow(slot);
    const SlotWord word = shadow.last_word;  // of the Scan just made, or granted since
    const SessionIndex session = OwnerOf(word);
    if (shadow.daemon_held || shadow.quarantined || StateOf(word) != SlotState::kBusy ||
        session < kOwnerSessionFirst) {
      continue;
    }
    const Generation gen = GenerationOfWord(word);
    const bool is_long =
        options_.max_hold_ns > 0 && now.boot_ns - shadow.first_seen_ns >= options_.max_hold_ns;
    const bool is_stalled =
        !is_long && looks_for_stalls && IsStalled(now.boot_ns, session, slot, gen);
    if (!is_long && !is_stalled) continue;
    if (is_stalled) DropTicketsOf(session, actions);
    const FencingToken token = TokenAt(slot, gen);
    if (!EndLocalLease(now, session, slot, token, /*abrupt=*/true, actions)) continue;
    ++(is_long ? stats_.held_too_long : stats_.stalled);
  }
}

}  // namespace leaseplane::engine
