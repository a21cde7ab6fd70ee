// SPDX-License-Identifier: Apache-2.0
//
// FinderMemory: the finder's share of a pool's words, in ordinary memory. One object, no heap, so
// that a test can tell by its address whether a word is a hint.
#pragma once

#include <cstdint>

#include "core/pool/pool_words.h"
#include "core/shm/layout.h"

namespace leaseplane {

template <class M, uint32_t kCapacityMax = 64, uint32_t kRecords = 16>
class FinderMemory {
 public:
  FinderMemory() = default;
  FinderMemory(const FinderMemory&) = delete;
  FinderMemory& operator=(const FinderMemory&) = delete;

  // REQUIRES words.max_capacity <= kCapacityMax.
  void Lay(PoolWords<M>& words) {
    words.finder.records = records_;
    words.finder.record_count = kRecords;
    words.finder.summary = &summary_;
    words.finder.summary_root = &root_;
    words.finder.active_records = &active_;
    LayLevels(words.finder, levels_, words.max_capacity);
  }
  void Clear() {
    for (auto& record : records_) {
      record.claim = 0;
      for (auto& entry : record.entries) entry = 0;
    }
    for (auto& word : levels_) word = 0;
    summary_ = 0;
    root_ = 0;
    active_ = 0;
  }
  bool Contains(const void* word) const {
    return word >= static_cast<const void*>(this) && word < static_cast<const void*>(this + 1);
  }

 private:
  static_assert(kRecords <= 64);
  FinderRecord<M> records_[kRecords] = {};
  typename M::U64 levels_[kCapacityMax / 64 + kCapacityMax / 4096 + 4] = {};
  typename M::U64 summary_{0}, root_{0};
  typename M::U32 active_{0};
};

}  // namespace leaseplane
