// SPDX-License-Identifier: Apache-2.0
#include "server/plane/daemon_plane.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "server/engine/refusals.h"
#include "server/obs/log.h"

namespace leaseplane::plane {

using engine::Actions;
using engine::Instant;
using engine::LeaseInfo;
using engine::PoolEngine;
using engine::Reason;
using engine::Refusal;

Refusal DaemonPlane::NoSuchPool(const std::string& pool) const {
  Refusal refusal;
  obs::MutexLock lock(&failed_mu_);
  if (auto it = failed_pools_.find(pool); it != failed_pools_.end()) {
    refusal.reason = Reason::kFailedPrecondition;
    refusal.text = absl::StrCat("pool ", pool, " could not be started: ", it->second);
    return refusal;
  }
  refusal.reason = Reason::kNotFound;
  refusal.field = "pool";
  refusal.text = absl::StrCat("there is no pool named ", pool);
  return refusal;
}

template <class T, class Body>
Result<T> DaemonPlane::StepIn(const std::string& pool, Body&& body) {
  PoolPtr found = pools_.Find(pool);
  if (!found) return NoSuchPool(pool);
  return found->Step([&](PoolEngine& engine, Instant now, Actions& actions) -> Result<T> {
    return body(engine, now, actions);
  });
}

template <class T, class Body>
Result<T> DaemonPlane::ViewIn(const std::string& pool, Body&& body) {
  PoolPtr found = pools_.Find(pool);
  if (!found) return NoSuchPool(pool);
  return found->View(
      [&](PoolEngine& engine, Instant now) -> Result<T> { return body(engine, now); });
}

ServerInfo DaemonPlane::Info() const {
  return {options_.version, store_->instance_id(), run_id_, started_unix_ns_};
}

Readiness DaemonPlane::readiness() const {
  if (draining_.load()) return Readiness::kDraining;
  bool needs_store = false;
  for (const PoolPtr& pool : pools_.All()) {
    if (pool->is_recovering.load()) return Readiness::kRecovering;
    needs_store |= pool->options().durability != engine::Durability::kNone;
  }
  return needs_store && writer_->failed() ? Readiness::kStoreFailed : Readiness::kServing;
}

bool DaemonPlane::live() const { return ticker_->is_moving(NowNs()); }

uint64_t DaemonPlane::Acquire(const std::string& pool, engine::AcquireRequest request,
                              int64_t received_at_ns, std::shared_ptr<AcquireListener> listener) {
  if (PoolPtr found = pools_.Find(pool)) {
    return found->Acquire(std::move(request), received_at_ns, std::move(listener));
  }
  listener->OnRefused(NoSuchPool(pool));
  return 0;
}

void DaemonPlane::Cancel(const std::string& pool, uint64_t ticket) {
  if (PoolPtr found = pools_.Find(pool)) found->Cancel(ticket);
}

void DaemonPlane::EndWait(const std::string& pool, uint64_t ticket, Reason reason) {
  if (PoolPtr found = pools_.Find(pool)) {
    found->Step([&](PoolEngine& engine, Instant now, Actions& actions) {
      engine.EndWait(now, ticket, reason, actions);
    });
  }
}

Result<engine::QueueState> DaemonPlane::QueuePosition(const std::string& pool, uint64_t ticket) {
  PoolPtr found = pools_.Find(pool);
  if (!found) return NoSuchPool(pool);
  return found->QueuePosition(ticket);
}

void DaemonPlane::Abandon(const std::string& pool, const engine::Grant& grant) {
  if (PoolPtr found = pools_.Find(pool)) {
    found->Step([&](PoolEngine& engine, Instant now, Actions& actions) {
      engine.Abandon(now, grant, actions);
    });
  }
}

namespace {

Refusal StoreFailed(const absl::Status& status) {
  Refusal refusal;
  refusal.reason = Reason::kStoreFailed;
  refusal.text = absl::StrCat("not written to the store: ", status.ToString());
  refusal.retry_after_ns = engine::kSecond;
  return refusal;
}

}  // namespace

void DaemonPlane::Renew(const std::string& pool, const engine::HolderRef& holder, int64_t ttl_ns,
                        int64_t received_at_ns, RenewFn reply) {
  PoolPtr found = pools_.Find(pool);
  if (!found) return reply(NoSuchPool(pool));
  auto answer = found->Step([&](PoolEngine& engine, Instant now, Actions& actions) {
    return engine.Renew(now, received_at_ns, holder, ttl_ns, actions);
  });
  if (auto* refusal = std::get_if<Refusal>(&answer)) return reply(std::move(*refusal));
  auto& renewed = std::get<engine::Renewed>(answer);
  if (renewed.commit_seq == 0) return reply(std::move(renewed.result));
  found->WhenDurable(
      renewed.commit_seq,
      [reply = std::move(reply), result = std::move(renewed.result)](const absl::Status& status) {
        if (status.ok()) return reply(result);
        reply(StoreFailed(status));
      });
}

void DaemonPlane::Release(const std::string& pool, const engine::HolderRef& holder,
                          bool allow_missing, DoneFn reply) {
  PoolPtr found = pools_.Find(pool);
  if (!found) return reply(NoSuchPool(pool));
  auto answer = found->Step([&](PoolEngine& engine, Instant now, Actions& actions) {
    return engine.Release(now, holder, allow_missing, actions);
  });
  if (auto* refusal = std::get_if<Refusal>(&answer)) return reply(std::move(*refusal));
  const uint64_t commit_seq = std::get<engine::Released>(answer).commit_seq;
  if (commit_seq == 0) return reply(Done{});
  found->WhenDurable(commit_seq, [reply = std::move(reply)](const absl::Status& status) {
    if (status.ok()) return reply(Done{});
    reply(StoreFailed(status));
  });
}

Result<LeaseInfo> DaemonPlane::GetLease(const std::string& pool, const engine::LeaseId& id) {
  return ViewIn<LeaseInfo>(
      pool, [&](PoolEngine& engine, Instant now) { return engine.GetLease(now, id); });
}

Result<LeaseInfo> DaemonPlane::GetLocalLease(const std::string& pool, SlotIndex slot,
                                             FencingToken token) {
  return ViewIn<LeaseInfo>(pool, [&](PoolEngine& engine, Instant now) {
    return engine.GetLocalLease(now, slot, token);
  });
}

Result<std::vector<LeaseInfo>> DaemonPlane::ListLeases(const std::string& pool,
                                                       SlotIndex first_slot, uint32_t count_max) {
  return ViewIn<std::vector<LeaseInfo>>(pool, [&](PoolEngine& engine, Instant now) {
    return engine.ListLeases(now, first_slot, count_max);
  });
}

Result<engine::TokenCheck> DaemonPlane::CheckToken(const std::string& pool, SlotIndex slot,
                                                   FencingToken token) {
  return ViewIn<engine::TokenCheck>(
      pool, [&](PoolEngine& engine, Instant) { return engine.CheckToken(slot, token); });
}

void DaemonPlane::WatchLease(LeaseWatcher* watcher, const std::string& pool,
                             const engine::LeaseId& id) {
  watchers_.WatchLease(watcher, id);  // ids are unique over all pools
  // What happened before is said now; what happens in between is said twice.
  const Result<LeaseInfo> result = GetLease(pool, id);
  const auto* lease = std::get_if<LeaseInfo>(&result);
  if (lease == nullptr) {
    const engine::Reason reason = std::get<engine::Refusal>(result).reason;
    if (reason == engine::Reason::kNotFound) watchers_.Lost(pool, id, reason);
  } else if (lease->state != engine::LeaseState::kActive) {
    watchers_.Lost(pool, id, engine::RefuseEnded(lease->state, 0).reason);
  } else if (lease->revoke_in_ns > 0) {
    watchers_.RevokeRequested(pool, id, lease->revoke_in_ns);
  }
}

PoolInfo DaemonPlane::Describe(PoolRuntime& pool) {
  PoolInfo info;
  info.options = pool.options();
  info.epoch = pool.epoch();
  pool.View([&](PoolEngine& engine, Instant) {
    info.state = engine.state();
    info.counts = engine.Counts();
    info.stats = engine.stats();
    info.drain_reason = engine.drain_reason();
  });
  return info;
}

Result<PoolInfo> DaemonPlane::GetPool(const std::string& pool) {
  PoolPtr found = pools_.Find(pool);
  if (!found) return NoSuchPool(pool);
  return Describe(*found);
}

std::vector<PoolInfo> DaemonPlane::ListPools() {
  std::vector<PoolInfo> list;
  for (const PoolPtr& pool : pools_.AllById()) list.push_back(Describe(*pool));
  return list;
}

Result<std::vector<engine::SlotInfo>> DaemonPlane::ListSlots(const std::string& pool,
                                                             SlotIndex first_slot,
                                                             uint32_t count_max) {
  return ViewIn<std::vector<engine::SlotInfo>>(pool, [&](PoolEngine& engine, Instant now) {
    return engine.ListSlots(now, first_slot, count_max);
  });
}

Result<engine::SlotInfo> DaemonPlane::LockSlot(const std::string& pool, SlotIndex slot,
                                               const std::string& reason) {
  return StepIn<engine::SlotInfo>(pool, [&](PoolEngine& engine, Instant now, Actions& actions) {
    return engine.LockSlot(now, slot, reason, actions);
  });
}

Result<engine::SlotInfo> DaemonPlane::UnlockSlot(const std::string& pool, SlotIndex slot) {
  return StepIn<engine::SlotInfo>(pool, [&](PoolEngine& engine, Instant now, Actions& actions) {
    return engine.UnlockSlot(now, slot, actions);
  });
}

Result<LeaseInfo> DaemonPlane::Revoke(const std::string& pool, const engine::LeaseId& id,
                                      int64_t grace_ns, const std::string& reason) {
  auto answer = StepIn<LeaseInfo>(pool, [&](PoolEngine& engine, Instant now, Actions& actions) {
    return engine.Revoke(now, id, grace_ns, actions);
  });
  if (const auto* lease = std::get_if<LeaseInfo>(&answer)) {
    obs::Log(obs::Level::kInfo, "lease revoked",
             {{"pool", pool}, {"slot", lease->slot}, {"token", lease->token}, {"why", reason}});
  }
  return answer;
}

Result<LeaseInfo> DaemonPlane::RevokeLocal(const std::string& pool, SlotIndex slot,
                                           FencingToken token, int64_t grace_ns,
                                           const std::string& reason) {
  auto answer = StepIn<LeaseInfo>(pool, [&](PoolEngine& engine, Instant now, Actions& actions) {
    return engine.RevokeLocal(now, slot, token, grace_ns, actions);
  });
  if (std::holds_alternative<LeaseInfo>(answer)) {
    obs::Log(obs::Level::kInfo, "lease revoked",
             {{"pool", pool}, {"slot", slot}, {"token", token}, {"why", reason}});
  }
  return answer;
}

Result<std::vector<engine::WaiterInfo>> DaemonPlane::ListWaiters(const std::string& pool) {
  return ViewIn<std::vector<engine::WaiterInfo>>(
      pool, [&](PoolEngine& engine, Instant now) { return engine.ListWaiters(now); });
}

Result<Done> DaemonPlane::CancelWaiter(const std::string& pool, uint64_t ticket) {
  return StepIn<Done>(pool, [&](PoolEngine& engine, Instant now, Actions& actions) -> Result<Done> {
    auto answer = engine.CancelWaiter(now, ticket, actions);
    if (auto* refusal = std::get_if<Refusal>(&answer)) return *refusal;
    return Done{};
  });
}

obs::DaemonFigures DaemonPlane::Figures() const {
  obs::DaemonFigures figures;
  for (const PoolPtr& pool : pools_.AllById()) {
    obs::PoolFigures& entry = figures.pools.emplace_back();
    entry.id = pool->id();
    entry.histograms = pool->histograms();
    entry.epoch = pool->epoch();
    pool->View([&](PoolEngine& engine, Instant now) {
      entry.state = engine.state();
      entry.is_drained = engine.drain_reason().has_value();
      entry.counts = engine.Counts();
      entry.stats = engine.stats();
      entry.first_waited_ns = std::max<int64_t>(now.boot_ns - entry.counts.first_waits_since_ns, 0);
    });
  }
  {
    obs::MutexLock lock(&failed_mu_);
    figures.pools_not_started = static_cast<uint32_t>(failed_pools_.size());
  }
  const Readiness now = readiness();
  figures.unready = {{"recovering", now == Readiness::kRecovering},
                     {"draining", now == Readiness::kDraining},
                     {"store_failed", now == Readiness::kStoreFailed}};
  figures.sessions = attach_->session_count();
  figures.sessions_lingering = attach_->lingering_count();
  figures.sessions_limit = options_.sessions_max;
  figures.sessions_ended = attach_->sessions_ended();
  for (int i = 0; i < attach::kRejectionCount; ++i) {
    const auto rejection = static_cast<attach::Rejection>(i);
    figures.attach_rejected.emplace_back(attach::RejectionName(rejection),
                                         attach_->rejected(rejection));
  }
  figures.worker_starts = worker_starts_;
  figures.tick_lag = &ticker_->lag();
  figures.store_lag_seconds = absl::ToDoubleSeconds(writer_->lag());
  figures.store_failed = writer_->failed();
  return figures;
}

}  // namespace leaseplane::plane
