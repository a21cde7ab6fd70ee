// SPDX-License-Identifier: Apache-2.0
// Implementation of Authority: grants, locks, gate, end of sessions. Scan is in authority_scan.inl.
#pragma once

#include <algorithm>
#include <bitset>
#include <utility>

namespace leaseplane {

// How far a generation moves after damage: above anything a hostile writer can have shown to an
// honest client since the last scan.
inline constexpr Generation kRepairGenerationStep = Generation{1} << 30;
// Grants one slot can see in a second, far above what hardware does. More is damage.
inline constexpr Generation kGrantsPerSecondMax = Generation{1} << 26;

template <class M>
Authority<M>::Authority(const PoolWords<M>& words, uint32_t capacity)
    : words_(words),
      capacity_(capacity),
      epoch_(shm::PolicyEpoch(M::Load(*words.policy))),
      grantable_(words.max_capacity),
      round_(WaiterRound(M::Load(*words.wcnt))),
      shadow_(words.max_capacity) {}

template <class M>
void Authority<M>::Initialize(Generation first_gen, bool grantable, int64_t now_ns) {
  for (SlotIndex i = 0; i < words_.max_capacity; ++i) {
    SlotShadow& s = shadow_[i];
    s = SlotShadow{};
    s.gen_max = first_gen;
    s.last_word = FreeWord(first_gen);
    s.first_seen_ns = now_ns;
    SetBase(i, epoch());
    s.grantable = grantable && i < capacity_;
    s.pristine = true;
    M::Store(words_.Slot(i), FreeWord(first_gen));
    PublishGrantBit(i);
    if (s.grantable) PublishSlot(words_, i);
  }
}

template <class M>
void Authority<M>::Adopt(int64_t now_ns, std::span<const SlotIndex> withheld) {
  M::Store(*words_.drained, is_drained_ ? 1 : 0);
  SlotBits is_withheld(words_.max_capacity);
  for (const SlotIndex slot : withheld) {
    if (slot < words_.max_capacity) is_withheld.Set(slot, true);
  }
  for (SlotIndex i = 0; i < words_.max_capacity; ++i) {
    const SlotWord word = M::Load(words_.Slot(i));
    SlotShadow& s = shadow_[i];
    s = SlotShadow{};
    s.first_seen_ns = now_ns;
    if (words_.base_epochs != nullptr) s.base_epoch = M::Load(words_.base_epochs[i]);
    s.grantable = i < capacity_;
    s.last_word = word;
    if (IsWellFormed(word)) {
      s.gen_max = GenerationOfWord(word);
      // Until Restore or TakeBack says whose it is, nobody else may have it.
      const bool offered =
          !is_drained_ && s.grantable && OwnerOf(word) != kOwnerDaemon && !is_withheld.Contains(i);
      StoreGrantBit(i, offered && !IsUsedUp(s));
      WithholdIfSpent(i);
      if (offered && StateOf(word) == SlotState::kFree) PublishSlot(words_, i);
    } else {
      s.quarantined = true;
      s.bump_next = true;
      StoreGrantBit(i, false);
    }
  }
  Kick(/*force=*/true);
}

template <class M>
void Authority<M>::StoreGrantBit(SlotIndex slot, bool value) {
  auto& word = words_.grant_bits[slot / 64];
  const uint64_t bit = uint64_t{1} << (slot % 64);
  const uint64_t old = M::Load(word);  // the daemon is the only writer
  const uint64_t next = value ? old | bit : old & ~bit;
  if (next != old) M::Store(word, next);
  grantable_.Set(slot, value);
}

template <class M>
void Authority<M>::PublishGrantBit(SlotIndex slot) {
  const SlotShadow& s = shadow_[slot];
  StoreGrantBit(slot, is_direct_ && !s.is_spent && CanGrant(s));
}

template <class M>
void Authority<M>::OfferSlot(SlotIndex slot) {
  PublishGrantBit(slot);
  if (words_.IsGranted(slot)) PublishSlot(words_, slot);
  WakeAfterDaemonFree();
}

template <class M>
void Authority<M>::WakeAfterDaemonFree() {
  if (gate() != shm::Gate::kClosed) WakePart(words_);
}

// Between scans a word is used whose generation the last scan has not seen. One that no honest
// grants can have reached is left alone: the next scan quarantines the slot.
template <class M>
bool Authority<M>::IsPlausible(SlotIndex slot, Generation gen) const {
  return gen <= shadow_[slot].gen_max + kGrantsPerSecondMax;
}

template <class M>
bool Authority<M>::TryGrantAt(SlotIndex slot, SessionIndex owner, int64_t now_ns,
                              SlotGrant& grant) {
  SlotShadow& s = shadow_[slot];
  if (!CanGrant(s)) return false;
  const SlotWord seen = M::Load(words_.Slot(slot));
  const bool is_free = StateOf(seen) == SlotState::kFree && IsWellFormed(seen);
  if (!is_free || !IsPlausible(slot, GenerationOfWord(seen))) return false;
  const Generation step = s.bump_next ? kRepairGenerationStep : 1;
  const Generation gen = std::max(GenerationOfWord(seen), s.gen_max) + step;
  // Above what clients may grant there is room for the daemon, should it have to wait for an epoch.
  if (gen >= (is_direct_ ? kGrantableGenerationMax : kGenerationMax)) return false;
  if (owner == kOwnerDaemon) StoreGrantBit(slot, false);  // I3: before the CAS
  if (!M::CompareExchange(words_.Slot(slot), seen, BusyWord(owner, gen))) {
    if (owner == kOwnerDaemon) {
      OfferSlot(slot);  // I5: somebody may have been turned away by the bit
    }
    return false;
  }
  CountGrantsUpTo(s, GenerationOfWord(seen));
  s.gen_max = gen;
  s.bump_next = false;
  s.pristine = false;
  s.daemon_held = owner == kOwnerDaemon;
  s.held_gen = gen;
  SetBase(slot, epoch());
  s.first_seen_ns = now_ns;
  s.last_word = BusyWord(owner, gen);
  grant = {slot, gen};
  return true;
}

template <class M>
std::optional<SlotGrant> Authority<M>::Grant(SessionIndex owner, int64_t now_ns) {
  if (const auto hinted = GrantHinted(owner, now_ns)) return hinted;
  SlotGrant grant;
  const SlotIndex first = cursor_ < capacity_ ? cursor_ : 0;
  for (const auto& [begin, end] : {std::pair(first, capacity_), std::pair(SlotIndex{0}, first)}) {
    for (SlotIndex slot = grantable_.FindFrom(begin); slot < end;
         slot = grantable_.FindFrom(slot + 1)) {
      cursor_ = slot + 1;
      if (TryGrantAt(slot, owner, now_ns, grant)) return grant;
    }
  }
  for (SlotIndex slot = 0; !is_direct_ && slot < capacity_; ++slot) {  // no bit tells
    if (TryGrantAt(slot, owner, now_ns, grant)) return grant;
  }
  return std::nullopt;
}

template <class M>
std::optional<SlotGrant> Authority<M>::GrantSlot(SlotIndex slot, SessionIndex owner,
                                                 int64_t now_ns) {
  SlotGrant grant;
  if (slot < capacity_ && TryGrantAt(slot, owner, now_ns, grant)) return grant;
  return std::nullopt;
}

template <class M>
bool Authority<M>::TakeBack(SlotIndex slot, SessionIndex owner, Generation gen) {
  const SlotWord after = words_.AfterBusy(gen);  // I2
  if (!M::CompareExchange(words_.Slot(slot), BusyWord(owner, gen), after)) return false;
  SlotShadow& s = shadow_[slot];
  s.daemon_held = false;
  s.locked_known = false;
  s.last_word = after;
  if (StateOf(after) == SlotState::kFree) {
    OfferSlot(slot);
  }
  return true;
}

template <class M>
bool Authority<M>::UndoGrant(SlotIndex slot, SessionIndex owner, Generation gen) {
  if (!M::CompareExchange(words_.Slot(slot), BusyWord(owner, gen), FreeWord(gen))) return false;
  SlotShadow& s = shadow_[slot];
  s.daemon_held = false;
  s.last_word = FreeWord(gen);
  OfferSlot(slot);
  return true;
}

template <class M>
bool Authority<M>::Reopen(SlotIndex slot) {
  SlotShadow& s = shadow_[slot];
  const SlotWord seen = M::Load(words_.Slot(slot));
  if (StateOf(seen) != SlotState::kLocked || s.lock_wanted || s.quarantined) return false;
  if (!IsPlausible(slot, GenerationOfWord(seen))) return false;
  const SlotWord next = FreeWord(std::max(GenerationOfWord(seen), s.gen_max));
  if (!M::CompareExchange(words_.Slot(slot), seen, next)) return false;
  s.locked_known = false;
  CountGrantsUpTo(s, GenerationOfWord(seen));
  s.gen_max = GenerationOfWord(next);
  s.last_word = next;
  OfferSlot(slot);
  return true;
}

template <class M>
bool Authority<M>::Restore(SlotIndex slot, SessionIndex owner, FencingToken token, int64_t now_ns) {
  SlotShadow& s = shadow_[slot];
  const Generation gen = GenerationOf(token);
  if (owner == kOwnerDaemon) StoreGrantBit(slot, false);  // I3
  const SlotWord want = BusyWord(owner, gen);
  const SlotWord seen = M::Load(words_.Slot(slot));
  if (seen != want) {
    // A quarantined word is damage, whatever it looks like.
    const bool overwritable =
        s.quarantined || !IsWellFormed(seen) || StateOf(seen) == SlotState::kFree;
    if (!overwritable || !M::CompareExchange(words_.Slot(slot), seen, want)) {
      OfferSlot(slot);  // I5: the bit may have been 0 for a moment
      return false;
    }
  }
  // A slot that nobody was granted since Initialize takes the lease's numbering as its own. One for
  // which another lease was restored, and taken back again before anything could be granted, too:
  // what is granted from now on has a later epoch than either.
  s.gen_max = s.pristine || !s.grantable ? gen : std::max(s.gen_max, gen);
  s.pristine = false;
  SetBase(slot, EpochOf(token));
  s.daemon_held = owner == kOwnerDaemon;
  s.held_gen = gen;
  s.quarantined = false;
  s.first_seen_ns = now_ns;
  s.last_word = want;
  PublishGrantBit(slot);
  return true;
}

template <class M>
void Authority<M>::Repair(SlotIndex slot) {
  SlotShadow& s = shadow_[slot];
  const SlotWord seen = M::Load(words_.Slot(slot));
  if (s.quarantined) {
    const Generation gen = std::min(s.gen_max + kRepairGenerationStep, kGrantableGenerationMax);
    if (!M::CompareExchange(words_.Slot(slot), seen, FreeWord(gen))) return;  // next time
    s.gen_max = gen;
    SetBase(slot, epoch());  // nobody holds it: no older token is valid, whatever its number
    s.quarantined = false;
    s.last_word = FreeWord(gen);
  }
  s.grantable = slot < capacity_;
  OfferSlot(slot);
}

// A client's CAS that the bit did not stop sees the bit gone afterwards, and gives the slot back.
template <class M>
void Authority<M>::SetDrained(bool is_drained) {
  is_drained_ = is_drained;
  M::Store(*words_.drained, is_drained ? 1 : 0);
  for (SlotIndex i = 0; i < words_.max_capacity; ++i) {
    if (is_drained) {
      StoreGrantBit(i, false);
    } else {
      OfferSlot(i);
    }
  }
  M::FetchAdd(*words_.wseq, 1);
  M::FutexWake(*words_.wseq, shm::kWakeAll);
}

template <class M>
void Authority<M>::Withdraw() {
  for (SlotIndex i = 0; i < words_.max_capacity; ++i) {
    shadow_[i].grantable = false;
    StoreGrantBit(i, false);
  }
}

template <class M>
std::vector<SlotShadow> Authority<M>::MoveTo(const PoolWords<M>& words, Epoch epoch) {
  Withdraw();
  SetGate(shm::Gate::kClosed);
  Kick(/*force=*/true);
  M::FetchAdd(*words_.dseq, 1);
  M::FutexWake(*words_.dseq, shm::kWakeAll);
  words_ = words;
  M::Store(*words_.drained, is_drained_ ? 1 : 0);
  cursor_ = 0;
  grantable_ = SlotBits(words.max_capacity);
  round_ = WaiterRound(M::Load(*words.wcnt));
  spent_count_ = 0;
  seen_by_grants_ = 0;
  ticks_with_free_ = 0;
  SetEpoch(epoch);
  return std::exchange(shadow_, std::vector<SlotShadow>(words.max_capacity));
}

template <class M>
bool Authority<M>::Lock(SlotIndex slot) {
  SlotShadow& s = shadow_[slot];
  s.lock_wanted = true;
  StoreGrantBit(slot, false);
  const SlotWord seen = M::Load(words_.Slot(slot));
  if (StateOf(seen) == SlotState::kLocked) return true;
  if (StateOf(seen) != SlotState::kFree) return false;
  const SlotWord next = LockedWord(GenerationOfWord(seen));
  if (!M::CompareExchange(words_.Slot(slot), seen, next)) return false;
  s.last_word = next;
  s.locked_known = true;
  return true;
}

template <class M>
void Authority<M>::Unlock(SlotIndex slot) {
  SlotShadow& s = shadow_[slot];
  if (!s.lock_wanted) return;
  s.lock_wanted = false;
  if (StateOf(M::Load(words_.Slot(slot))) == SlotState::kLocked) {
    Reopen(slot);
  } else {
    OfferSlot(slot);
  }
}

template <class M>
void Authority<M>::SetGate(shm::Gate next) {
  const shm::Gate old = gate();
  if (next == old) return;
  StorePolicy(epoch(), next, release_word());
  if (next == shm::Gate::kClosed) {
    M::FetchAdd(*words_.wseq, 1);
    M::FutexWake(*words_.wseq, shm::kWakeAll);
  } else if (old == shm::Gate::kClosed) {
    for (SlotIndex i = 0; i < capacity_ && enlisted_waiters() != 0; ++i) {
      if (StateOf(M::Load(words_.Slot(i))) == SlotState::kFree) WakePart(words_);
    }
  }
}

template <class M>
void Authority<M>::Kick(bool force) {
  // Nobody waits, and nobody who is gone has left a mark that those who come would rely on.
  const uint64_t wcnt = M::Load(*words_.wcnt);
  if (!force && wcnt == EmptyWaiterCount(WaiterRound(wcnt))) return;
  M::Exchange(*words_.wcnt, EmptyWaiterCount(++round_));
  M::FetchAdd(*words_.wseq, 1);
  M::FutexWake(*words_.wseq, shm::kWakeAll);
}

template <class M>
void Authority<M>::EndSessions(std::span<const SessionIndex> owners,
                               std::vector<SlotEvent>& taken) {
  std::bitset<kOwnerCount> ended;
  for (SessionIndex owner : owners) {
    if (owner >= kOwnerSessionFirst && owner < kOwnerCount) ended.set(owner);
  }
  for (SlotIndex i = 0; i < words_.max_capacity; ++i) {
    // Hints may have died with the process, also those of a generation the scan has published.
    shadow_[i].republished = false;
    const SlotWord seen = M::Load(words_.Slot(i));  // seq_cst: one half of the Dekker pair of I4
    if (StateOf(seen) != SlotState::kBusy || !ended.test(OwnerOf(seen))) continue;
    const Generation gen = GenerationOfWord(seen);
    const SlotWord after = words_.AfterBusy(gen);
    if (!M::CompareExchange(words_.Slot(i), seen, after)) continue;  // the next scan repeats
    shadow_[i].locked_known = false;
    if (StateOf(after) == SlotState::kFree) PublishSlot(words_, i);
    taken.push_back({i, SlotFinding::kOrphan, gen, OwnerOf(seen)});
  }
  FreeRecordsOf([&ended](SessionIndex owner) { return ended.test(owner); });
  Kick(/*force=*/false);
}

}  // namespace leaseplane

#include "core/pool/authority_finder.inl"
#include "core/pool/authority_renumber.inl"
#include "core/pool/authority_scan.inl"
