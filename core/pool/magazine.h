// SPDX-License-Identifier: Apache-2.0
//
// Magazine: one thread's own stack of slots it will probably find free (see finder.h).
//
// Ownership: part of a ThreadRecord; one thread uses it. Errors: none; what does not fit goes to
// the bitmap. Cost: a few private accesses; what puts another slot in a place writes the thread's
// own line in DATA, where thieves find it.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <utility>

#include "core/base/ids.h"
#include "core/pool/finder.h"
#include "core/pool/memory.h"
#include "core/pool/pool_words.h"
#include "core/pool/slot_word.h"

namespace leaseplane {

// A place of a magazine.
struct MagazineEntry {
  SlotWord word = 0;  // a FREE word; 0 in the hot entry: there is none
  SlotIndex slot = 0;
  uint32_t named = 0;  // what this place says in DATA: 0, or slot + 1 of the last entry here
};

// The top of a thread's stack, which its ThreadContext has while it is in use.
struct HotEntry : MagazineEntry {
  // Takes it out: a FREE word and its slot. 0: empty, see Magazine::Refill. (Field by field: a load
  // of the whole entry would wait for the stores of its parts.)
  LEASEPLANE_HOT SlotWord Pop(SlotIndex& slot_out) noexcept {
    const SlotWord popped = word;
    slot_out = slot;
    word = 0;
    return popped;
  }
  // Puts `freed` back if it is the slot that was taken last, and DATA says so already: most often.
  LEASEPLANE_HOT bool PushSame(SlotIndex same, SlotWord freed) noexcept {
    if (word != 0 || named != same + 1) return false;
    word = freed;
    return true;
  }
};

template <class M>
class Magazine {
 public:
  using Entry = MagazineEntry;

  // The hot entry moves to a ThreadContext, and back before Bind and Unbind.
  HotEntry TakeHot() noexcept { return std::exchange(hot_, {}); }
  void PutHot(const HotEntry& hot) noexcept { hot_ = hot; }

  // What HotEntry::PushSame refused. REQUIRES a word that IsGrantable, the newest one known of
  // `slot`.
  [[gnu::noinline]] void Push(HotEntry& hot, const PoolWords<M>& p, SlotIndex slot,
                              SlotWord word) noexcept {
    if (hot.word == 0 && limit_ != 0) {
      hot.word = word;
      hot.slot = slot;
      Name(p, hot, 0);
      return;
    }
    if (count_ + 1 >= limit_) {
      UpdateLimit(p);
      // Half of it at a time, so that a thread that only gives back does not come here each time.
      while (count_ + 1 >= limit_ && count_ > limit_ / 2) {
        Entry& last = At(count_);
        PublishSlot(p, last.slot);
        Unname(p, last, count_--);
      }
    }
    if (count_ + 1 >= limit_) {
      PublishSlot(p, slot);
      return;
    }
    Append(p, slot, word);
  }

  // Makes an entry hot: from behind, else from the bitmap. False: neither has one.
  bool Refill(HotEntry& hot, const PoolWords<M>& p) noexcept {
    if (count_ == 0 && (IsBitmapEmpty(p) || !TakeLeaf(p))) return false;
    Entry& top = At(count_);
    hot.word = top.word;
    hot.slot = top.slot;
    if (hot.named != hot.slot + 1) Name(p, hot, 0);
    Unname(p, top, count_--);
    return true;
  }

  // Starts anew in the segment of `p`: what was known of another one says nothing here.
  void Bind(const PoolWords<M>& p, SessionIndex owner) noexcept {
    Forget();
    record_ = ClaimRecord(p, owner);
    // A thread without a record keeps nothing: nobody could find it there.
    has_record_ = record_ < p.finder.record_count;
    home_ = Home(p);
    UpdateLimit(p);
  }

  // Puts everything back into the bitmap and gives up the record. For the end of the thread.
  void Unbind(const PoolWords<M>& p) noexcept {
    if (hot_.word != 0) PublishSlot(p, hot_.slot);
    for (uint32_t k = 1; k <= count_; ++k) PublishSlot(p, At(k).slot);
    if (has_record_) FreeRecord(p, record_);
    Forget();
    limit_ = 0;
    has_record_ = false;
  }

  uint32_t record() const { return record_; }

 private:
  static constexpr uint32_t kPlaces = shm::kRecordEntryCount;  // the hot one is place 0

  Entry& At(uint32_t place) noexcept { return behind_[place - 1]; }

  void Forget() noexcept {
    hot_ = {};
    for (Entry& entry : behind_) entry = {};
    count_ = 0;
  }

  // Says in DATA what is in a place.
  void Name(const PoolWords<M>& p, Entry& entry, uint32_t place) noexcept {
    if (!has_record_) return;
    entry.named = entry.slot + 1;
    M::StoreHint(p.finder.records[record_].entries[place], entry.named);
  }

  // Ends the list there, so that a thief does not look at what was used up.
  void Unname(const PoolWords<M>& p, Entry& entry, uint32_t place) noexcept {
    if (!has_record_) return;
    entry.named = 0;
    M::StoreHint(p.finder.records[record_].entries[place], 0);
  }

  void Append(const PoolWords<M>& p, SlotIndex slot, SlotWord word) noexcept {
    Entry& entry = At(++count_);
    entry.word = word;
    entry.slot = slot;
    if (entry.named != slot + 1) Name(p, entry, count_);
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

  HotEntry hot_;  // while no ThreadContext has it
  Entry behind_[kPlaces - 1] = {};
  uint32_t count_ = 0;  // in behind_
  uint32_t limit_ = 0;  // entries in all; 0: keep none
  uint32_t record_ = 0;
  SlotIndex home_ = 0;
  bool has_record_ = false;
};

}  // namespace leaseplane
