// SPDX-License-Identifier: Apache-2.0
//
// Ticker: the daemon's sense of time. One thread: every 10 ms what is due at an exact instant,
// every 50 ms heartbeat, tick and samples of every pool. When the pools take more than half of
// that, the period stretches; the lag, which counts from the period as it should be, says so.
//
// Owner: the plane. Threads: its own; queries from any.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "server/obs/metrics/histogram.h"
#include "server/obs/mutex.h"
#include "server/plane/pool_map.h"

namespace leaseplane::plane {

class Ticker {
 public:
  static constexpr int64_t kTimerPeriodNs = 10 * engine::kMillisecond;
  static constexpr int64_t kTickPeriodNs = 50 * engine::kMillisecond;
  static constexpr int64_t kStuckNs = 5 * engine::kSecond;

  // `on_tick` runs after each tick, on the ticker's thread.
  Ticker(const PoolMap& pools, std::function<void(int64_t now_ns)> on_tick);
  ~Ticker() { Stop(); }
  void Start();
  void Stop();

  // How much later than a period after the one before each tick began. Lives as long as this.
  const obs::Histogram& lag() const { return lag_; }
  // False: the thread has not come round for kStuckNs, so no pool moves.
  bool is_moving(int64_t now_ns) const {
    return now_ns - beat_at_ns_.load(std::memory_order_relaxed) < kStuckNs;
  }

 private:
  void Run();
  void RunTimers(int64_t now_ns);
  void RunTick(int64_t now_ns, int64_t since_last_ns);

  const PoolMap& pools_;
  const std::function<void(int64_t)> on_tick_;
  obs::Histogram lag_{obs::kLagBounds};
  std::atomic<int64_t> beat_at_ns_{0};
  obs::Mutex mu_;
  obs::Wake wake_;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  std::thread thread_;
};

}  // namespace leaseplane::plane
