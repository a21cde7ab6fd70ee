// SPDX-License-Identifier: Apache-2.0
//
// FakePlane: a Plane whose answers a test sets and whose calls a test reads. Acquire parks a
// request that may wait until the test grants or refuses it.
//
// Threads: any; the answers are set before the call that reads them.
#pragma once

#include <absl/base/thread_annotations.h>
#include <absl/synchronization/mutex.h>
#include <absl/time/time.h>

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "server/plane/plane.h"

namespace leaseplane::rpc {

inline engine::Refusal Refuse(engine::Reason reason, std::string text = "said by the plane",
                              std::string field = {}) {
  engine::Refusal refusal;
  refusal.reason = reason;
  refusal.text = std::move(text);
  refusal.field = std::move(field);
  return refusal;
}

// A lease of slot 3 with token 77, 9 s left of 10.
engine::LeaseInfo SomeLease();
engine::Grant SomeGrant();

class FakePlane final : public plane::Plane {
 public:
  struct Parked {
    std::string pool;
    engine::AcquireRequest request;
    std::shared_ptr<plane::AcquireListener> listener;
  };
  struct RenewCall {
    std::string pool;
    engine::HolderRef holder;
    int64_t ttl_ns = 0;
    RenewFn reply;  // only if is_renew_held
  };

  // -- what it answers
  std::optional<engine::Refusal> refusal;  // every method that can refuse does, if set
  std::string only_holder;                 // if set, Renew and Release refuse everybody else
  bool is_slot_free = false;               // Acquire grants at once
  bool gives_ticket = false;               // what Acquire grants at once has a ticket too
  bool are_leases_new = false;             // each grant is of a lease of its own
  bool is_throwing = false;                // Acquire and GetLease throw
  bool is_renew_held = false;              // Renew keeps its reply for the test
  bool is_renew_dropped = false;           // Renew loses its reply
  std::vector<plane::PoolInfo> pools;
  std::map<std::string, std::vector<engine::LeaseInfo>> leases;
  std::vector<engine::SlotInfo> slots;
  std::vector<engine::WaiterInfo> waiters;
  std::atomic<plane::Readiness> readiness_now{plane::Readiness::kServing};
  std::atomic<bool> is_live{true};
  std::atomic<bool> is_lease_expired{false};  // GetLease says so of each
  std::atomic<uint32_t> position{1};

  // -- what a test does and reads
  // Waits until `count` requests are parked and returns their tickets; empty if they never come.
  std::vector<uint64_t> AwaitParked(size_t count);
  Parked Take(uint64_t ticket);  // off the queue, as the engine does before it answers
  static bool Await(const std::function<bool()>& condition);  // until true, or a minute has gone

  std::vector<engine::AcquireRequest> acquired() const;
  std::vector<uint64_t> cancelled() const;
  int abandoned_count() const;
  std::vector<RenewCall> renewals() const;
  std::vector<std::string> notes() const;  // other calls, as text
  size_t watcher_count() const;
  std::set<std::string> watched() const;  // "pool/lo"
  void ForEachWatcher(const std::function<void(plane::LeaseWatcher*)>& visit);

  // -- plane::Plane
  plane::ServerInfo Info() const override;
  plane::Readiness readiness() const override { return readiness_now; }
  bool live() const override { return is_live; }
  int64_t NowNs() const override;
  uint64_t Acquire(const std::string& pool, engine::AcquireRequest request, int64_t received_at_ns,
                   std::shared_ptr<plane::AcquireListener> listener) override;
  void Cancel(const std::string& pool, uint64_t ticket) override;
  void EndWait(const std::string& pool, uint64_t ticket, engine::Reason reason) override;
  plane::Result<engine::QueueState> QueuePosition(const std::string& pool,
                                                  uint64_t ticket) override;
  void Abandon(const std::string& pool, const engine::Grant& grant) override;
  void Renew(const std::string& pool, const engine::HolderRef& holder, int64_t ttl_ns,
             int64_t received_at_ns, RenewFn reply) override;
  void Release(const std::string& pool, const engine::HolderRef& holder, bool allow_missing,
               DoneFn reply) override;
  plane::Result<engine::LeaseInfo> GetLease(const std::string& pool,
                                            const engine::LeaseId& id) override;
  plane::Result<engine::LeaseInfo> GetLocalLease(const std::string& pool, SlotIndex slot,
                                                 FencingToken token) override;
  plane::Result<std::vector<engine::LeaseInfo>> ListLeases(const std::string& pool,
                                                           SlotIndex first_slot,
                                                           uint32_t count_max) override;
  plane::Result<engine::TokenCheck> CheckToken(const std::string& pool, SlotIndex slot,
                                               FencingToken token) override;
  void Watch(plane::LeaseWatcher* watcher) override;
  void WatchLease(plane::LeaseWatcher* watcher, const std::string& pool,
                  const engine::LeaseId& id) override;
  void HearWaiting(plane::LeaseWatcher* watcher) override;
  void Unwatch(plane::LeaseWatcher* watcher) override;
  plane::Result<plane::PoolInfo> CreatePool(engine::PoolOptions options) override;
  plane::Result<plane::PoolInfo> GetPool(const std::string& pool) override;
  std::vector<plane::PoolInfo> ListPools() override { return pools; }
  plane::Result<plane::Done> DeletePool(const std::string& pool, bool force) override;
  plane::Result<plane::PoolInfo> DrainPool(const std::string& pool,
                                           const std::string& reason) override;
  plane::Result<plane::PoolInfo> ResumePool(const std::string& pool) override;
  plane::Result<std::vector<engine::SlotInfo>> ListSlots(const std::string& pool,
                                                         SlotIndex first_slot,
                                                         uint32_t count_max) override;
  plane::Result<engine::SlotInfo> LockSlot(const std::string& pool, SlotIndex slot,
                                           const std::string& reason) override;
  plane::Result<engine::SlotInfo> UnlockSlot(const std::string& pool, SlotIndex slot) override;
  plane::Result<engine::LeaseInfo> Revoke(const std::string& pool, const engine::LeaseId& id,
                                          int64_t grace_ns, const std::string& reason) override;
  plane::Result<engine::LeaseInfo> RevokeLocal(const std::string& pool, SlotIndex slot,
                                               FencingToken token, int64_t grace_ns,
                                               const std::string& reason) override;
  plane::Result<std::vector<engine::WaiterInfo>> ListWaiters(const std::string& pool) override;
  plane::Result<plane::Done> CancelWaiter(const std::string& pool, uint64_t ticket) override;

 private:
  template <class T>
  plane::Result<T> Answer(T value) const {
    if (refusal) return *refusal;
    return value;
  }
  void Note(std::string text);
  bool IsForeign(const engine::HolderRef& holder) const {
    return !only_holder.empty() && holder.principal != only_holder;
  }

  mutable absl::Mutex mutex_;
  engine::Grant NextGrant();

  uint64_t next_lease_ ABSL_GUARDED_BY(mutex_) = 1;
  uint64_t next_ticket_ ABSL_GUARDED_BY(mutex_) = 1;
  std::map<uint64_t, Parked> parked_ ABSL_GUARDED_BY(mutex_);
  std::vector<engine::AcquireRequest> acquired_ ABSL_GUARDED_BY(mutex_);
  std::vector<uint64_t> cancelled_ ABSL_GUARDED_BY(mutex_);
  int abandoned_count_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<RenewCall> renewals_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::string> notes_ ABSL_GUARDED_BY(mutex_);
  std::set<plane::LeaseWatcher*> watchers_ ABSL_GUARDED_BY(mutex_);
  std::set<std::string> watched_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace leaseplane::rpc
