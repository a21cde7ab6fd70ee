// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/server/rpc/fake_plane.h"

#include <chrono>
#include <stdexcept>
#include <utility>

namespace leaseplane::rpc {

using engine::Reason;

engine::LeaseInfo SomeLease() {
  engine::LeaseInfo lease;
  lease.id = {0x1122334455667788, 0x99aabbccddeeff00};
  lease.slot = 3;
  lease.token = 77;
  lease.resource = "host:1";
  lease.principal = "anonymous";
  lease.client_id = "worker";
  lease.ttl_ns = 10 * engine::kSecond;
  lease.remaining_ns = 9 * engine::kSecond;
  lease.acquired_unix_ns = 1'700'000'000 * engine::kSecond;
  lease.expires_unix_ns = 1'700'000'010 * engine::kSecond;
  return lease;
}

engine::Grant SomeGrant() {
  engine::Grant grant;
  grant.lease = SomeLease();
  grant.queued_ns = 5 * engine::kMillisecond;
  grant.renew_interval_ns = grant.lease.ttl_ns / 3;
  return grant;
}

bool FakePlane::Await(const std::function<bool()>& condition) {
  const absl::Time end = absl::Now() + absl::Minutes(1);
  while (absl::Now() < end) {
    if (condition()) return true;
    absl::SleepFor(absl::Milliseconds(2));
  }
  return false;
}

std::vector<uint64_t> FakePlane::AwaitParked(size_t count) {
  const auto is_full = [this, count]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return parked_.size() >= count;
  };
  absl::MutexLock lock(&mutex_);
  std::vector<uint64_t> tickets;
  if (!mutex_.AwaitWithTimeout(absl::Condition(&is_full), absl::Minutes(1))) return tickets;
  for (const auto& [ticket, unused] : parked_) tickets.push_back(ticket);
  return tickets;
}

FakePlane::Parked FakePlane::Take(uint64_t ticket) {
  absl::MutexLock lock(&mutex_);
  auto node = parked_.extract(ticket);
  return node.empty() ? Parked{} : std::move(node.mapped());
}

std::vector<engine::AcquireRequest> FakePlane::acquired() const {
  absl::MutexLock lock(&mutex_);
  return acquired_;
}
std::vector<uint64_t> FakePlane::cancelled() const {
  absl::MutexLock lock(&mutex_);
  return cancelled_;
}
int FakePlane::abandoned_count() const {
  absl::MutexLock lock(&mutex_);
  return abandoned_count_;
}
std::vector<FakePlane::RenewCall> FakePlane::renewals() const {
  absl::MutexLock lock(&mutex_);
  return renewals_;
}
std::vector<std::string> FakePlane::notes() const {
  absl::MutexLock lock(&mutex_);
  return notes_;
}
size_t FakePlane::watcher_count() const {
  absl::MutexLock lock(&mutex_);
  return watchers_.size();
}
std::set<std::string> FakePlane::watched() const {
  absl::MutexLock lock(&mutex_);
  return watched_;
}
void FakePlane::ForEachWatcher(const std::function<void(plane::LeaseWatcher*)>& visit) {
  absl::MutexLock lock(&mutex_);
  for (plane::LeaseWatcher* watcher : watchers_) visit(watcher);
}

plane::ServerInfo FakePlane::Info() const {
  return {"1.2.3", "instance", "boot", 1'700'000'000 * engine::kSecond};
}

int64_t FakePlane::NowNs() const {
  return std::chrono::steady_clock::now().time_since_epoch().count();
}

uint64_t FakePlane::Acquire(const std::string& pool, engine::AcquireRequest request, int64_t,
                            std::shared_ptr<plane::AcquireListener> listener) {
  if (is_throwing) throw std::runtime_error("thrown by the plane");
  uint64_t granted_ticket = 0;
  {
    absl::MutexLock lock(&mutex_);
    acquired_.push_back(request);
    if (gives_ticket) granted_ticket = next_ticket_++;
    const bool is_answered = refusal || is_slot_free || request.max_wait_ns == 0;
    if (!is_answered) {
      const uint64_t ticket = next_ticket_++;
      parked_[ticket] = {pool, std::move(request), std::move(listener)};
      return ticket;
    }
  }
  if (refusal) {
    listener->OnRefused(*refusal);
  } else if (is_slot_free) {
    listener->OnGranted(NextGrant());
    return granted_ticket;
  } else {
    listener->OnRefused(Refuse(Reason::kNoFreeSlot));
  }
  return 0;
}

engine::Grant FakePlane::NextGrant() {
  engine::Grant grant = SomeGrant();
  absl::MutexLock lock(&mutex_);
  if (are_leases_new) grant.lease.id.lo = next_lease_++;
  return grant;
}

void FakePlane::Cancel(const std::string&, uint64_t ticket) {
  absl::MutexLock lock(&mutex_);
  cancelled_.push_back(ticket);
  parked_.erase(ticket);
}

void FakePlane::EndWait(const std::string&, uint64_t ticket, Reason reason) {
  const Parked parked = Take(ticket);
  if (parked.listener) parked.listener->OnRefused(Refuse(reason));
}

plane::Result<engine::QueueState> FakePlane::QueuePosition(const std::string&, uint64_t) {
  return engine::QueueState{position, 2 * engine::kSecond};
}

void FakePlane::Abandon(const std::string&, const engine::Grant&) {
  absl::MutexLock lock(&mutex_);
  ++abandoned_count_;
}

void FakePlane::Renew(const std::string& pool, const engine::HolderRef& holder, int64_t ttl_ns,
                      int64_t, RenewFn reply) {
  {
    absl::MutexLock lock(&mutex_);
    renewals_.push_back({pool, holder, ttl_ns, is_renew_held ? reply : RenewFn()});
  }
  if (is_renew_held || is_renew_dropped) return;
  if (IsForeign(holder)) return reply(Refuse(Reason::kNotHolder));
  engine::RenewResult result;
  result.lease = SomeLease();
  result.lease.id = holder.id;
  result.renew_interval_ns = result.lease.ttl_ns / 3;
  reply(Answer(result));
}

void FakePlane::Release(const std::string& pool, const engine::HolderRef& holder,
                        bool allow_missing, DoneFn reply) {
  Note("Release " + pool + " " + holder.client_id + " " + std::to_string(holder.token) +
       (allow_missing ? " allow_missing" : ""));
  if (IsForeign(holder)) return reply(Refuse(Reason::kNotHolder));
  reply(Answer(plane::Done{}));
}

plane::Result<engine::LeaseInfo> FakePlane::GetLease(const std::string&,
                                                     const engine::LeaseId& id) {
  if (is_throwing) throw std::runtime_error("thrown by the plane");
  engine::LeaseInfo lease = SomeLease();
  lease.id = id;
  if (is_lease_expired) lease.state = engine::LeaseState::kExpired;
  return Answer(lease);
}

plane::Result<engine::LeaseInfo> FakePlane::GetLocalLease(const std::string&, SlotIndex slot,
                                                          FencingToken token) {
  engine::LeaseInfo lease;
  lease.path = engine::LeasePath::kLocal;
  lease.principal = "uid:1000";
  lease.slot = slot;
  lease.token = token;
  return Answer(lease);
}

plane::Result<std::vector<engine::LeaseInfo>> FakePlane::ListLeases(const std::string& pool,
                                                                    SlotIndex first_slot,
                                                                    uint32_t count_max) {
  std::vector<engine::LeaseInfo> page;
  for (const engine::LeaseInfo& lease : leases[pool]) {
    if (lease.slot >= first_slot && page.size() < count_max) page.push_back(lease);
  }
  return Answer(page);
}

plane::Result<engine::TokenCheck> FakePlane::CheckToken(const std::string&, SlotIndex,
                                                        FencingToken token) {
  return Answer(engine::TokenCheck{token == 77, 77, engine::SlotView::kBusy});
}

void FakePlane::Watch(plane::LeaseWatcher* watcher) {
  absl::MutexLock lock(&mutex_);
  watchers_.insert(watcher);
}
void FakePlane::HearWaiting(plane::LeaseWatcher*) { Note("HearWaiting"); }
void FakePlane::WatchLease(plane::LeaseWatcher*, const std::string& pool,
                           const engine::LeaseId& id) {
  absl::MutexLock lock(&mutex_);
  watched_.insert(pool + "/" + std::to_string(id.lo));
}
void FakePlane::Unwatch(plane::LeaseWatcher* watcher) {
  absl::MutexLock lock(&mutex_);
  watchers_.erase(watcher);
}

plane::Result<plane::PoolInfo> FakePlane::CreatePool(engine::PoolOptions options) {
  Note("CreatePool " + options.id);
  plane::PoolInfo info;
  info.options = std::move(options);
  info.epoch = 12;
  return Answer(info);
}

plane::Result<plane::PoolInfo> FakePlane::GetPool(const std::string& pool) {
  plane::PoolInfo info;
  info.options.id = pool;
  info.options.capacity = 4;
  info.counts = {4, 1, 1, 2, 0, 0, 0, 5, 6};
  return Answer(info);
}

plane::Result<plane::Done> FakePlane::DeletePool(const std::string& pool, bool force) {
  Note("DeletePool " + pool + (force ? " force" : ""));
  return Answer(plane::Done{});
}

plane::Result<std::vector<engine::SlotInfo>> FakePlane::ListSlots(const std::string&,
                                                                  SlotIndex first_slot,
                                                                  uint32_t count_max) {
  std::vector<engine::SlotInfo> page;
  for (const engine::SlotInfo& slot : slots) {
    if (slot.slot >= first_slot && page.size() < count_max) page.push_back(slot);
  }
  return Answer(page);
}

plane::Result<plane::PoolInfo> FakePlane::DrainPool(const std::string& pool,
                                                    const std::string& reason) {
  plane::PoolInfo info;
  info.options.id = pool;
  info.state = engine::PoolState::kDraining;
  info.drain_reason = reason;
  return Answer(info);
}

plane::Result<plane::PoolInfo> FakePlane::ResumePool(const std::string& pool) {
  plane::PoolInfo info;
  info.options.id = pool;
  return Answer(info);
}

plane::Result<engine::SlotInfo> FakePlane::LockSlot(const std::string&, SlotIndex slot,
                                                    const std::string& reason) {
  engine::SlotInfo info;
  info.slot = slot;
  info.view = engine::SlotView::kBusy;
  info.admin_locked = true;
  info.lock_reason = reason;
  return Answer(info);
}

plane::Result<engine::SlotInfo> FakePlane::UnlockSlot(const std::string&, SlotIndex slot) {
  engine::SlotInfo info;
  info.slot = slot;
  return Answer(info);
}

plane::Result<engine::LeaseInfo> FakePlane::Revoke(const std::string&, const engine::LeaseId& id,
                                                   int64_t grace_ns, const std::string& reason) {
  Note("Revoke " + std::to_string(grace_ns) + " " + reason);
  engine::LeaseInfo lease = SomeLease();
  lease.id = id;
  lease.state = engine::LeaseState::kRevoked;
  return Answer(lease);
}

plane::Result<engine::LeaseInfo> FakePlane::RevokeLocal(const std::string& pool, SlotIndex slot,
                                                        FencingToken token, int64_t,
                                                        const std::string&) {
  Note("RevokeLocal " + std::to_string(slot) + " " + std::to_string(token));
  return GetLocalLease(pool, slot, token);
}

plane::Result<std::vector<engine::WaiterInfo>> FakePlane::ListWaiters(const std::string&) {
  return Answer(waiters);
}

plane::Result<plane::Done> FakePlane::CancelWaiter(const std::string& pool, uint64_t ticket) {
  Note("CancelWaiter " + pool + " " + std::to_string(ticket));
  return Answer(plane::Done{});
}

void FakePlane::Note(std::string text) {
  absl::MutexLock lock(&mutex_);
  notes_.push_back(std::move(text));
}

}  // namespace leaseplane::rpc
