// SPDX-License-Identifier: Apache-2.0
//
// What operators do: locks, revocations, cancelled waiters, drain.
#include <algorithm>
#include <utility>

#include "server/engine/pool_engine.h"
#include "server/engine/refusals.h"

namespace leaseplane::engine {

void PoolEngine::ApplyLock(SlotIndex slot) {
  SlotStates::State& state = slots_.Get(slot);
  state.authority_locked = true;
  if (!authority_.Lock(slot)) state.draining = true;
}

Result<SlotInfo> PoolEngine::LockSlot(Instant now, SlotIndex slot, const std::string& reason,
                                      Actions&) {
  if (slot >= authority_.capacity()) return RefuseUnknownSlot(authority_.capacity());
  SlotStates::State& state = slots_.Get(slot);
  if (!state.admin_locked || state.reason != reason) {
    last_seq_ = ledger_.PutLock(slot, reason);
    state.admin_locked = true;
    state.reason = reason;
  }
  // A pool that is still taking claims locks nothing that may turn out to be held: EndRecovery
  // does.
  if (state_ != PoolState::kRecovering) ApplyLock(slot);
  return DescribeSlot(now, slot);
}

Result<SlotInfo> PoolEngine::UnlockSlot(Instant now, SlotIndex slot, Actions& actions) {
  if (slot >= authority_.capacity()) return RefuseUnknownSlot(authority_.capacity());
  if (!slots_.is_admin_locked(slot)) {
    return Refuse(Reason::kFailedPrecondition, "the slot is not locked");
  }
  last_seq_ = ledger_.EraseLock(slot);
  SlotStates::State& state = slots_.Get(slot);
  state.admin_locked = false;
  state.reason.clear();
  // Released into LOCKED while the lock hid it: the cooling counts from now.
  if (std::exchange(state.draining, false) && release_locked_ &&
      StateOf(authority_.LoadWord(slot)) == SlotState::kLocked) {
    SlotLeft(now, slot, /*abrupt=*/false);
  } else {
    OpenSlot(slot);
  }
  Settle(now, actions);
  return DescribeSlot(now, slot);
}

Result<LeaseInfo> PoolEngine::Revoke(Instant now, const LeaseId& id, int64_t grace_ns,
                                     Actions& actions) {
  LiveLease* lease = leases_.Find(id);
  if (lease == nullptr) {
    const Tombstone* ended = leases_.FindEnded(id);
    if (ended == nullptr) return RefuseUnknownLease();
    return RefuseEnded(ended->ended_as, ended->ended_unix_ns);
  }
  const SlotIndex slot = lease->record.slot;
  if (grace_ns <= 0) {
    LeaseInfo info = Describe(now, *lease);
    info.state = LeaseState::kRevoked;
    info.remaining_ns = 0;
    info.ended_unix_ns = now.unix_ns;
    EndRemoteLease(now, slot, LeaseState::kRevoked, actions);
    ++stats_.revoked;
    Settle(now, actions);
    return info;
  }
  const int64_t due_ns = now.boot_ns + std::min(grace_ns, kTtlMax);
  LeaseRecord& record = lease->record;
  if (due_ns < record.revoke_at_ns) {
    if (record.revoke_at_ns != kNever) {
      timers_.Cancel({record.revoke_at_ns, TimerKind::kRevokeDue, slot});
    }
    record.revoke_at_ns = due_ns;
    WriteTerm(record);
    timers_.Set({due_ns, TimerKind::kRevokeDue, slot});
    actions.revoke_requested.push_back({id, due_ns - now.boot_ns});
  }
  return Describe(now, *lease);
}

Result<LeaseInfo> PoolEngine::RevokeLocal(Instant now, SlotIndex slot, FencingToken token,
                                          int64_t grace_ns, Actions& actions) {
  if (slot >= authority_.capacity()) return RefuseUnknownSlot(authority_.capacity());
  const SlotWord word = authority_.LoadWord(slot);
  if (!IsLocalToken(slot, word, token)) return RefuseUnknownLease();
  const SessionIndex session = OwnerOf(word);
  LeaseInfo info = DescribeLocal(now, slot, word, token);
  const auto pending = locals_.FindRevocation(slot);
  const bool is_same =
      pending && pending->session == session && pending->gen == GenerationOfWord(word);
  const int64_t due_ns = now.boot_ns + std::min(grace_ns, kTtlMax);
  if (grace_ns > 0 && is_same && pending->due_ns <= due_ns) return info;
  if (pending) {
    timers_.Cancel({pending->due_ns, TimerKind::kLocalRevokeDue, slot});
    locals_.ForgetRevocation(slot);
  }
  if (grace_ns > 0) {
    locals_.AddRevocation(slot, {session, GenerationOfWord(word), token, due_ns});
    timers_.Set({due_ns, TimerKind::kLocalRevokeDue, slot});
    actions.local_revoke_requested.push_back({session, slot, token, due_ns - now.boot_ns});
    return info;
  }
  if (!EndLocalLease(now, session, slot, token, /*abrupt=*/true, actions)) {
    return RefuseUnknownLease();  // released meanwhile
  }
  ++stats_.revoked;
  info.state = LeaseState::kRevoked;
  info.ended_unix_ns = now.unix_ns;
  Settle(now, actions);
  return info;
}

void PoolEngine::RefuseWaiter(uint64_t ticket, Reason reason, Actions& actions) {
  const std::unique_ptr<Waiter> waiter = RemoveWaiter(ticket);
  if (waiter->is_local()) {
    actions.ticket_refused.push_back({waiter->session, waiter->session_ticket, reason});
  } else if (waiter->present) {
    const Reason told = reason == Reason::kNotFound ? Reason::kCancelled : reason;
    const int64_t retry_ns = told == Reason::kCancelled ? 0 : kSecond;
    actions.waiter_refused.push_back({ticket, told == Reason::kPoolDraining
                                                  ? RefuseDrained(*drain_reason_)
                                                  : Refuse(told, "the wait was ended", retry_ns)});
  }
}

Result<std::monostate> PoolEngine::CancelWaiter(Instant now, uint64_t ticket, Actions& actions) {
  if (queue_.Find(ticket) == nullptr) return RefuseUnknownTicket();
  RefuseWaiter(ticket, Reason::kCancelled, actions);
  AdjustGate(now, actions);
  return std::monostate{};
}

void PoolEngine::DrainPool(Instant now, const std::string& reason, Actions& actions) {
  const bool is_new = !drain_reason_;
  drain_reason_ = reason;
  if (!is_new) return;
  authority_.SetDrained(true);
  for (const uint64_t ticket : queue_.AllTickets()) {
    ++stats_.refused_draining;
    RefuseWaiter(ticket, Reason::kPoolDraining, actions);
  }
  AdjustGate(now, actions);
}

void PoolEngine::ResumePool(Instant now, Actions& actions) {
  if (!drain_reason_) return;
  drain_reason_.reset();
  authority_.SetDrained(false);
  AdjustGate(now, actions);
}

void PoolEngine::BeginDrain(Instant now, Reason reason, Actions& actions) {
  state_ = PoolState::kDraining;
  close_reason_ = reason;
  for (const uint64_t ticket : queue_.AllTickets()) RefuseWaiter(ticket, reason, actions);
  AdjustGate(now, actions);
}

void PoolEngine::ChangeRules(Instant now, PoolOptions options, Actions& actions) {
  options_ = std::move(options);
  AdjustGate(now, actions);
}

void PoolEngine::DeclareDamaged(Instant now, Actions& actions) {
  if (std::exchange(is_damaged_, true)) return;
  ++stats_.integrity_violations;
  authority_.Withdraw();
  for (const uint64_t ticket : queue_.AllTickets()) {
    RefuseWaiter(ticket, Reason::kDataLoss, actions);
  }
  AdjustGate(now, actions);
}

void PoolEngine::RevokeAll(Instant now, Actions& actions) {
  for (SlotIndex slot = 0; slot < authority_.capacity(); ++slot) {
    if (leases_.At(slot) != nullptr) {
      EndRemoteLease(now, slot, LeaseState::kRevoked, actions);
      ++stats_.revoked;
      continue;
    }
    const SlotWord word = authority_.LoadWord(slot);
    if (StateOf(word) != SlotState::kBusy || OwnerOf(word) < kOwnerSessionFirst) continue;
    const FencingToken token = TokenAt(slot, GenerationOfWord(word));
    if (EndLocalLease(now, OwnerOf(word), slot, token, /*abrupt=*/true, actions)) {
      ++stats_.revoked;
    }
  }
  AdjustGate(now, actions);
}

void PoolEngine::SetRemoteRefusal(Instant now, Reason reason, Actions& actions) {
  remote_refusal_ = reason;
  if (reason == Reason::kNone) return;
  for (const uint64_t ticket : queue_.AllTickets()) {
    if (!queue_.Find(ticket)->is_local()) RefuseWaiter(ticket, reason, actions);
  }
  AdjustGate(now, actions);
}

}  // namespace leaseplane::engine
