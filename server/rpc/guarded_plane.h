// SPDX-License-Identifier: Apache-2.0
//
// GuardedPlane: the plane as one caller may use it. Every method first asks whether the caller has
// the right, and only then whether the pool exists, so a pool in which it has none looks the same
// whether it is there or not. Whoever asks is written into each request here: what handlers fill in
// does not count.
//
// A method that is added to the plane does not compile until it has its rule here.
//
// Owner: shared by the calls of one caller. Threads: any. Cost: one pass over the access rules.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "server/plane/plane.h"
#include "server/rpc/caller.h"
#include "server/security/access.h"

namespace leaseplane::rpc {

class GuardedPlane final : public plane::Plane, public std::enable_shared_from_this<GuardedPlane> {
 public:
  // Plane and policy outlive it.
  GuardedPlane(plane::Plane& plane, const security::AccessPolicy& policy, Caller caller)
      : plane_(plane), policy_(policy), caller_(std::move(caller)) {}

  const Caller& caller() const { return caller_; }
  bool is_known() const { return !caller_.principal.empty(); }
  // Whether the caller may know that there is such a pool.
  bool knows(const std::string& pool) const { return RightsIn(pool) != 0; }
  // kNone, or why the caller gets nothing from AdminService whatever it asks for.
  engine::Reason AdminServiceRefusal() const;

  plane::ServerInfo Info() const override { return plane_.Info(); }
  plane::Readiness readiness() const override { return plane_.readiness(); }
  bool live() const override { return plane_.live(); }
  int64_t NowNs() const override { return plane_.NowNs(); }

  uint64_t Acquire(const std::string& pool, engine::AcquireRequest request, int64_t received_at_ns,
                   std::shared_ptr<plane::AcquireListener> listener) override;
  // These five are about what an Acquire or a Renew has given to the caller.
  void Cancel(const std::string& pool, uint64_t ticket) override { plane_.Cancel(pool, ticket); }
  void EndWait(const std::string& pool, uint64_t ticket, engine::Reason reason) override {
    plane_.EndWait(pool, ticket, reason);
  }
  plane::Result<engine::QueueState> QueuePosition(const std::string& pool,
                                                  uint64_t ticket) override {
    return plane_.QueuePosition(pool, ticket);
  }
  void Abandon(const std::string& pool, const engine::Grant& grant) override {
    plane_.Abandon(pool, grant);
  }
  void WatchLease(plane::LeaseWatcher* watcher, const std::string& pool,
                  const engine::LeaseId& id) override {
    plane_.WatchLease(watcher, pool, id);
  }
  void Watch(plane::LeaseWatcher* watcher) override { plane_.Watch(watcher); }
  // Whoever listens leaves out what it may not know of: see knows().
  void HearWaiting(plane::LeaseWatcher* watcher) override { plane_.HearWaiting(watcher); }
  void Unwatch(plane::LeaseWatcher* watcher) override { plane_.Unwatch(watcher); }

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

  plane::Result<plane::PoolInfo> CreatePool(engine::PoolOptions options) override;
  plane::Result<plane::PoolInfo> GetPool(const std::string& pool) override;
  std::vector<plane::PoolInfo> ListPools() override;
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
  security::Rights RightsIn(const std::string& pool) const;
  // Whether the caller has one of `rights` at least.
  bool May(const std::string& pool, security::Rights rights) const {
    return (RightsIn(pool) & rights) != 0;
  }
  engine::Refusal Denied() const;
  // The result, if the caller may see this lease.
  plane::Result<engine::LeaseInfo> IfReadable(const std::string& pool,
                                              plane::Result<engine::LeaseInfo> result) const;
  // For an administrator who was refused because the lease is somebody else's: the same in that
  // one's name.
  template <class T>
  std::optional<engine::HolderRef> InOthersName(const std::string& pool, engine::HolderRef holder,
                                                const plane::Result<T>& result) const;
  engine::HolderRef AsCaller(engine::HolderRef holder) const {
    holder.principal = caller_.holder;
    return holder;
  }

  plane::Plane& plane_;
  const security::AccessPolicy& policy_;
  const Caller caller_;
};

}  // namespace leaseplane::rpc
