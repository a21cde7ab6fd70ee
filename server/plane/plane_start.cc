// SPDX-License-Identifier: Apache-2.0
//
// How the worker comes up and goes down. Order: store, sessions, writer, pools, threads; the
// reverse on the way down.
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>

#include <chrono>
#include <set>
#include <thread>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "core/shm/fault_guard.h"
#include "server/obs/log.h"
#include "server/plane/daemon_plane.h"
#include "server/store/state_dir.h"

namespace leaseplane::plane {
namespace {

// Whoever has not heard yet that the segments are given up gets nothing there. What is held stays
// so, to be declared again.
void WithholdAll(const keeper::HeldPool& pool) {
  if (!pool.ctl.mapping) return;
  auto* bits = shm::At<RealMemory::U64>(pool.ctl.mapping.base(), shm::kPageBytes);
  for (uint64_t i = 0; i < (uint64_t{pool.max_capacity} + 63) / 64; ++i) {
    RealMemory::Store(bits[i], 0);
  }
}

int64_t UnixSeconds() { return obs::UnixNowNs() / engine::kSecond; }

void WaitUntilUnixSecond(int64_t unix_s) {
  while (UnixSeconds() < unix_s && unix_s - UnixSeconds() <= 2) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

}  // namespace

DaemonPlane::DaemonPlane(PlaneOptions options, keeper::Vault& vault)
    : options_(std::move(options)),
      vault_(vault),
      run_id_(ledger::FormatUuid(ledger::RandomUuid())),
      started_unix_ns_(obs::UnixNowNs()) {}

DaemonPlane::~DaemonPlane() {
  Stop().IgnoreError();
  writer_.reset();  // it asks the pools until it ends
  pools_.Clear();
}

absl::StatusOr<std::unique_ptr<DaemonPlane>> DaemonPlane::Start(PlaneOptions options,
                                                                keeper::Holdings& holdings,
                                                                keeper::Vault& vault) {
  // Not for SESS and the ledgers: without these the worker had better end.
  if (!shm::FaultGuard::Install()) return absl::ErrnoToStatus(errno, "cannot handle SIGBUS");
  std::unique_ptr<DaemonPlane> plane(new DaemonPlane(std::move(options), vault));
  plane->shared_ = holdings.shared;
  plane->worker_starts_ = holdings.starts;
  plane->listener_fd_ = std::move(holdings.listener);
  plane->lifeline_fd_ = std::move(holdings.lifeline_reader);
  absl::Status status = plane->OpenStore();
  if (!status.ok()) return status;
  plane->DiscardUnfinished(holdings);
  status = plane->OpenSessions(holdings);
  if (!status.ok()) return status;
  status = plane->StartPools(holdings);
  if (!status.ok()) return status;
  DaemonPlane* self = plane.get();
  plane->attach_->Start();
  plane->ticker_ = std::make_unique<Ticker>(plane->pools_,
                                            [self](int64_t now_ns) { self->NoteRecovery(now_ns); });
  plane->ticker_->Start();
  plane->StartUpkeep();
  return plane;
}

absl::Status DaemonPlane::OpenStore() {
  auto store = store::StateStore::Open(options_.state_dir, options_.store);
  if (!store.ok()) return store.status();
  store_ = *std::move(store);
  absl::StatusOr<ledger::Uuid> boot_id = ledger::ReadBootId();
  if (!boot_id.ok()) return boot_id.status();
  boot_id_ = *boot_id;
  auto last_run = store_->BeginRun(boot_id_, UnixSeconds());
  if (!last_run.ok()) return last_run.status();
  last_run_ = *last_run;
  // Another boot has no processes of ours, and a clean end without sessions left none.
  // Decided by the first worker: what the run before that one left.
  if (shared_->claims_possible.load() == 0) {
    const bool possible = last_run_.has_value() && last_run_->boot_id == boot_id_ &&
                          !(last_run_->clean && last_run_->local_sessions_at_stop == 0);
    shared_->claims_possible.store(possible ? 2 : 1);
  }
  claims_possible_ = shared_->claims_possible.load() == 2;
  store::StoreWriterOptions writer_options;
  writer_options.on_state_change = [this](const absl::Status& s) { StoreStateChanged(s); };
  writer_ = std::make_unique<store::StoreWriter>(store_.get(), std::move(writer_options));
  return absl::OkStatus();
}

// A worker that ended while re-declarations were being taken leaves words that do not say who holds
// what. Its segments are given up like those of a daemon that ended: the clients are hung up, come
// back, and declare again.
void DaemonPlane::DiscardUnfinished(keeper::Holdings& holdings) {
  if (shared_->recovering_until_ns.load() == 0) return;
  obs::Log(obs::Level::kWarning, "the worker before ended while it recovered; starting anew");
  // Sessions have come since the first worker started, and hold slots of pools that were not
  // recovering. Before anything is given up: a worker that dies in here has to know, too.
  shared_->claims_possible.store(2);
  claims_possible_ = true;
  if (holdings.sess.mapping) {
    attach::SessionTable table(shared_, holdings.sess.mapping.base());
    for (SessionIndex index = kOwnerSessionFirst; index < kOwnerCount; ++index) {
      if (table.record(index).stage.load() == keeper::SessionStage::kUnused) continue;
      const int connection = holdings.sessions[index].connection.get();
      if (connection >= 0) ::shutdown(connection, SHUT_RDWR);
      holdings.sessions[index] = {};
      vault_.DropSession(index).IgnoreError();
      table.SetStage(index, keeper::SessionStage::kUnused);
    }
  }
  holdings.sess = {};
  for (const auto& [handle, pool] : holdings.pools) {
    WithholdAll(pool);
    vault_.DropPool(handle).IgnoreError();
  }
  holdings.pools.clear();
}

absl::Status DaemonPlane::OpenSessions(keeper::Holdings& holdings) {
  uint64_t uid = holdings.sess_uid;
  if (holdings.sess.mapping && shm::IsPublished(holdings.sess.mapping.base())) {
    sess_ = std::move(holdings.sess);
  } else {
    uid = RandomWord();
    absl::StatusOr<UniqueFd> fd = shm::CreateSegment("leaseplane-sess", shm::kSessBytes);
    if (!fd.ok()) return fd.status();
    auto mapping = shm::Mapping::Map(fd->get(), shm::kSessBytes, shm::Access::kReadWrite,
                                     shm::InFork::kInherited);
    if (!mapping.ok()) return mapping.status();
    sess_ = {*std::move(fd), *std::move(mapping)};
    shm::FormatSess(sess_.mapping.base(), uid);
    absl::Status kept = vault_.AddSess(sess_.fd.get(), shm::kSessBytes, uid);
    if (!kept.ok()) return kept;
    shm::Publish(sess_.mapping.base());
  }
  if ((::fcntl(sess_.fd.get(), F_GET_SEALS) & F_SEAL_SEAL) == 0) {
    absl::Status sealed = shm::SealReadOnly(sess_.fd.get());
    if (!sealed.ok()) return sealed;
  }
  table_ = std::make_unique<attach::SessionTable>(shared_, sess_.mapping.base());
  sessions_ = std::make_unique<AttachedSessions>(*table_);
  bridge_ = std::make_unique<SessionBridge>(pools_, *table_, options_.access);
  attach::AttachOptions attach_options;
  attach_options.sessions_max = options_.sessions_max;
  attach_options.sessions_per_process_max = options_.sessions_per_process_max;
  attach_options.sessions_per_uid_max = options_.sessions_per_uid_max;
  attach_options.instance_id = store_->instance_id();
  attach_options.segment_uid = uid;
  attach_options.listener_fd = listener_fd_.get();
  attach_options.lifeline_fd = lifeline_fd_.get();
  attach_options.sess_fd = sess_.fd.get();
  attach_options.worker_starts = worker_starts_;
  attach_ =
      std::make_unique<attach::AttachServer>(std::move(attach_options), vault_, *table_, *bridge_);
  bridge_->set_attach(attach_.get());
  return attach_->Adopt(holdings.sessions);
}

std::vector<engine::PoolOptions> DaemonPlane::WantedPools(
    std::vector<engine::PoolOptions> stored) const {
  std::vector<engine::PoolOptions> wanted = options_.pools;
  std::set<std::string> ids;
  for (const engine::PoolOptions& pool : wanted) ids.insert(pool.id);
  for (engine::PoolOptions& pool : stored) {
    if (!ids.insert(pool.id).second) {
      obs::Log(obs::Level::kWarning, "the configuration replaces a pool made by the API",
               {{"pool", pool.id}});
      continue;
    }
    pool.from_api = true;
    wanted.push_back(std::move(pool));
  }
  for (engine::PoolOptions& pool : wanted) {
    if (pool.max_capacity == 0) pool.max_capacity = pool.capacity;
  }
  return wanted;
}

absl::Status DaemonPlane::StartPools(keeper::Holdings& holdings) {
  auto stored = store_->LoadPools();
  if (!stored.ok()) return stored.status();
  const std::vector<engine::PoolOptions> wanted = WantedPools(*std::move(stored));
  std::vector<std::string> ids;
  for (const engine::PoolOptions& pool : wanted) ids.push_back(pool.id);
  auto epochs = store_->BumpEpochs(ids, UnixSeconds());
  if (!epochs.ok()) return epochs.status();
  for (const auto& [id, epoch] : *epochs) WaitUntilUnixSecond(epoch.usable_from_unix_s);

  builder_ = std::make_unique<PoolBuilder>(BuilderContext{
      store_.get(), &vault_, sess_.mapping.base(), store::LedgerDir(options_.state_dir), boot_id_,
      last_run_, claims_possible_, options_.restart_grace_ns, options_.redeclare_grace_ns,
      options_.renumber_at, &shared_->recovering_until_ns,
      Outlets{attach_.get(), writer_.get(), &watchers_, &ids_, sessions_.get()}});
  listener_ = std::make_unique<ReleaseListener>();
  writer_->Start();

  std::map<std::string, uint32_t> held_handles;
  for (const auto& [handle, held] : holdings.pools) held_handles[held.id] = handle;
  std::set<uint32_t> taken;
  for (const auto& [handle, held] : holdings.pools) taken.insert(handle);
  obs::MutexLock admin(&admin_mu_);
  for (const engine::PoolOptions& options : wanted) {
    uint32_t handle = 0;
    std::optional<keeper::HeldPool> held;
    if (auto it = held_handles.find(options.id); it != held_handles.end()) {
      handle = it->second;
      held = std::move(holdings.pools.at(handle));
      holdings.pools.erase(handle);
    } else {
      while (taken.contains(handle)) ++handle;
      taken.insert(handle);
    }
    auto pool = builder_->Build(options, handle, epochs->at(options.id), std::move(held));
    if (pool.ok()) {
      AddPool(*pool);
      continue;
    }
    obs::Log(obs::Level::kError, "pool not started",
             {{"pool", options.id}, {"error", pool.status().ToString()}});
    obs::MutexLock lock(&failed_mu_);
    failed_pools_[options.id] = pool.status().ToString();
  }
  for (const auto& [handle, pool] : holdings.pools) {  // deleted while no worker ran
    table_->ForgetPool(handle);
    vault_.DropPool(handle).IgnoreError();
  }
  NoteRecovery(obs::BootNowNs());
  return absl::OkStatus();
}

void DaemonPlane::AddPool(const PoolPtr& pool) {
  writer_->AddPool(pool->id(), pool->options().durability, pool.get());
  if (writer_->failed()) StoreStateChanged(writer_->state());
  pools_.Add(pool);
  listener_->Add(pool);
}

void DaemonPlane::StoreStateChanged(const absl::Status& status) {
  obs::Log(status.ok() ? obs::Level::kInfo : obs::Level::kError,
           status.ok() ? "the store works again" : "the store refuses writes",
           {{"status", status.ToString()}});
  const engine::Reason reason = status.ok() ? engine::Reason::kNone : engine::Reason::kStoreFailed;
  for (const PoolPtr& pool : pools_.All()) {
    if (pool->options().durability == engine::Durability::kNone) continue;
    pool->Step([&](engine::PoolEngine& engine, engine::Instant now, engine::Actions& actions) {
      engine.SetRemoteRefusal(now, reason, actions);
    });
  }
}

// The next worker has to know whether this one was still taking re-declarations.
void DaemonPlane::NoteRecovery(int64_t) {
  obs::MutexLock lock(&recovery_mu_);
  int64_t until_ns = 0;
  for (const PoolPtr& pool : pools_.All()) {
    if (pool->is_recovering.load()) until_ns = std::max(until_ns, pool->recover_until_ns.load());
  }
  shared_->recovering_until_ns.store(until_ns);
}

void DaemonPlane::BeginDrain() {
  if (draining_.exchange(true)) return;
  bridge_->BeginDrain();
  for (const PoolPtr& pool : pools_.All()) {
    pool->Step([](engine::PoolEngine& engine, engine::Instant now, engine::Actions& actions) {
      engine.BeginDrain(now, engine::Reason::kDraining, actions);
    });
  }
  watchers_.Draining();
  attach::Message message{};
  message.kind = attach::Kind::kDraining;
  attach_->Broadcast(message);
}

absl::Status DaemonPlane::Stop() {
  if (stopped_) return absl::OkStatus();
  stopped_ = true;
  if (attach_) attach_->Stop();
  if (listener_) listener_->Stop();
  if (upkeep_) upkeep_->Stop();
  if (ticker_) ticker_->Stop();
  if (!draining_.load() || !writer_) {
    writer_.reset();
    return absl::OkStatus();
  }
  const uint32_t sessions = attach_->session_count();
  for (const PoolPtr& pool : pools_.All()) pool->HandOverAll();
  absl::Status status = writer_->Drain(boot_id_, sessions, UnixSeconds());
  if (status.ok()) {
    for (const PoolPtr& pool : pools_.All()) pool->MarkLedgerClean();
  }
  return status;
}

}  // namespace leaseplane::plane
