// SPDX-License-Identifier: Apache-2.0
//
// WakeBudget: how often a pool may wake the daemon for nothing. Anybody who maps a pool can bump
// its dseq; beyond kWakesPerSecond useless wakes the pool is looked at once a millisecond instead,
// and its waiters alone pay for it. Pure; `now` comes in.
#pragma once

#include <algorithm>
#include <cstdint>

namespace leaseplane::plane {

class WakeBudget {
 public:
  static constexpr int64_t kWakesPerSecond = 1'000;

  void CountUseless(int64_t now_ns) {
    Refill(now_ns);
    if (tokens_ns_ >= kCostNs) tokens_ns_ -= kCostNs;
  }
  // True: do not sleep on the pool's word; poll it.
  bool IsSpent(int64_t now_ns) {
    Refill(now_ns);
    return tokens_ns_ < kCostNs;
  }

 private:
  static constexpr int64_t kCostNs = 1'000'000'000 / kWakesPerSecond;
  static constexpr int64_t kFullNs = 1'000'000'000;

  void Refill(int64_t now_ns) {
    if (refilled_at_ns_ != 0) {
      tokens_ns_ = std::min(kFullNs, tokens_ns_ + (now_ns - refilled_at_ns_));
    }
    refilled_at_ns_ = now_ns;
  }

  int64_t tokens_ns_ = kFullNs;
  int64_t refilled_at_ns_ = 0;
};

}  // namespace leaseplane::plane
