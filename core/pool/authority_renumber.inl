// SPDX-License-Identifier: Apache-2.0
// Implementation of Authority: slots whose generations run out begin again at 0, under a new epoch.
#pragma once

namespace leaseplane {

template <class M>
bool Authority<M>::IsUsedUp(const SlotShadow& s) const {
  const bool has_room_to_skip = s.gen_max + kRepairGenerationStep < kGrantableGenerationMax;
  return s.gen_max >= renumber_at_ || (s.bump_next && !has_room_to_skip);
}

// Withholds a slot once its generations are used up. Decided by the shadow alone: a word that
// claims a high generation is damage. After damage the next grant skips so many generations that
// the room for them counts.
template <class M>
void Authority<M>::WithholdIfSpent(SlotIndex slot) {
  SlotShadow& s = shadow_[slot];
  if (s.is_spent || !IsUsedUp(s)) return;
  s.is_spent = true;
  StoreGrantBit(slot, false);
  ++spent_count_;
}

template <class M>
bool Authority<M>::CanRenumberAt(SlotIndex slot, SlotWord word) const {
  const SlotShadow& s = shadow_[slot];
  return s.is_spent && !s.daemon_held && !s.quarantined && StateOf(word) == SlotState::kFree &&
         IsWellFormed(word) && IsPlausible(slot, GenerationOfWord(word));
}

template <class M>
bool Authority<M>::CanRenumber() const {
  for (SlotIndex i = 0; spent_count_ != 0 && i < words_.max_capacity; ++i) {
    if (CanRenumberAt(i, M::Load(words_.Slot(i)))) return true;
  }
  return false;
}

// In this order: the slot is seen FREE while its grant bit is 0, so that no token of its old
// numbering can carry the new epoch; the epoch is stored, so that no token of the new numbering can
// carry an old one; the base epoch, before a word that makes small generations current again; the
// word, by a CAS of what was seen before the epoch; and only then the grant bit.
template <class M>
void Authority<M>::Renumber(Epoch next, std::vector<SlotIndex>& renumbered) {
  std::vector<std::pair<SlotIndex, SlotWord>> ready;
  for (SlotIndex i = 0; spent_count_ != 0 && i < words_.max_capacity; ++i) {
    const SlotWord word = M::Load(words_.Slot(i));
    if (CanRenumberAt(i, word)) ready.push_back({i, word});
  }
  SetEpoch(next);
  for (const auto& [slot, seen] : ready) {
    SetBase(slot, next);
    if (!M::CompareExchange(words_.Slot(slot), seen, FreeWord(0))) continue;  // an undo: next time
    SlotShadow& s = shadow_[slot];
    CountGrantsUpTo(s, GenerationOfWord(seen));
    s.gen_max = 0;
    s.last_word = FreeWord(0);
    s.is_spent = false;
    s.bump_next = false;
    --spent_count_;
    renumbered.push_back(slot);
    OfferSlot(slot);
  }
}

template <class M>
void Authority<M>::SetDirect(bool allowed) {
  if (is_direct_ == allowed) return;
  is_direct_ = allowed;
  for (SlotIndex i = 0; i < words_.max_capacity; ++i) {
    if (allowed) {
      OfferSlot(i);
    } else {
      StoreGrantBit(i, false);
    }
  }
}

}  // namespace leaseplane
