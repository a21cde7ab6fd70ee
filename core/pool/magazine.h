// SPDX-License-Identifier: Apache-2.0
//
// Magazine: one thread's own stack of slots it will probably find free (see finder.h).
//
// Ownership: part of a ThreadRecord; one thread uses it. Errors: none; what does not fit goes to
// the bitmap. Cost: Pop and Push are a few private accesses; every other one at most, Push writes
// the thread's own line in DATA, where thieves find the slot.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>

#include "core/base/ids.h"
#include "core/pool/finder.h"
#include "core/pool/pool_words.h"
#include "core/pool/slot_word.h"

namespace leaseplane {

template <class M>
class Magazine {
 public:
  struct Entry {
    SlotWord word = 0;  // a FREE word; 0 in the hot entry: there is none
    SlotIndex slot = 0;
    uint32_t named = 0;  // what this place says in DATA: 0, or slot + 1 of the last entry here
  };

  // The hot entry, taken out: a FREE word and its slot. 0: empty, see Refill. (Field by field: a
  // load of the whole entry would wait for the stores of its parts.)
  SlotWord PopHot(SlotIndex& slot) noexcept {
    const SlotWord word = places_[0].word;
    slot = places_[0].slot;
    places_[0].word = 0;
    return word;
  }

  // REQUIRES a word that IsGrantable, the newest one known of `slot`.
  void Push(const PoolWords<M>& p, SlotIndex slot, SlotWord word) noexcept {
    // Most often it is the slot that was taken last, and DATA says so already.
    if (places_[0].word == 0 && places_[0].named == slot + 1) [[likely]] {
      places_[0].word = word;
      return;
    }
    PushOther(p, slot, word);
  }

  // Makes an entry hot: from behind, else from the bitmap. False: neither has one.
  bool Refill(const PoolWords<M>& p) noexcept {
    if (count_ == 0 && !TakeLeaf(p)) return false;
    --count_;
    places_[0].word = places_[count_ + 1].word;
    places_[0].slot = places_[count_ + 1].slot;
    if (places_[0].named != places_[0].slot + 1) Name(p, 0);
    return true;
  }

  // Starts anew in the segment of `p`: what was known of another one says nothing here.
  void Bind(const PoolWords<M>& p, SessionIndex owner) noexcept {
    for (Entry& place : places_) place = {};
    count_ = 0;
    record_ = ClaimRecord(p, owner);
    // A thread without a record keeps nothing: nobody could find it there.
    has_record_ = record_ < p.finder.record_count;
    home_ = Home(p);
    UpdateLimit(p);
  }

  // Puts everything back into the bitmap and gives up the record. For the end of the thread.
  void Unbind(const PoolWords<M>& p) noexcept {
    if (places_[0].word != 0) PublishSlot(p, places_[0].slot);
    for (uint32_t k = 1; k <= count_; ++k) PublishSlot(p, places_[k].slot);
    if (has_record_) FreeRecord(p, record_);
    for (Entry& place : places_) place = {};
    count_ = limit_ = 0;
    has_record_ = false;
  }

  uint32_t record() const { return record_; }

 private:
  static constexpr uint32_t kPlaces = shm::kRecordEntryCount;

  void Name(const PoolWords<M>& p, uint32_t place) noexcept {
    if (!has_record_) return;
    places_[place].named = places_[place].slot + 1;
    M::StoreHint(p.finder.records[record_].entries[place], places_[place].named);
  }

  [[gnu::noinline]] void PushOther(const PoolWords<M>& p, SlotIndex slot, SlotWord word) noexcept {
    if (places_[0].word == 0 && limit_ != 0) {
      places_[0].word = word;
      places_[0].slot = slot;
      Name(p, 0);
      return;
    }
    if (count_ + 1 >= limit_) {
      UpdateLimit(p);
      // Half of it at a time, so that a thread that only gives back does not come here each time.
      while (count_ + 1 >= limit_ && count_ > limit_ / 2) PublishSlot(p, places_[count_--].slot);
    }
    if (count_ + 1 >= limit_) {
      PublishSlot(p, slot);
      return;
    }
    Append(p, slot, word);
  }

  void Append(const PoolWords<M>& p, SlotIndex slot, SlotWord word) noexcept {
    Entry& place = places_[++count_];
    place.word = word;
    place.slot = slot;
    if (place.named != slot + 1) Name(p, count_);
  }

  // Fills the magazine with up to half a leaf. At least one entry is behind the hot one after true.
  // REQUIRES an empty magazine.
  bool TakeLeaf(const PoolWords<M>& p) noexcept {
    UpdateLimit(p);
    const uint32_t wanted = std::max(limit_, 2u) - 1;
    for (int tries = 0; tries < kBitmapTriesMax; ++tries) {
      LeafBits taken = TakeBits(p, home_, wanted);
      if (taken.bits == 0) return false;
      for (; taken.bits != 0; taken.bits &= taken.bits - 1) {
        const SlotIndex slot = taken.first + static_cast<SlotIndex>(std::countr_zero(taken.bits));
        if (slot >= p.max_capacity) continue;
        const SlotWord word = M::LoadHint(p.Slot(slot));
        if (!IsGrantable(word) || !p.IsGranted(slot)) continue;  // whoever frees it publishes it
        Append(p, slot, word);
      }
      if (count_ != 0) return true;
    }
    return false;
  }

  void UpdateLimit(const PoolWords<M>& p) noexcept {
    if (!has_record_) {
      limit_ = 0;
      return;
    }
    const uint32_t threads = std::max(M::LoadHint(*p.finder.active_records), 1u);
    limit_ = std::clamp(p.max_capacity / (2 * threads), 1u, kPlaces);
  }

  // Threads start apart: first in leaves of their own, then in lines of their own.
  SlotIndex Home(const PoolWords<M>& p) const noexcept {
    const uint32_t leaves = (p.max_capacity + 63) / 64;
    const uint32_t line = record_ / leaves % 8;
    return record_ % leaves * 64 + line * 8;
  }

  Entry places_[kPlaces] = {};  // 0 is the hot one
  uint32_t count_ = 0;          // behind the hot one
  uint32_t limit_ = 0;          // entries in all; 0: keep none
  uint32_t record_ = 0;
  SlotIndex home_ = 0;
  bool has_record_ = false;
};

}  // namespace leaseplane
