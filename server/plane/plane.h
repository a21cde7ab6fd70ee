// SPDX-License-Identifier: Apache-2.0
//
// Plane: what the daemon can do, as one thread-safe object without gRPC in it. The rpc layer
// translates to and from it; the composition root builds it.
//
// Threads: every method may be called from any thread, also at the same time. None blocks on a
// slot, on a client or on the disk: what cannot be answered at once is answered through the
// AcquireListener or ReplyFn given, from another thread or from inside the call itself.
// Errors: an engine::Refusal; its reason decides the status. Nothing throws.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "server/engine/types.h"

namespace leaseplane::plane {

template <class T>
using Result = std::variant<T, engine::Refusal>;
struct Done {};

// One call waiting for a slot. The plane holds the listener until exactly one of OnGranted and
// OnRefused has been called; that call is the last. Called without any of the plane's locks held.
class AcquireListener {
 public:
  virtual ~AcquireListener() = default;
  // The lease is the caller's. If the caller has gone, it must say so with Plane::Abandon.
  virtual void OnGranted(engine::Grant grant) = 0;
  virtual void OnRefused(engine::Refusal refusal) = 0;
};

// Tells a KeepAlive stream about the leases it follows. Calls come in any thread, one at a time
// per watcher, and stop when Unwatch has returned.
class LeaseWatcher {
 public:
  virtual ~LeaseWatcher() = default;
  virtual void OnLost(const std::string& pool, const engine::LeaseId& id,
                      engine::Reason reason) = 0;
  virtual void OnRevokeRequested(const std::string& pool, const engine::LeaseId& id,
                                 int64_t grace_ns) = 0;
  virtual void OnDraining() = 0;
  // Somebody is queued in the pool. Only after HearWaiting.
  virtual void OnWaiting(const std::string& pool) { static_cast<void>(pool); }
};

struct ServerInfo {
  std::string version;
  std::string instance_id;  // durable, one per state directory
  std::string boot_id;      // random per worker start
  int64_t started_unix_ns = 0;
};

enum class Readiness { kServing, kRecovering, kDraining, kStoreFailed };

struct PoolInfo {
  engine::PoolOptions options;
  engine::PoolState state = engine::PoolState::kActive;
  engine::PoolCounts counts;
  engine::PoolStats stats;
  uint32_t epoch = 0;
  std::optional<std::string> drain_reason;  // an operator drains the pool, and this is why
};

class Plane {
 public:
  virtual ~Plane() = default;

  virtual ServerInfo Info() const = 0;
  virtual Readiness readiness() const = 0;
  virtual bool live() const = 0;  // false only if the engine is stuck

  // Instant of CLOCK_BOOTTIME, to be taken when a call arrives.
  virtual int64_t NowNs() const = 0;

  // Asks for one slot. The listener may be called before this returns. Returns a ticket that names
  // the call for Cancel and QueuePosition; 0 if it has been answered already.
  virtual uint64_t Acquire(const std::string& pool, engine::AcquireRequest request,
                           int64_t received_at_ns, std::shared_ptr<AcquireListener> listener) = 0;
  // The caller of a waiting Acquire is gone. From this instant nothing is granted to it. With a
  // request id its place is kept for kTicketGrace (the same id takes it up again), else dropped.
  // The listener gets no further call, unless it is being called right now.
  virtual void Cancel(const std::string& pool, uint64_t ticket) = 0;
  // Ends a wait with `reason` (kWaitTimeout when the call's own deadline is near): the listener is
  // refused, unless it has been answered already.
  virtual void EndWait(const std::string& pool, uint64_t ticket, engine::Reason reason) = 0;
  virtual Result<engine::QueueState> QueuePosition(const std::string& pool, uint64_t ticket) = 0;
  // A grant that could not be delivered: releases it at once, unless it has a request id (then the
  // caller may come back for it, and its ttl is the net).
  virtual void Abandon(const std::string& pool, const engine::Grant& grant) = 0;

  using RenewFn = std::function<void(Result<engine::RenewResult>)>;
  // ttl_ns 0 = as granted. Usually answers before returning; waits for the disk where the pool's
  // durability asks for it.
  virtual void Renew(const std::string& pool, const engine::HolderRef& holder, int64_t ttl_ns,
                     int64_t received_at_ns, RenewFn reply) = 0;
  using DoneFn = std::function<void(Result<Done>)>;
  virtual void Release(const std::string& pool, const engine::HolderRef& holder, bool allow_missing,
                       DoneFn reply) = 0;

  virtual Result<engine::LeaseInfo> GetLease(const std::string& pool,
                                             const engine::LeaseId& id) = 0;
  virtual Result<engine::LeaseInfo> GetLocalLease(const std::string& pool, SlotIndex slot,
                                                  FencingToken token) = 0;
  // Live leases in order of slot from `first_slot`, at most `count_max`.
  virtual Result<std::vector<engine::LeaseInfo>> ListLeases(const std::string& pool,
                                                            SlotIndex first_slot,
                                                            uint32_t count_max) = 0;
  virtual Result<engine::TokenCheck> CheckToken(const std::string& pool, SlotIndex slot,
                                                FencingToken token) = 0;

  virtual void Watch(LeaseWatcher* watcher) = 0;  // OnDraining at least
  // From then on the watcher hears of the lease, and during the call of what it missed: that the
  // lease has ended, or that a revocation is under way. May call all who follow the lease.
  virtual void WatchLease(LeaseWatcher* watcher, const std::string& pool,
                          const engine::LeaseId& id) = 0;
  virtual void HearWaiting(LeaseWatcher* watcher) = 0;  // OnWaiting too, of all pools
  virtual void Unwatch(LeaseWatcher* watcher) = 0;      // waits for a call that is under way

  // -- administration
  virtual Result<PoolInfo> CreatePool(engine::PoolOptions options) = 0;
  virtual Result<PoolInfo> GetPool(const std::string& pool) = 0;
  virtual std::vector<PoolInfo> ListPools() = 0;  // by id
  // Without force a pool with leases or waiters is refused (kFailedPrecondition).
  virtual Result<Done> DeletePool(const std::string& pool, bool force) = 0;
  // No new leases in the pool, local or remote, until ResumePool, over restarts too; waiters are
  // refused kPoolDraining. Idempotent; the last reason counts.
  virtual Result<PoolInfo> DrainPool(const std::string& pool, const std::string& reason) = 0;
  virtual Result<PoolInfo> ResumePool(const std::string& pool) = 0;
  virtual Result<std::vector<engine::SlotInfo>> ListSlots(const std::string& pool,
                                                          SlotIndex first_slot,
                                                          uint32_t count_max) = 0;
  // Free slot: locked at once. Busy slot: locked when its lease ends (drain). Idempotent.
  virtual Result<engine::SlotInfo> LockSlot(const std::string& pool, SlotIndex slot,
                                            const std::string& reason) = 0;
  virtual Result<engine::SlotInfo> UnlockSlot(const std::string& pool, SlotIndex slot) = 0;
  virtual Result<engine::LeaseInfo> Revoke(const std::string& pool, const engine::LeaseId& id,
                                           int64_t grace_ns, const std::string& reason) = 0;
  virtual Result<engine::LeaseInfo> RevokeLocal(const std::string& pool, SlotIndex slot,
                                                FencingToken token, int64_t grace_ns,
                                                const std::string& reason) = 0;
  virtual Result<std::vector<engine::WaiterInfo>> ListWaiters(const std::string& pool) = 0;
  virtual Result<Done> CancelWaiter(const std::string& pool, uint64_t ticket) = 0;
};

}  // namespace leaseplane::plane
