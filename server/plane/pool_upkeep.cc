// SPDX-License-Identifier: Apache-2.0
#include "server/plane/pool_upkeep.h"

#include <chrono>

#include "server/obs/log.h"

namespace leaseplane::plane {

void PoolUpkeep::Start() {
  thread_ = std::thread([this] { Run(); });
}

void PoolUpkeep::Stop() {
  {
    obs::MutexLock lock(&mu_);
    stopping_ = true;
    wake_.NotifyAll();
  }
  if (thread_.joinable()) thread_.join();
}

void PoolUpkeep::Run() {
  for (;;) {
    for (const PoolPtr& pool : pools_.All()) {
      if (pool->epoch_need() != EpochNeed::kNone) Tend(pool, obs::BootNowNs());
    }
    obs::MutexLock lock(&mu_);
    if (!stopping_) {
      wake_.WaitUntil(&mu_, std::chrono::steady_clock::now() + std::chrono::milliseconds(50));
    }
    if (stopping_) return;
  }
}

void PoolUpkeep::Tend(const PoolPtr& pool, int64_t now_ns) {
  Account& account = accounts_.try_emplace(pool->id(), Account{EpochRation(stock_)}).first->second;
  const bool rotates = pool->epoch_need() == EpochNeed::kRotate;
  if (!account.ration.Has(now_ns)) {
    if (account.is_brokered) return;
    account.is_brokered = true;
    obs::Log(obs::Level::kError, "the pool has used up its epochs; the daemon alone grants in it",
             {{"pool", pool->id()}});
    return pool->SetBrokered(true);
  }
  if (rotates && now_ns < account.next_rotation_ns) return;
  if (account.is_brokered) pool->SetBrokered(false);
  account.is_brokered = false;
  if (!(rotates ? rotate_ : renumber_)(pool)) return;
  account.ration.Spend(now_ns);
  if (rotates) account.next_rotation_ns = now_ns + kRotateEveryNs;
}

}  // namespace leaseplane::plane
