// SPDX-License-Identifier: Apache-2.0
#include "server/plane/ticker.h"

#include <algorithm>
#include <chrono>

namespace leaseplane::plane {
namespace {

constexpr std::chrono::nanoseconds kTimerPeriod(Ticker::kTimerPeriodNs);

}  // namespace

Ticker::Ticker(const PoolMap& pools, std::function<void(int64_t now_ns)> on_tick)
    : pools_(pools), on_tick_(std::move(on_tick)) {}

void Ticker::Start() {
  beat_at_ns_.store(obs::BootNowNs());
  thread_ = std::thread([this] { Run(); });
}

void Ticker::Stop() {
  {
    obs::MutexLock lock(&mu_);
    stopping_ = true;
    wake_.NotifyAll();
  }
  if (thread_.joinable()) thread_.join();
}

void Ticker::Run() {
  int64_t ticked_at_ns = 0;
  int64_t next_tick_ns = obs::BootNowNs();
  for (;;) {
    const int64_t now_ns = obs::BootNowNs();
    beat_at_ns_.store(now_ns, std::memory_order_relaxed);
    RunTimers(now_ns);
    if (now_ns >= next_tick_ns) {
      if (ticked_at_ns != 0) {
        lag_.Observe(std::max<int64_t>(0, now_ns - ticked_at_ns - kTickPeriodNs));
      }
      RunTick(now_ns, ticked_at_ns == 0 ? 0 : now_ns - ticked_at_ns);
      ticked_at_ns = now_ns;
      on_tick_(now_ns);
      // At most half of the thread's time: the rest belongs to the timers.
      const int64_t took_ns = obs::BootNowNs() - now_ns;
      next_tick_ns = now_ns + std::max(kTickPeriodNs, 2 * took_ns);
    }
    obs::MutexLock lock(&mu_);
    if (!stopping_) wake_.WaitUntil(&mu_, std::chrono::steady_clock::now() + kTimerPeriod);
    if (stopping_) return;
  }
}

void Ticker::RunTimers(int64_t now_ns) {
  for (const PoolPtr& pool : pools_.All()) {
    if (now_ns < pool->next_deadline_ns()) continue;
    pool->Step([](engine::PoolEngine& engine, engine::Instant now, engine::Actions& actions) {
      engine.OnTimer(now, actions);
    });
  }
}

void Ticker::RunTick(int64_t now_ns, int64_t since_last_ns) {
  const std::vector<PoolPtr> pools = pools_.All();
  for (const PoolPtr& pool : pools) pool->Beat();
  for (const PoolPtr& pool : pools) {
    pool->Tick(since_last_ns);
    pool->SampleHolds(now_ns);
  }
}

}  // namespace leaseplane::plane
