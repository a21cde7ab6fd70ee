// SPDX-License-Identifier: Apache-2.0
//
// Histogram: counts of durations in fixed buckets, cheap enough for the engine's threads.
// Threads: any. Cost of Observe: a search over a dozen bounds and three relaxed additions. A reader
// may see a sample in the sum before it is in a bucket; scrapes do not mind.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace leaseplane::obs {

class Histogram {
 public:
  static constexpr size_t kBoundCount = 14;
  // Upper bounds, seconds; what is above the last counts in the implicit +Inf bucket.
  static constexpr std::array<double, kBoundCount> kBoundsSeconds = {
      0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 10, 60, 300};

  void Observe(int64_t duration_ns) {
    const double seconds = static_cast<double>(duration_ns) * 1e-9;
    const auto bound = std::lower_bound(kBoundsSeconds.begin(), kBoundsSeconds.end(), seconds);
    const auto index = static_cast<size_t>(bound - kBoundsSeconds.begin());
    counts_[index].fetch_add(1, std::memory_order_relaxed);
    sum_ns_.fetch_add(duration_ns, std::memory_order_relaxed);
  }

  // Samples of bucket `index` alone; kBoundCount is +Inf.
  uint64_t count(size_t index) const { return counts_[index].load(std::memory_order_relaxed); }
  double sum_seconds() const {
    return static_cast<double>(sum_ns_.load(std::memory_order_relaxed)) * 1e-9;
  }

 private:
  std::array<std::atomic<uint64_t>, kBoundCount + 1> counts_{};
  std::atomic<int64_t> sum_ns_{0};
};

}  // namespace leaseplane::obs
