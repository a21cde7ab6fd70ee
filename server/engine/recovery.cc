// SPDX-License-Identifier: Apache-2.0
//
// Start of an engine: what the ledger says and what the words say become one again. The ledger
// decides about remote leases, sessions about local ones; a daemon word that the ledger does not
// know was never answered to anybody.
#include <algorithm>
#include <utility>
#include <vector>

#include "server/engine/pool_engine.h"

namespace leaseplane::engine {
namespace {

constexpr int64_t kGateHold = 1 * kSecond;
constexpr int kRestoreTriesMax = 8;

// Slots that are not to be offered, whatever their words say.
std::vector<SlotIndex> WithheldBy(const LedgerContents& contents) {
  std::vector<SlotIndex> slots;
  for (const LeaseRecord& lease : contents.leases) slots.push_back(lease.slot);
  for (const LockRecord& lock : contents.locks) slots.push_back(lock.slot);
  return slots;
}

// The last lease of each slot that is known to have ended.
std::vector<const Tombstone*> LastEndsOf(const LedgerContents& contents, uint32_t capacity) {
  std::vector<const Tombstone*> ends(capacity);
  for (const Tombstone& tombstone : contents.tombstones) {
    if (tombstone.slot < capacity) ends[tombstone.slot] = &tombstone;
  }
  return ends;
}

}  // namespace

RecoverReport PoolEngine::Recover(Instant now, const LedgerContents& contents,
                                  const RecoverOptions& how, Actions& actions) {
  RecoverReport report;
  heard_ns_ = now.boot_ns;
  is_fresh_ = how.origin == SegmentOrigin::kFresh;
  drain_reason_ = how.drain_reason;
  if (drain_reason_) authority_.SetDrained(true);
  authority_.SetReleaseWord(release_locked_ ? shm::ReleaseWord::kLocked : shm::ReleaseWord::kFree);
  if (is_fresh_) {
    authority_.Initialize(how.first_gen, /*grantable=*/!how.await_claims, now.boot_ns);
    authority_.SetGate(shm::Gate::kOpen);
  } else {
    authority_.Adopt(now.boot_ns, WithheldBy(contents));
    gate_hold_until_ns_ = now.boot_ns + kGateHold;
  }
  for (Tombstone tombstone : contents.tombstones) {
    if (!how.same_boot) tombstone.ended_at_ns = now.boot_ns;  // its clock is gone: keep it longest
    leases_.AddTombstone(std::move(tombstone));
  }
  for (const LeaseRecord& record : contents.leases) {
    RestoreLease(now, record, how, report, actions);
  }
  const LastEnds ends = LastEndsOf(contents, authority_.capacity());
  const bool awaits_claims = is_fresh_ && how.await_claims;
  for (const LockRecord& lock : contents.locks) {
    if (lock.slot >= authority_.capacity()) continue;
    SlotStates::State& state = slots_.Get(lock.slot);
    state.admin_locked = true;
    state.reason = lock.reason;
    if (!awaits_claims) ApplyLock(lock.slot);
    ++report.locks_applied;
  }
  // After the locks: what is freed here must not be offered for a moment before it is locked.
  if (!is_fresh_) FreeUnwrittenGrants(now, ends, report, actions);
  RestoreCooling(now, ends, how.same_boot);
  if (!awaits_claims) {
    for (SlotIndex slot = 0; slot < authority_.capacity(); ++slot) KeepClosed(slot);
    state_ = PoolState::kActive;
    OnReleased(now, actions);  // slots released while nobody looked
  }
  stats_.integrity_violations += report.integrity_violations;
  return report;
}

void PoolEngine::RestoreLease(Instant now, LeaseRecord record, const RecoverOptions& how,
                              RecoverReport& report, Actions& actions) {
  const bool same_boot = how.same_boot;
  const SlotIndex slot = record.slot;
  if (slot >= authority_.capacity()) {
    last_seq_ = ledger_.EndLease(slot, LeaseState::kRevoked, now);
    ++report.leases_dropped;
    return;
  }
  const int64_t least_ns =
      same_boot ? std::min(record.ttl_ns, how.restart_grace_ns) : record.ttl_ns;
  const int64_t earliest_ns = now.boot_ns + least_ns;
  record.deadline_at_ns = same_boot ? std::max(record.deadline_at_ns, earliest_ns) : earliest_ns;
  if (!same_boot && record.max_end_at_ns != kNever) {
    record.max_end_at_ns = now.boot_ns + options_.max_duration_ns;  // the old clock is gone
  }
  if (!same_boot) record.revoke_at_ns = kNever;
  record.max_end_at_ns = std::max(record.max_end_at_ns, record.deadline_at_ns);
  WriteTerm(record);
  if (record.revoke_at_ns != kNever)
    timers_.Set({record.revoke_at_ns, TimerKind::kRevokeDue, slot});
  const bool has_word = PutLeaseWord(now, record, report, actions);
  LiveLease& lease = leases_.Add(std::move(record));
  lease.granted_at_ns = now.boot_ns;
  // Whether the worker before had told anybody, or only written it down, is not known.
  if (WaitsForDisk(lease.record.ttl_ns, 0)) lease.commit_seq = lease.term_seq = kInheritedSeq;
  if (has_word) {
    ++report.leases_restored;
  } else {
    EndRemoteLease(now, slot, LeaseState::kRevoked, actions);
    ++report.leases_dropped;
  }
}

// Makes the word say what the ledger says. A word that says otherwise is damage, because grants
// reach the ledger after the word and ends leave it before.
bool PoolEngine::PutLeaseWord(Instant now, const LeaseRecord& record, RecoverReport& report,
                              Actions& actions) {
  const SlotIndex slot = record.slot;
  const SlotWord want = BusyWord(kOwnerDaemon, GenerationOf(record.token));
  const SlotWord found = authority_.LoadWord(slot);
  if (!is_fresh_ && found != want) ++report.integrity_violations;
  if (authority_.Restore(slot, kOwnerDaemon, record.token, now.boot_ns)) return true;
  // Somebody else's word. With the lock in place nobody takes the slot in between.
  slots_.Get(slot).authority_locked = true;
  bool is_locked_word = authority_.Lock(slot);
  for (int i = 0; i < kRestoreTriesMax && !is_locked_word; ++i) {
    const SlotWord word = authority_.LoadWord(slot);
    if (StateOf(word) == SlotState::kBusy &&
        authority_.TakeBack(slot, OwnerOf(word), GenerationOfWord(word)) &&
        OwnerOf(word) >= kOwnerSessionFirst) {
      actions.local_lease_ended.push_back(
          {OwnerOf(word), slot, MakeToken(authority_.epoch(), GenerationOfWord(word))});
    }
    if (authority_.Restore(slot, kOwnerDaemon, record.token, now.boot_ns)) {
      slots_.Get(slot).authority_locked = false;
      authority_.Unlock(slot);
      slots_.Tidy(slot);
      return true;
    }
    is_locked_word = StateOf(authority_.LoadWord(slot)) == SlotState::kLocked;
  }
  if (is_locked_word) return true;  // nobody has it, and it stays LOCKED while the lease lives
  slots_.Get(slot).authority_locked = false;
  authority_.Unlock(slot);
  slots_.Tidy(slot);
  return false;
}

void PoolEngine::FreeUnwrittenGrants(Instant now, const LastEnds& ends, RecoverReport& report,
                                     Actions& actions) {
  for (SlotIndex slot = 0; slot < authority_.capacity(); ++slot) {
    if (leases_.At(slot) != nullptr) continue;
    if (authority_.shadow(slot).quarantined) {
      ++report.integrity_violations;
      OpenDamageCase(now, slot, actions);
      continue;
    }
    const SlotWord word = authority_.LoadWord(slot);
    if (StateOf(word) != SlotState::kBusy || OwnerOf(word) != kOwnerDaemon) continue;
    const Generation gen = GenerationOfWord(word);
    if (authority_.TakeBack(slot, kOwnerDaemon, gen)) {
      ++report.words_freed;
      // Or written down and ended already, but for its word.
      const Tombstone* end = ends[slot];
      SlotLeft(now, slot,
               end != nullptr && GenerationOf(end->token) == gen &&
                   end->ended_as != LeaseState::kReleased);
    }
  }
}

bool PoolEngine::Claim(Instant now, SessionIndex session, SlotIndex slot, FencingToken token,
                       Actions& actions) {
  if (slot >= authority_.capacity() || !IsTokenInRange(token) ||
      EpochOf(token) > authority_.epoch()) {
    return false;
  }
  const SlotWord word = authority_.LoadWord(slot);
  const SlotWord claimed = BusyWord(session, GenerationOf(token));
  if (state_ != PoolState::kRecovering || is_damaged_) {
    if (word != claimed) return false;
    if (IsLocalToken(slot, word, token)) locals_.NoteDeclared(slot, token);
    return true;
  }
  if (leases_.At(slot) != nullptr || !IsBelievable(slot, token)) return false;
  const auto other = claims_.find(slot);
  if (other != claims_.end() && StateOf(word) == SlotState::kBusy) {
    if (word == claimed && token == other->second) return true;
    const SessionIndex loser = OwnerOf(word);
    if (WasBelieved(loser, slot, other->second)) return false;
    if (token <= other->second && !WasBelieved(session, slot, token)) return false;
    if (!authority_.TakeBack(slot, loser, GenerationOfWord(word))) return false;
    actions.local_lease_ended.push_back({loser, slot, other->second});
  }
  if (StateOf(authority_.LoadWord(slot)) == SlotState::kLocked) authority_.Reopen(slot);
  if (!authority_.Restore(slot, session, token, now.boot_ns)) return false;
  claims_[slot] = token;
  locals_.NoteDeclared(slot, token);
  return true;
}

void PoolEngine::EndRecovery(Instant now, Actions& actions) {
  gate_hold_until_ns_ = 0;
  if (state_ == PoolState::kRecovering && !is_damaged_) {
    state_ = PoolState::kActive;
    claims_.clear();
    believed_.clear();
    // Locks first: a slot must not be free for a moment before it is locked.
    for (SlotIndex slot = 0; slot < authority_.capacity(); ++slot) {
      if (slots_.is_admin_locked(slot)) ApplyLock(slot);
      KeepClosed(slot);
      authority_.Repair(slot);
    }
    OnReleased(now, actions);
    return;
  }
  AdjustGate(now, actions);
}

}  // namespace leaseplane::engine
