// SPDX-License-Identifier: Apache-2.0
#include "clients/cpp/remote/warm_leases.h"

#include <algorithm>
#include <optional>

#include "clients/cpp/boot_clock.h"
#include "clients/cpp/remote/grpc_connection.h"

namespace leaseplane::internal {

void WarmLeases::Open(const std::string& pool, uint32_t count_max, int64_t idle_ns) {
  const MutexLock lock(&mu_);
  shelves_.try_emplace(pool, count_max, idle_ns);
}

void WarmLeases::SetAlarm() {
  int64_t next_ns = WarmShelf::kNothing;
  for (const auto& [pool, shelf] : shelves_) next_ns = std::min(next_ns, shelf.NextNs());
  if (next_ns != WarmShelf::kNothing) connection_.renewer().CallAt(next_ns);
}

bool WarmLeases::Keep(const std::shared_ptr<GrpcLease>& lease) {
  if (!lease->MayBeKept()) return false;
  const MutexLock lock(&mu_);
  const auto shelf = shelves_.find(lease->pool());
  if (closed_ || shelf == shelves_.end()) return false;
  if (!shelf->second.Put(lease->key(), BootNowNs())) return false;
  // It may have ended, or been asked for, between the look and the shelf; whoever ends it looks at
  // the shelf afterwards.
  if (!lease->MayBeKept()) {
    shelf->second.Remove(lease->key());
    return false;
  }
  SetAlarm();
  return true;
}

std::shared_ptr<GrpcLease> WarmLeases::Take(const std::string& pool, int64_t ttl_ns) {
  for (;;) {
    std::optional<Key> key;
    {
      const MutexLock lock(&mu_);
      const auto shelf = shelves_.find(pool);
      if (shelf == shelves_.end()) return nullptr;
      key = shelf->second.Take();
    }
    if (!key.has_value()) return nullptr;
    std::shared_ptr<GrpcLease> lease = connection_.Find(*key);
    if (lease == nullptr) continue;
    if (lease->ttl_ns() == ttl_ns && lease->RemainingNs() >= kRemainingMinNs) return lease;
    static_cast<void>(connection_.Release(*lease));
  }
}

void WarmLeases::GiveBackAll(const std::string& pool) {
  std::vector<Key> keys;
  {
    const MutexLock lock(&mu_);
    const auto shelf = shelves_.find(pool);
    if (shelf != shelves_.end()) keys = shelf->second.TakeAll();
  }
  for (Key key : keys) {
    const std::shared_ptr<GrpcLease> lease = connection_.Find(key);
    if (lease != nullptr) static_cast<void>(connection_.Release(*lease));
  }
}

void WarmLeases::OnWaiting(const std::string& pool) {
  std::vector<Key> keys;
  {
    const MutexLock lock(&mu_);
    const int64_t now_ns = BootNowNs();
    waited_for_until_ns_[pool] = now_ns + WarmShelf::kWaitingHeardNs;
    const auto shelf = shelves_.find(pool);
    if (shelf != shelves_.end()) keys = shelf->second.OnWaiting(now_ns);
  }
  GiveBack(keys);
}

bool WarmLeases::IsWaitedFor(const std::string& pool) const {
  const MutexLock lock(&mu_);
  const auto heard = waited_for_until_ns_.find(pool);
  return heard != waited_for_until_ns_.end() && BootNowNs() < heard->second;
}

bool WarmLeases::Remove(const GrpcLease& lease) {
  const MutexLock lock(&mu_);
  const auto shelf = shelves_.find(lease.pool());
  return shelf != shelves_.end() && shelf->second.Remove(lease.key());
}

void WarmLeases::OnAlarm() {
  std::vector<Key> idle;
  {
    const MutexLock lock(&mu_);
    const int64_t now_ns = BootNowNs();
    for (auto& [pool, shelf] : shelves_) {
      const std::vector<Key> of_pool = shelf.TakeIdle(now_ns);
      idle.insert(idle.end(), of_pool.begin(), of_pool.end());
    }
    SetAlarm();
  }
  GiveBack(idle);
}

void WarmLeases::Close() {
  std::vector<Key> keys;
  {
    const MutexLock lock(&mu_);
    closed_ = true;
    for (auto& [pool, shelf] : shelves_) {
      const std::vector<Key> of_pool = shelf.TakeAll();
      keys.insert(keys.end(), of_pool.begin(), of_pool.end());
    }
  }
  GiveBack(keys);
}

void WarmLeases::GiveBack(const std::vector<Key>& keys) {
  for (Key key : keys) {
    const std::shared_ptr<GrpcLease> lease = connection_.Find(key);
    if (lease != nullptr) connection_.ReleaseLater(*lease);
  }
}

}  // namespace leaseplane::internal
