// SPDX-License-Identifier: Apache-2.0
//
// EpochRation: how many epochs a pool may spend while it runs. 17 bits of epoch have to last for
// years, and what spends them (generations used up, damage) a hostile client can cause.
#pragma once

#include <algorithm>
#include <cstdint>

#include "server/engine/types.h"

namespace leaseplane::plane {

class EpochRation {
 public:
  static constexpr int64_t kStock = 100;                   // at once, of a worker's life
  static constexpr int64_t kRefillNs = 1 * engine::kHour;  // then one in this time

  explicit EpochRation(int64_t stock = kStock) : left_(stock) {}

  // True: one may be spent now.
  bool Has(int64_t now_ns) const { return left_ > 0 || now_ns - spent_at_ns_ >= kRefillNs; }
  // REQUIRES Has(now_ns).
  void Spend(int64_t now_ns) {
    left_ = std::max<int64_t>(left_ - 1, 0);
    spent_at_ns_ = now_ns;
  }

 private:
  int64_t left_;
  int64_t spent_at_ns_ = 0;  // CLOCK_BOOTTIME
};

}  // namespace leaseplane::plane
