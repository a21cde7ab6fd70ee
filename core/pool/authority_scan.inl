// SPDX-License-Identifier: Apache-2.0
// Implementation of Authority::Scan: one pass over the words that finds and repairs what no single
// operation saw. Each word is loaded once; each repair is one CAS of the word that was seen, so a
// client that moves on meanwhile wins and the next scan looks again.
#pragma once

namespace leaseplane {

template <class M>
template <class IsActive>
void Authority<M>::Scan(int64_t now_ns, int64_t since_last_ns, IsActive&& is_active,
                        ScanReport& report) {
  report.free = report.busy_local = report.busy_daemon = report.locked = report.invalid = 0;
  report.acquired_delta = std::exchange(seen_by_grants_, 0);
  report.violations = 0;
  report.events.clear();
  const auto seconds = static_cast<uint64_t>(std::max<int64_t>(since_last_ns, 0) / 1'000'000'000);
  const Generation step_max = kGrantsPerSecondMax * (seconds + 1);
  bool free_seen_twice = false;
  for (SlotIndex i = 0; i < words_.max_capacity; ++i) {
    const SlotWord word = M::Load(words_.Slot(i));
    SlotShadow& s = shadow_[i];
    WithholdIfSpent(i);
    if (s.daemon_held) {
      ScanHeld(i, word, report);
      continue;
    }
    if (s.quarantined) {
      ++report.invalid;
      continue;
    }
    if (!IsWellFormed(word)) {
      Quarantine(i, word, report);
      continue;
    }
    if (!CheckGeneration(i, word, step_max, report)) continue;
    WithholdIfSpent(i);
    switch (StateOf(word)) {
      case SlotState::kBusy:
        ScanBusy(i, word, now_ns, OwnerOf(word) >= kOwnerSessionFirst && is_active(OwnerOf(word)),
                 report);
        break;
      case SlotState::kFree:
        free_seen_twice |= ScanFree(i, word, report);
        break;
      default:
        ScanLocked(i, word, report);
        break;
    }
  }
  TendRecords(is_active);
  TendBitmap();
  WakeForgottenWaiters(free_seen_twice);
}

// The daemon's own hold: the lease decides, not the word. Grant bit 0 keeps every honest client
// away, so any other word is damage.
template <class M>
void Authority<M>::ScanHeld(SlotIndex slot, SlotWord word, ScanReport& report) {
  SlotShadow& s = shadow_[slot];
  ++report.busy_daemon;
  const SlotWord want = BusyWord(kOwnerDaemon, s.held_gen);
  if (word == want) return;
  // Not damage: a client that won FREE|g before it saw the grant bit never had this word, since
  // the daemon's CAS won it. So nobody honest wrote here.
  ++report.violations;
  s.bump_next = true;
  StoreGrantBit(slot, false);
  M::CompareExchange(words_.Slot(slot), word, want);
  s.last_word = want;
}

template <class M>
void Authority<M>::Quarantine(SlotIndex slot, SlotWord word, ScanReport& report) {
  SlotShadow& s = shadow_[slot];
  ++report.violations;
  ++report.invalid;
  s.quarantined = true;
  s.bump_next = true;
  s.last_word = word;
  StoreGrantBit(slot, false);
  report.events.push_back({slot, SlotFinding::kInvalid, s.gen_max, OwnerOf(word)});
}

// False: the generation cannot be true; the slot has been dealt with.
template <class M>
bool Authority<M>::CheckGeneration(SlotIndex slot, SlotWord word, Generation step_max,
                                   ScanReport& report) {
  SlotShadow& s = shadow_[slot];
  const Generation gen = GenerationOfWord(word);
  if (gen == s.gen_max) return true;
  if (gen > s.gen_max && gen - s.gen_max <= step_max) {
    report.acquired_delta += gen - s.gen_max;
    s.gen_max = gen;
    s.pristine = false;
    return true;
  }
  Quarantine(slot, word, report);
  return false;
}

template <class M>
void Authority<M>::ScanBusy(SlotIndex slot, SlotWord word, int64_t now_ns, bool active,
                            ScanReport& report) {
  SlotShadow& s = shadow_[slot];
  if (active) {
    ++report.busy_local;
    if (s.last_word != word) s.first_seen_ns = now_ns;
    s.last_word = word;
    s.locked_known = false;
    return;
  }
  // Nobody holds it: its session has ended (a client that won its CAS after the sweep and died
  // before it undid), or it is a daemon word without a grant of ours, which is damage.
  if (OwnerOf(word) == kOwnerDaemon) ++report.violations;
  const Generation gen = GenerationOfWord(word);
  const SlotWord after = words_.AfterBusy(gen);
  if (!M::CompareExchange(words_.Slot(slot), word, after)) return;
  s.last_word = after;
  s.locked_known = false;
  report.events.push_back({slot, SlotFinding::kOrphan, gen, OwnerOf(word)});
  if (StateOf(after) == SlotState::kFree) {
    ++report.free;
    OfferSlot(slot);
  } else {
    ++report.locked;
  }
}

// True if the slot was free and grantable at the last scan too, under the same generation.
template <class M>
bool Authority<M>::ScanFree(SlotIndex slot, SlotWord word, ScanReport& report) {
  SlotShadow& s = shadow_[slot];
  if (s.lock_wanted) {
    const SlotWord next = LockedWord(GenerationOfWord(word));
    if (M::CompareExchange(words_.Slot(slot), word, next)) {
      ++report.locked;
      s.last_word = next;
      s.locked_known = true;
      report.events.push_back({slot, SlotFinding::kDrainDone, GenerationOfWord(word), kOwnerNone});
    }
    return false;
  }
  if (slot < capacity_) ++report.free;
  const bool twice = s.last_word == word && s.grantable;
  if (s.last_word != word) s.republished = false;
  if (twice) RepublishFree(slot);
  s.last_word = word;
  s.locked_known = false;
  return twice;
}

template <class M>
void Authority<M>::ScanLocked(SlotIndex slot, SlotWord word, ScanReport& report) {
  SlotShadow& s = shadow_[slot];
  ++report.locked;
  s.last_word = word;
  if (s.locked_known) return;
  s.locked_known = true;
  StoreGrantBit(slot, false);
  const SlotFinding finding =
      s.lock_wanted ? SlotFinding::kDrainDone : SlotFinding::kReleasedLocked;
  report.events.push_back({slot, finding, GenerationOfWord(word), OwnerOf(word)});
}

template <class M>
void Authority<M>::CollectReleased(std::vector<SlotEvent>& events) {
  for (SlotIndex i = 0; i < words_.max_capacity; ++i) {
    SlotShadow& s = shadow_[i];
    if (s.daemon_held || s.quarantined || s.lock_wanted || s.locked_known) continue;
    const SlotWord word = M::Load(words_.Slot(i));
    if (StateOf(word) != SlotState::kLocked || !IsWellFormed(word)) continue;
    if (!IsPlausible(i, GenerationOfWord(word))) continue;
    s.locked_known = true;
    StoreGrantBit(i, false);
    events.push_back({i, SlotFinding::kReleasedLocked, GenerationOfWord(word), kOwnerDaemon});
  }
}

// The net under the wake protocol: a slot free for two scans beside an enlisted waiter wakes one,
// for four scans rebuilds the count. Repairs stopped, killed and hostile wakers alike.
template <class M>
void Authority<M>::WakeForgottenWaiters(bool free_seen_twice) {
  if (!free_seen_twice || enlisted_waiters() == 0) {
    ticks_with_free_ = 0;
    return;
  }
  ++ticks_with_free_;
  if (ticks_with_free_ % 4 == 0) {
    Kick(/*force=*/true);
  } else {
    M::FetchAdd(*words_.wseq, 1);
    M::FutexWake(*words_.wseq, 1);
  }
}

}  // namespace leaseplane
