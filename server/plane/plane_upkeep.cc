// SPDX-License-Identifier: Apache-2.0
//
// Epochs that pools spend while they run. The epoch is durable before anybody sees it; a worker
// that ends in the middle of a rotation leaves segments that the next one gives up (see
// DiscardUnfinished), so that holders declare again what they hold.
#include "server/obs/log.h"
#include "server/plane/daemon_plane.h"

namespace leaseplane::plane {
namespace {

int64_t UnixSeconds() { return obs::UnixNowNs() / engine::kSecond; }

}  // namespace

void DaemonPlane::StartUpkeep() {
  upkeep_ = std::make_unique<PoolUpkeep>(
      pools_, options_.epoch_stock, [this](const PoolPtr& pool) { return RenumberPool(pool); },
      [this](const PoolPtr& pool) { return RotatePool(pool); });
  upkeep_->Start();
}

bool DaemonPlane::RenumberPool(const PoolPtr& pool) {
  obs::MutexLock admin(&admin_mu_);
  if (pool->is_closed.load()) return false;
  auto epochs = store_->BumpEpochs({pool->id()}, UnixSeconds());
  if (!epochs.ok()) return false;  // it is tried again; the store's state is told elsewhere
  const Epoch epoch = epochs->at(pool->id()).epoch;
  pool->Renumber(epoch);
  obs::Log(obs::Level::kInfo, "slots renumbered", {{"pool", pool->id()}, {"epoch", epoch}});
  return true;
}

bool DaemonPlane::RotatePool(const PoolPtr& pool) {
  obs::MutexLock admin(&admin_mu_);
  if (pool->is_closed.load() || draining_.load()) return false;
  auto epochs = store_->BumpEpochs({pool->id()}, UnixSeconds());
  if (!epochs.ok()) return false;
  const store::PoolEpoch& epoch = epochs->at(pool->id());
  // Before the keeper has the new segments: from then on a successor cannot go on with the words.
  const int64_t until_ns = obs::BootNowNs() + options_.redeclare_grace_ns;
  shared_->claims_possible.store(2);
  {
    obs::MutexLock lock(&recovery_mu_);
    pool->recover_until_ns = until_ns;
    pool->is_recovering = true;
    shared_->recovering_until_ns.store(std::max(shared_->recovering_until_ns.load(), until_ns));
  }
  // And nobody takes a slot in the old ones, which no successor could stop.
  pool->SetBrokered(true);
  auto segments = PoolSegments::Replace(pool->options(), pool->handle(), epoch.epoch, vault_);
  if (!segments.ok()) {
    pool->SetBrokered(false);
    pool->recover_until_ns = engine::kNever;
    pool->is_recovering = false;
    obs::Log(obs::Level::kError, "a pool cannot move to new memory",
             {{"pool", pool->id()}, {"why", segments.status().ToString()}});
    return true;
  }
  pool->Rotate(*std::move(segments), sess_.mapping.base(), epoch.epoch, epoch.base_generation,
               options_.redeclare_grace_ns);
  obs::Log(obs::Level::kWarning, "a pool moved to new memory, because the old one was written to",
           {{"pool", pool->id()}, {"epoch", epoch.epoch}});
  return true;
}

}  // namespace leaseplane::plane
