// SPDX-License-Identifier: Apache-2.0
//
// Histogram: counts of durations in fixed buckets, cheap enough for the engine's threads.
// Threads: any. Cost of Observe: a search over a dozen bounds and two relaxed additions. A reader
// may see a sample in the sum before it is in a bucket; scrapes do not mind.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

namespace leaseplane::obs {

// Upper bounds of buckets in seconds, ascending; what is above the last counts in +Inf.
using Bounds = std::span<const double>;
inline constexpr double kWaitBounds[] = {0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
                                         0.5,   1,     2.5,  5,     10,   60,  300};
// Holds are sampled every 50 ms, so finer bounds would say nothing.
inline constexpr double kHoldBounds[] = {0.05, 0.1, 0.25, 0.5, 1,   2.5,  5,
                                         10,   30,  60,   300, 900, 3600, 21600};
inline constexpr double kLagBounds[] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
                                        0.1,   0.25,   0.5,   1,    2.5,   5};
inline constexpr double kCallBounds[] = {0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005,
                                         0.001,   0.005,    0.025,   0.1,    0.5,     2.5};

class Histogram {
 public:
  static constexpr size_t kBoundsMax = 14;

  // REQUIRES: at most kBoundsMax bounds, which outlive this.
  explicit constexpr Histogram(Bounds bounds) : bounds_(bounds) {}

  void Observe(int64_t duration_ns) {
    const double seconds = static_cast<double>(duration_ns) * 1e-9;
    const auto bound = std::lower_bound(bounds_.begin(), bounds_.end(), seconds);
    const auto index = static_cast<size_t>(bound - bounds_.begin());
    counts_[index].fetch_add(1, std::memory_order_relaxed);
    sum_ns_.fetch_add(duration_ns, std::memory_order_relaxed);
  }

  // REQUIRES: the same bounds.
  void Add(const Histogram& other) {
    for (size_t i = 0; i < counts_.size(); ++i) {
      counts_[i].fetch_add(other.count(i), std::memory_order_relaxed);
    }
    sum_ns_.fetch_add(other.sum_ns_.load(std::memory_order_relaxed), std::memory_order_relaxed);
  }

  Bounds bounds() const { return bounds_; }
  // Samples of bucket `index` alone; bounds().size() is +Inf.
  uint64_t count(size_t index) const { return counts_[index].load(std::memory_order_relaxed); }
  double sum_seconds() const {
    return static_cast<double>(sum_ns_.load(std::memory_order_relaxed)) * 1e-9;
  }

 private:
  const Bounds bounds_;
  std::array<std::atomic<uint64_t>, kBoundsMax + 1> counts_{};
  std::atomic<int64_t> sum_ns_{0};
};

}  // namespace leaseplane::obs
