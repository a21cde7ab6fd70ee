// SPDX-License-Identifier: Apache-2.0
//
// HoldEstimate: how long a slot of the pool is held on average, from what is cheap to see: the
// exact length of each remote lease that ended, and for local ones, whose single holds nobody
// watches, the busy time that passed divided by the grants that happened (Little's law). Recent
// holds count more: the sums are halved whenever they cover more than kWindow holds.
#pragma once

#include <cstdint>

namespace leaseplane::engine {

class HoldEstimate {
 public:
  void AddEnded(int64_t held_ns);
  // `busy` slots held locally over the last `elapsed_ns`, in which `started` local holds began.
  void AddObserved(uint32_t busy, int64_t elapsed_ns, uint64_t started);
  int64_t mean_ns() const;  // 0: unknown

 private:
  static constexpr double kWindow = 64;
  void Fade();

  double held_ns_ = 0;
  double holds_ = 0;
};

}  // namespace leaseplane::engine
