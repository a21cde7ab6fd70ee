// SPDX-License-Identifier: Apache-2.0
//
// DamageWatch: when a pool's shared memory is written to so much that it had better be left. One
// damaged word is repaired where it is; a writer that goes on is not.
//
// Bookkeeping only; the engine tells of every tick. Cost: O(1).
#pragma once

#include <cstdint>

#include "server/engine/types.h"

namespace leaseplane::engine {

inline constexpr uint64_t kViolationsPerSecondMax = 100;  // above it, for so many ticks in a row:
inline constexpr uint32_t kViolentTicks = 3;
inline constexpr uint32_t kInvalidPercentMax = 10;  // of the slots, while damage comes anew
inline constexpr int64_t kDamageMemory = 10 * kSecond;

class DamageWatch {
 public:
  // What one tick found. `invalid`: slots put aside now. `since_last_ns` as PoolEngine::Tick.
  void Observe(int64_t now_ns, int64_t since_last_ns, uint64_t violations, uint64_t invalid,
               uint64_t capacity) {
    const int64_t span_ns = since_last_ns > 0 ? since_last_ns : 50 * kMillisecond;
    const bool is_violent =
        violations * kSecond > kViolationsPerSecondMax * static_cast<uint64_t>(span_ns);
    violent_ticks_ = is_violent ? violent_ticks_ + 1 : 0;
    if (now_ns - first_ns_ > kDamageMemory) damaging_ticks_ = 0;
    if (violations != 0 && damaging_ticks_++ == 0) first_ns_ = now_ns;
    const bool is_widespread = 100 * invalid > kInvalidPercentMax * capacity;
    is_over_ =
        violent_ticks_ >= kViolentTicks || (is_widespread && damaging_ticks_ >= kViolentTicks);
  }
  bool is_over() const { return is_over_; }
  void Reset() { *this = DamageWatch(); }

 private:
  uint32_t violent_ticks_ = 0;   // in a row
  uint32_t damaging_ticks_ = 0;  // since first_ns_
  int64_t first_ns_ = 0;
  bool is_over_ = false;
};

}  // namespace leaseplane::engine
