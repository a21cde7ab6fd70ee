// SPDX-License-Identifier: Apache-2.0
//
// RestartPolicy: how long the keeper waits before it starts the next worker. Pure; `now` comes in.
//
// A worker that had become ready is replaced at once. Deaths before that are a start that fails:
// the first is retried at once, then the delay doubles from 100 ms to 10 s. Every start uses up an
// epoch of each pool, and there are 2^17 of them, so starts are rationed too: a burst of
// kBurstMax, then one a minute.
#pragma once

#include <algorithm>
#include <cstdint>

namespace leaseplane::keeper {

class RestartPolicy {
 public:
  static constexpr int64_t kDelayMin = 100'000'000;     // ns
  static constexpr int64_t kDelayMax = 10'000'000'000;  // ns
  static constexpr int64_t kRefill = 60'000'000'000;    // ns
  static constexpr int64_t kBurstMax = 2'000;

  // A worker ended at `now_ns`. Returns the delay until the next start, ns.
  int64_t DelayAfterEnd(int64_t now_ns, bool was_ready) {
    Refill(now_ns);
    if (was_ready)
      failed_starts_ = 0;
    else
      ++failed_starts_;
    if (tokens_ == 0) return kRefill;
    --tokens_;
    if (failed_starts_ <= 1) return 0;
    return std::min(kDelayMin << std::min(failed_starts_ - 2, 10), kDelayMax);
  }

 private:
  void Refill(int64_t now_ns) {
    if (refilled_at_ns_ == 0) refilled_at_ns_ = now_ns;
    const int64_t gained = (now_ns - refilled_at_ns_) / kRefill;
    tokens_ = std::min(tokens_ + gained, kBurstMax);
    refilled_at_ns_ += gained * kRefill;
  }

  int failed_starts_ = 0;
  int64_t tokens_ = kBurstMax;
  int64_t refilled_at_ns_ = 0;
};

}  // namespace leaseplane::keeper
