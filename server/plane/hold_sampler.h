// SPDX-License-Identifier: Apache-2.0
//
// HoldSampler: how long slots are held, from looking at the words now and then. A hold is counted
// when a sample finds it over; what begins and ends between two samples is not seen.
// Threads: one. Cost: one relaxed load a slot, for the first kSlotsMax slots.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "core/pool/pool_words.h"
#include "server/obs/metrics/figures.h"

namespace leaseplane::plane {

class HoldSampler {
 public:
  static constexpr uint32_t kSlotsMax = 65'536;

  explicit HoldSampler(uint32_t capacity) : holds_(std::min(capacity, kSlotsMax)) {}

  void Sample(const PoolWords<RealMemory>& words, int64_t now_ns, obs::PathHistograms& out) {
    for (SlotIndex i = 0; i < holds_.size(); ++i) {
      const SlotWord word = RealMemory::LoadHint(words.Slot(i));
      const SlotWord held = StateOf(word) == SlotState::kBusy ? word : 0;
      Hold& hold = holds_[i];
      if (held == hold.word) continue;
      if (hold.word != 0) {
        const bool is_local = OwnerOf(hold.word) >= kOwnerSessionFirst;
        (is_local ? out.local : out.remote).Observe(now_ns - hold.since_ns);
      }
      hold = {held, now_ns};
    }
  }

 private:
  struct Hold {
    SlotWord word = 0;  // BUSY word seen last; 0 = not held
    int64_t since_ns = 0;
  };
  std::vector<Hold> holds_;
};

}  // namespace leaseplane::plane
