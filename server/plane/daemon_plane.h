// SPDX-License-Identifier: Apache-2.0
//
// DaemonPlane: the Plane of the daemon's worker. Puts store, segments, sessions, pools and threads
// together, and takes them apart again.
//
// Owner: the composition root. Threads: every Plane method from any thread; Start, BeginDrain and
// Stop from the one that owns it. Errors: Start says what is wrong in words for an operator; after
// that a failing pool, disk or client is its own trouble only.
// CreatePool, DeletePool, DrainPool and ResumePool write to the disk before they answer; nothing
// else waits for it.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "server/attach/attach_server.h"
#include "server/keeper/holdings.h"
#include "server/obs/metrics/figures.h"
#include "server/plane/engine_ports.h"
#include "server/plane/lease_watchers.h"
#include "server/plane/plane.h"
#include "server/plane/pool_builder.h"
#include "server/plane/pool_map.h"
#include "server/plane/pool_upkeep.h"
#include "server/plane/release_listener.h"
#include "server/plane/session_bridge.h"
#include "server/plane/ticker.h"
#include "server/security/access.h"
#include "server/store/state_store.h"
#include "server/store/store_writer.h"

namespace leaseplane::plane {

struct PlaneOptions {
  std::string version;
  std::string state_dir;  // locked, with its folders
  store::StoreOptions store;
  std::vector<engine::PoolOptions> pools;  // of the configuration
  int64_t restart_grace_ns = 15 * engine::kSecond;
  int64_t redeclare_grace_ns = 10 * engine::kSecond;
  uint32_t sessions_max = 1'024;
  uint32_t sessions_per_process_max = 0;             // 0: no limit
  uint32_t sessions_per_uid_max = 0;                 // 0: no limit
  Generation renumber_at = kGrantableGenerationMax;  // lower for tests
  int64_t epoch_stock = EpochRation::kStock;         // likewise
  security::AccessPolicy access;  // of local processes; remote callers are the rpc layer's
};

class DaemonPlane final : public Plane {
 public:
  // Brings everything up, from `holdings` where a worker before left it there. `vault` outlives
  // the plane. FAILED_PRECONDITION: starting again will not help.
  static absl::StatusOr<std::unique_ptr<DaemonPlane>> Start(PlaneOptions options,
                                                            keeper::Holdings& holdings,
                                                            keeper::Vault& vault);
  ~DaemonPlane() override;

  // No new grants; waiters, streams and sessions are told.
  void BeginDrain();
  // Threads end, everything is written. OK: the next start finds a clean end. Idempotent.
  absl::Status Stop();

  obs::DaemonFigures Figures() const;

  // Pools of the configuration that are new, and rules of pools that are there (what may change:
  // PoolEngine::ChangeRules). All or, with an error, nothing.
  absl::Status ApplyPools(const std::vector<engine::PoolOptions>& added,
                          const std::vector<engine::PoolOptions>& changed);
  // Limits of sessions from now on; 0: none.
  void SetSessionLimits(uint32_t per_process_max, uint32_t per_uid_max);

  ServerInfo Info() const override;
  Readiness readiness() const override;
  bool live() const override;
  int64_t NowNs() const override { return obs::BootNowNs(); }
  uint64_t Acquire(const std::string& pool, engine::AcquireRequest request, int64_t received_at_ns,
                   std::shared_ptr<AcquireListener> listener) override;
  void Cancel(const std::string& pool, uint64_t ticket) override;
  void EndWait(const std::string& pool, uint64_t ticket, engine::Reason reason) override;
  Result<engine::QueueState> QueuePosition(const std::string& pool, uint64_t ticket) override;
  void Abandon(const std::string& pool, const engine::Grant& grant) override;
  void Renew(const std::string& pool, const engine::HolderRef& holder, int64_t ttl_ns,
             int64_t received_at_ns, RenewFn reply) override;
  void Release(const std::string& pool, const engine::HolderRef& holder, bool allow_missing,
               DoneFn reply) override;
  Result<engine::LeaseInfo> GetLease(const std::string& pool, const engine::LeaseId& id) override;
  Result<engine::LeaseInfo> GetLocalLease(const std::string& pool, SlotIndex slot,
                                          FencingToken token) override;
  Result<std::vector<engine::LeaseInfo>> ListLeases(const std::string& pool, SlotIndex first_slot,
                                                    uint32_t count_max) override;
  Result<engine::TokenCheck> CheckToken(const std::string& pool, SlotIndex slot,
                                        FencingToken token) override;
  void Watch(LeaseWatcher* watcher) override { watchers_.Watch(watcher); }
  void WatchLease(LeaseWatcher* watcher, const std::string& pool,
                  const engine::LeaseId& id) override;
  void HearWaiting(LeaseWatcher* watcher) override { watchers_.HearWaiting(watcher); }
  void Unwatch(LeaseWatcher* watcher) override { watchers_.Unwatch(watcher); }
  Result<PoolInfo> CreatePool(engine::PoolOptions options) override;
  Result<PoolInfo> GetPool(const std::string& pool) override;
  std::vector<PoolInfo> ListPools() override;
  Result<Done> DeletePool(const std::string& pool, bool force) override;
  Result<PoolInfo> DrainPool(const std::string& pool, const std::string& reason) override;
  Result<PoolInfo> ResumePool(const std::string& pool) override;
  Result<std::vector<engine::SlotInfo>> ListSlots(const std::string& pool, SlotIndex first_slot,
                                                  uint32_t count_max) override;
  Result<engine::SlotInfo> LockSlot(const std::string& pool, SlotIndex slot,
                                    const std::string& reason) override;
  Result<engine::SlotInfo> UnlockSlot(const std::string& pool, SlotIndex slot) override;
  Result<engine::LeaseInfo> Revoke(const std::string& pool, const engine::LeaseId& id,
                                   int64_t grace_ns, const std::string& reason) override;
  Result<engine::LeaseInfo> RevokeLocal(const std::string& pool, SlotIndex slot, FencingToken token,
                                        int64_t grace_ns, const std::string& reason) override;
  Result<std::vector<engine::WaiterInfo>> ListWaiters(const std::string& pool) override;
  Result<Done> CancelWaiter(const std::string& pool, uint64_t ticket) override;

 private:
  DaemonPlane(PlaneOptions options, keeper::Vault& vault);

  // -- plane_start.cc
  absl::Status OpenStore();
  void DiscardUnfinished(keeper::Holdings& holdings);
  absl::Status OpenSessions(keeper::Holdings& holdings);
  absl::Status StartPools(keeper::Holdings& holdings);
  std::vector<engine::PoolOptions> WantedPools(std::vector<engine::PoolOptions> stored) const;
  void AddPool(const PoolPtr& pool);
  void StoreStateChanged(const absl::Status& status);
  void NoteRecovery(int64_t now_ns);
  // -- plane_upkeep.cc
  void StartUpkeep();
  bool RenumberPool(const PoolPtr& pool);
  bool RotatePool(const PoolPtr& pool);
  // -- pool_admin.cc
  std::optional<engine::Refusal> CheckNewPool(const engine::PoolOptions& options);
  std::optional<uint32_t> FreeHandle() const;
  absl::StatusOr<PoolPtr> BuildPool(const engine::PoolOptions& options);
  std::optional<engine::Refusal> EmptyPool(PoolRuntime& pool, bool force);
  static void CloseForGood(PoolRuntime& pool);
  absl::Status RemovePool(const PoolPtr& pool);

  engine::Refusal NoSuchPool(const std::string& pool) const;
  template <class T, class Body>
  Result<T> StepIn(const std::string& pool, Body&& body);
  template <class T, class Body>
  Result<T> ViewIn(const std::string& pool, Body&& body);
  static PoolInfo Describe(PoolRuntime& pool);

  PlaneOptions options_;
  keeper::Vault& vault_;
  const std::string run_id_;
  const int64_t started_unix_ns_;

  // Made by Start, in this order; destroyed in the reverse one.
  std::unique_ptr<store::StateStore> store_;
  ledger::Uuid boot_id_;
  std::optional<store::RunMarker> last_run_;
  bool claims_possible_ = false;
  keeper::SharedBlock* shared_ = nullptr;
  keeper::HeldSegment sess_;
  UniqueFd listener_fd_, lifeline_fd_;
  uint64_t worker_starts_ = 0;
  KernelIds ids_;
  LeaseWatchers watchers_;
  PoolMap pools_;
  std::unique_ptr<attach::SessionTable> table_;
  std::unique_ptr<AttachedSessions> sessions_;
  std::unique_ptr<SessionBridge> bridge_;
  std::unique_ptr<attach::AttachServer> attach_;
  std::unique_ptr<store::StoreWriter> writer_;
  std::unique_ptr<PoolBuilder> builder_;
  std::unique_ptr<ReleaseListener> listener_;
  std::unique_ptr<Ticker> ticker_;
  std::unique_ptr<PoolUpkeep> upkeep_;

  std::atomic<bool> draining_{false};
  bool stopped_ = false;

  obs::Mutex recovery_mu_;  // SharedBlock::recovering_until_ns says what the pools say
  obs::Mutex admin_mu_;     // one change of the set of pools at a time; before any pool's lock
  mutable obs::Mutex failed_mu_;
  std::map<std::string, std::string> failed_pools_ ABSL_GUARDED_BY(failed_mu_);  // id: why
};

}  // namespace leaseplane::plane
