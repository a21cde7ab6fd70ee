// SPDX-License-Identifier: Apache-2.0
//
// Pools that come and go while the daemon runs. The store knows of a pool before anybody is
// answered, and has forgotten it before its segments go.
#include <chrono>
#include <thread>

#include "absl/strings/str_cat.h"
#include "server/obs/log.h"
#include "server/plane/daemon_plane.h"
#include "server/store/state_dir.h"

namespace leaseplane::plane {

using engine::Reason;
using engine::Refusal;

namespace {

Refusal Refuse(Reason reason, std::string field, std::string text) {
  Refusal refusal;
  refusal.reason = reason;
  refusal.field = std::move(field);
  refusal.text = std::move(text);
  return refusal;
}

Refusal FromStore(const absl::Status& status) {
  const bool is_disk = absl::IsUnavailable(status) || absl::IsResourceExhausted(status);
  return Refuse(is_disk ? Reason::kStoreFailed : Reason::kFailedPrecondition, "",
                std::string(status.message()));
}

constexpr int kCloseRoundsMax = 100;

int64_t UnixSeconds() { return obs::UnixNowNs() / engine::kSecond; }

}  // namespace

std::optional<Refusal> DaemonPlane::CheckNewPool(const engine::PoolOptions& options) {
  if (draining_.load()) return Refuse(Reason::kDraining, "", "the daemon is shutting down");
  if (options.id.empty() || options.id.size() > engine::kPoolIdBytesMax) {
    return Refuse(Reason::kInvalidArgument, "pool_id",
                  absl::StrCat("valid: 1 to ", engine::kPoolIdBytesMax, " bytes"));
  }
  if (options.capacity == 0 || options.capacity > options.max_capacity ||
      options.max_capacity > kCapacityMax) {
    return Refuse(Reason::kInvalidArgument, "pool.capacity",
                  absl::StrCat("valid: 1 to max_capacity, which is at most ", kCapacityMax));
  }
  obs::MutexLock lock(&failed_mu_);
  if (pools_.Find(options.id) || failed_pools_.contains(options.id)) {
    return Refuse(Reason::kAlreadyExists, "pool_id",
                  absl::StrCat("pool ", options.id, " exists already"));
  }
  return std::nullopt;
}

std::optional<uint32_t> DaemonPlane::FreeHandle() const {
  for (uint32_t handle = 0; handle < keeper::kPoolHandleCount; ++handle) {
    if (!pools_.FindHandle(handle)) return handle;
  }
  return std::nullopt;
}

// A pool that nobody sees yet.
absl::StatusOr<PoolPtr> DaemonPlane::BuildPool(const engine::PoolOptions& options) {
  const std::optional<uint32_t> handle = FreeHandle();
  if (!handle) return absl::FailedPreconditionError("the daemon has no room for a pool");
  auto epochs = store_->BumpEpochs({options.id}, UnixSeconds());
  if (!epochs.ok()) return epochs.status();
  const store::PoolEpoch epoch = epochs->at(options.id);
  if (options.from_api) {
    absl::Status stored = store_->PutPool(options, UnixSeconds());
    if (!stored.ok()) return stored;
  }
  // A pool the store did not know grants nothing in the second it was numbered in.
  while (UnixSeconds() < epoch.usable_from_unix_s &&
         epoch.usable_from_unix_s <= UnixSeconds() + 2) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  auto pool = builder_->Build(options, *handle, epoch, std::nullopt);
  if (!pool.ok() && options.from_api) store_->ErasePool(options.id).IgnoreError();
  return pool;
}

Result<PoolInfo> DaemonPlane::CreatePool(engine::PoolOptions options) {
  obs::MutexLock admin(&admin_mu_);
  options.from_api = true;
  if (options.max_capacity == 0) options.max_capacity = options.capacity;
  if (std::optional<Refusal> refusal = CheckNewPool(options)) return *refusal;
  auto pool = BuildPool(options);
  if (!pool.ok()) return FromStore(pool.status());
  AddPool(*pool);
  obs::Log(obs::Level::kInfo, "pool created",
           {{"pool", options.id}, {"capacity", options.capacity}});
  return Describe(**pool);
}

// After this nothing is granted in the pool any more. Refused if it is in use and `force` is not
// set; decided and done in one step, so that no lease slips in between.
std::optional<Refusal> DaemonPlane::EmptyPool(PoolRuntime& pool, bool force) {
  return pool.Step([&](engine::PoolEngine& engine, engine::Instant now,
                       engine::Actions& actions) -> std::optional<Refusal> {
    const engine::PoolCounts counts = engine.Counts();
    const uint32_t busy = counts.busy_local + counts.busy_remote;
    if (!force && (busy != 0 || counts.waiters != 0)) {
      return Refuse(Reason::kFailedPrecondition, "force",
                    absl::StrCat("pool ", pool.id(), " has ", busy, " leases and ", counts.waiters,
                                 " waiters"));
    }
    engine.BeginDrain(now, Reason::kNotFound, actions);
    engine.RevokeAll(now, actions);  // also what a client took since the count
    return std::nullopt;
  });
}

// Clients may keep the mapping of a pool that is gone, and would soon ignore its gate because its
// heart stands still. Without grant bits they get nothing from it. Taking a slot back sets its bit,
// so it is done until nothing had to be taken back.
void DaemonPlane::CloseForGood(PoolRuntime& pool) {
  const MemoryPtr memory = pool.memory();
  const PoolWords<RealMemory>& words = memory->words;
  pool.is_closed.store(true);
  for (int round = 0; round < kCloseRoundsMax; ++round) {
    for (uint32_t i = 0; i < (words.max_capacity + 63) / 64; ++i) {
      RealMemory::Store(words.grant_bits[i], 0);
    }
    const bool is_empty =
        pool.Step([](engine::PoolEngine& engine, engine::Instant now, engine::Actions& actions) {
          const engine::PoolCounts counts = engine.Counts();
          if (counts.busy_local + counts.busy_remote == 0) return true;
          engine.RevokeAll(now, actions);
          return false;
        });
    if (is_empty) return;
  }
}

absl::Status DaemonPlane::RemovePool(const PoolPtr& pool) {
  writer_->RemovePool(pool->id());
  absl::Status erased = store_->ErasePool(pool->id());
  if (!erased.ok()) return erased;
  listener_->Remove(pool);
  pools_.Remove(pool);
  CloseForGood(*pool);
  table_->ForgetPool(pool->handle());
  const std::string ledger_dir = store::LedgerDir(options_.state_dir);
  absl::Status removed = ledger::MappedLedger::Remove(ledger_dir, pool->id());
  absl::Status dropped = vault_.DropPool(pool->handle());
  if (!removed.ok() || !dropped.ok()) {
    obs::Log(
        obs::Level::kWarning, "something of a deleted pool is left",
        {{"pool", pool->id()}, {"ledger", removed.ToString()}, {"segments", dropped.ToString()}});
  }
  return absl::OkStatus();
}

Result<Done> DaemonPlane::DeletePool(const std::string& id, bool force) {
  obs::MutexLock admin(&admin_mu_);
  PoolPtr pool = pools_.Find(id);
  if (!pool) return NoSuchPool(id);
  if (!pool->options().from_api) {
    return Refuse(Reason::kFailedPrecondition, "name",
                  absl::StrCat("pool ", id, " is defined in the daemon's configuration"));
  }
  if (std::optional<Refusal> refusal = EmptyPool(*pool, force)) return *refusal;
  absl::Status removed = RemovePool(pool);
  if (!removed.ok()) return FromStore(removed);
  obs::Log(obs::Level::kInfo, "pool deleted", {{"pool", id}});
  return Done{};
}

// Written down first: a successor of a worker that dies in between carries on with it.
Result<PoolInfo> DaemonPlane::DrainPool(const std::string& id, const std::string& reason) {
  obs::MutexLock admin(&admin_mu_);
  PoolPtr pool = pools_.Find(id);
  if (!pool) return NoSuchPool(id);
  absl::Status stored = store_->PutDrain(id, reason);
  if (!stored.ok()) return FromStore(stored);
  pool->Step([&](engine::PoolEngine& engine, engine::Instant now, engine::Actions& actions) {
    engine.DrainPool(now, reason, actions);
  });
  pool->TellWaiting(obs::BootNowNs());
  obs::Log(obs::Level::kInfo, "pool drained", {{"pool", id}, {"why", reason}});
  return Describe(*pool);
}

Result<PoolInfo> DaemonPlane::ResumePool(const std::string& id) {
  obs::MutexLock admin(&admin_mu_);
  PoolPtr pool = pools_.Find(id);
  if (!pool) return NoSuchPool(id);
  absl::Status stored = store_->PutDrain(id, std::nullopt);
  if (!stored.ok()) return FromStore(stored);
  pool->Step([&](engine::PoolEngine& engine, engine::Instant now, engine::Actions& actions) {
    engine.ResumePool(now, actions);
  });
  obs::Log(obs::Level::kInfo, "pool resumed", {{"pool", id}});
  return Describe(*pool);
}

}  // namespace leaseplane::plane
