// SPDX-License-Identifier: Apache-2.0
//
// SlotBits: a set of slots in private memory, with a second level of one bit for each 64 slots, so
// that the next member is found in a full pool of a million slots by some hundred loads.
//
// Owner: whoever grants. Threads: one at a time. Cost: Set O(1); FindFrom O(size / 4096).
#pragma once

#include <bit>
#include <cstdint>
#include <vector>

#include "core/base/ids.h"

namespace leaseplane {

class SlotBits {
 public:
  explicit SlotBits(uint32_t size)
      : size_(size), words_(WordsFor(size)), summary_(WordsFor(words_.size())) {}

  void Set(SlotIndex slot, bool is_member) {
    SetBit(words_, slot, is_member);
    SetBit(summary_, slot / 64, words_[slot / 64] != 0);
  }
  bool Contains(SlotIndex slot) const { return (words_[slot / 64] >> (slot % 64) & 1) != 0; }

  // The first member that is not before `slot`; size if there is none.
  SlotIndex FindFrom(SlotIndex slot) const {
    if (slot >= size_) return size_;
    const uint64_t rest = words_[slot / 64] >> (slot % 64);
    if (rest != 0) return slot + static_cast<SlotIndex>(std::countr_zero(rest));
    const size_t word = NextWord(slot / 64 + 1);
    if (word == words_.size()) return size_;
    return static_cast<SlotIndex>(word * 64) +
           static_cast<SlotIndex>(std::countr_zero(words_[word]));
  }

 private:
  static size_t WordsFor(size_t bits) { return (bits + 63) / 64; }
  static void SetBit(std::vector<uint64_t>& words, size_t bit, bool value) {
    const uint64_t mask = uint64_t{1} << (bit % 64);
    words[bit / 64] = value ? words[bit / 64] | mask : words[bit / 64] & ~mask;
  }
  // The first word from `word` on that is not 0.
  size_t NextWord(size_t word) const {
    for (size_t at = word / 64, skip = word % 64; at < summary_.size(); ++at, skip = 0) {
      const uint64_t rest = summary_[at] >> skip << skip;
      if (rest != 0) return at * 64 + static_cast<size_t>(std::countr_zero(rest));
    }
    return words_.size();
  }

  uint32_t size_;
  std::vector<uint64_t> words_;
  std::vector<uint64_t> summary_;
};

}  // namespace leaseplane
