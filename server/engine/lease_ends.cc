// SPDX-License-Identifier: Apache-2.0
//
// How leases end, and what a slot goes through before it is free again. The order of an end: the
// ledger, the word, the action. A crash after the ledger leaves a daemon word without a lease,
// which recovery frees.
#include <algorithm>

#include "server/engine/pool_engine.h"

namespace leaseplane::engine {
namespace {

Reason ReasonOf(LeaseState ended_as) {
  switch (ended_as) {
    case LeaseState::kExpired:
      return Reason::kLeaseExpired;
    case LeaseState::kRevoked:
      return Reason::kLeaseRevoked;
    default:
      return Reason::kLeaseReleased;
  }
}

}  // namespace

uint64_t PoolEngine::EndRemoteLease(Instant now, SlotIndex slot, LeaseState ended_as,
                                    Actions& actions) {
  const LiveLease& lease = *leases_.At(slot);
  const LeaseId id = lease.record.id;
  const Generation gen = GenerationOf(lease.record.token);
  const int64_t held_ns = now.boot_ns - lease.granted_at_ns;
  if (lease.record.revoke_at_ns != kNever) {
    timers_.Cancel({lease.record.revoke_at_ns, TimerKind::kRevokeDue, slot});
  }
  last_seq_ = ledger_.EndLease(slot, ended_as, now);  // E1
  leases_.End(slot, ended_as, now);
  holds_.AddEnded(held_ns);
  FreeDaemonWord(now, slot, gen, /*abrupt=*/ended_as != LeaseState::kReleased);
  actions.lease_ended.push_back({id, ReasonOf(ended_as)});
  return last_seq_;
}

void PoolEngine::FreeDaemonWord(Instant now, SlotIndex slot, Generation gen, bool abrupt) {
  if (authority_.TakeBack(slot, kOwnerDaemon, gen)) {
    SlotLeft(now, slot, abrupt);
  } else if (authority_.shadow(slot).daemon_held) {
    // Somebody wrote over a word that was ours. The next Scan puts it back; then it can be freed.
    unfreed_.push_back({slot, gen, abrupt});
  } else if (StateOf(authority_.LoadWord(slot)) == SlotState::kLocked) {
    SlotLeft(now, slot, abrupt);  // recovery found the slot LOCKED and left it so for the lease
  }
}

void PoolEngine::RetryFreeing(Instant now) {
  std::vector<UnfreedWord> again;
  again.swap(unfreed_);
  for (const UnfreedWord& word : again) FreeDaemonWord(now, word.slot, word.gen, word.abrupt);
}

// The slot has just left BUSY. Pools without delays wrote FREE, and there is nothing to do but for
// an operator's lock; the others wrote LOCKED.
void PoolEngine::SlotLeft(Instant now, SlotIndex slot, bool abrupt) {
  audits_.Forget(slot);
  if (slots_.is_admin_locked(slot)) {
    authority_.Lock(slot);
    slots_.Get(slot).draining = false;
  }
  const int64_t delay_ns = options_.reuse_delay_ns + (abrupt ? options_.lock_delay_ns : 0);
  if (delay_ns > 0) {
    CoolUntil(slot, now.boot_ns + delay_ns);
  } else {
    OpenSlot(slot);
  }
}

// What was cooling when the worker before ended goes on cooling. How a remote lease ended is known;
// another word that an inherited segment has LOCKED may be that of a holder that died.
void PoolEngine::RestoreCooling(Instant now, const LastEnds& ends, bool same_boot) {
  if (!release_locked_) return;
  for (SlotIndex slot = 0; slot < authority_.capacity(); ++slot) {
    if (leases_.At(slot) != nullptr || slots_.is_cooling(slot)) continue;
    const Tombstone* end = ends[slot];
    if (!is_fresh_) {
      const SlotWord word = authority_.LoadWord(slot);
      if (StateOf(word) != SlotState::kLocked) continue;
      const bool is_its = end != nullptr && GenerationOf(end->token) == GenerationOfWord(word);
      if (!is_its) end = nullptr;
    } else if (end == nullptr) {
      continue;
    }
    const bool was_released = end != nullptr && end->ended_as == LeaseState::kReleased;
    const int64_t delay_ns = options_.reuse_delay_ns + (was_released ? 0 : options_.lock_delay_ns);
    int64_t ago_ns = 0;
    if (end != nullptr) {
      ago_ns = same_boot ? now.boot_ns - end->ended_at_ns : now.unix_ns - end->ended_unix_ns;
    }
    const int64_t rest_ns = std::min(delay_ns, delay_ns - ago_ns);
    if (rest_ns > 0) CoolUntil(slot, now.boot_ns + rest_ns);
  }
}

// A slot of new memory that is to cool must not be free there in the meantime.
void PoolEngine::KeepClosed(SlotIndex slot) {
  if (is_fresh_ && slots_.is_cooling(slot)) ApplyLock(slot);
}

void PoolEngine::CoolUntil(SlotIndex slot, int64_t until_ns) {
  SlotStates::State& state = slots_.Get(slot);
  if (state.cool_until_ns >= until_ns) return;
  if (state.cool_until_ns != 0) {
    timers_.Cancel({state.cool_until_ns, TimerKind::kCoolingEnds, slot});
  }
  state.cool_until_ns = until_ns;
  timers_.Set({until_ns, TimerKind::kCoolingEnds, slot});
}

void PoolEngine::EndCooling(SlotIndex slot) {
  slots_.Get(slot).cool_until_ns = 0;
  OpenSlot(slot);
}

// Makes the slot free unless a reason is left why it should not be.
void PoolEngine::OpenSlot(SlotIndex slot) {
  if (const SlotStates::State* state = slots_.Find(slot)) {
    if (state->admin_locked || state->cool_until_ns != 0) return;
    if (state->authority_locked) {
      slots_.Get(slot).authority_locked = false;
      authority_.Unlock(slot);
    }
    slots_.Tidy(slot);
  }
  // Not only where release_word says LOCKED: a worker that died while it undid an operator's lock
  // leaves a LOCKED word that nobody wants.
  if (leases_.At(slot) == nullptr) authority_.Reopen(slot);
}

// Takes a slot from a session that lives. False: it is not held so any more.
bool PoolEngine::EndLocalLease(Instant now, SessionIndex session, SlotIndex slot,
                               FencingToken token, bool abrupt, Actions& actions) {
  locals_.ForgetSent(session, slot);
  if (!authority_.TakeBack(slot, session, GenerationOf(token))) return false;
  actions.local_lease_ended.push_back({session, slot, token});
  SlotLeft(now, slot, abrupt);
  return true;
}

void PoolEngine::ExpireDue(Instant now, Actions& actions) {
  leases_.CollectDue(now.boot_ns, due_);
  for (const SlotIndex slot : due_) {
    EndRemoteLease(now, slot, LeaseState::kExpired, actions);
    ++stats_.expired;
  }
  due_.clear();
}

}  // namespace leaseplane::engine
