// SPDX-License-Identifier: Apache-2.0
#include "server/plane/lease_watchers.h"

#include <algorithm>

namespace leaseplane::plane {

template <class Call>
void LeaseWatchers::Follower::Tell(Call&& call) {
  obs::MutexLock lock(&mu);
  if (watcher == nullptr) return;
  calling.store(std::this_thread::get_id());
  call(*watcher);
  calling.store(std::thread::id());
}

LeaseWatchers::FollowerPtr LeaseWatchers::FindOrAdd(LeaseWatcher* watcher) {
  FollowerPtr& follower = followers_[watcher];
  if (!follower) follower = std::make_shared<Follower>(watcher);
  return follower;
}

void LeaseWatchers::Count(const Key& key, int change) {
  counts_[key.second % counts_.size()].fetch_add(change, std::memory_order_relaxed);
}

void LeaseWatchers::Watch(LeaseWatcher* watcher) {
  obs::MutexLock lock(&mu_);
  FindOrAdd(watcher);
}

void LeaseWatchers::WatchLease(LeaseWatcher* watcher, const engine::LeaseId& id) {
  obs::MutexLock lock(&mu_);
  const FollowerPtr follower = FindOrAdd(watcher);
  const Key key{id.hi, id.lo};
  std::vector<FollowerPtr>& followers = by_lease_[key];
  if (followers.empty()) Count(key, +1);
  if (std::find(followers.begin(), followers.end(), follower) != followers.end()) return;
  followers.push_back(follower);
  follower->leases.push_back(key);
}

void LeaseWatchers::HearWaiting(LeaseWatcher* watcher) {
  obs::MutexLock lock(&mu_);
  FindOrAdd(watcher)->hears_waiting = true;
}

void LeaseWatchers::Unwatch(LeaseWatcher* watcher) {
  FollowerPtr follower;
  {
    obs::MutexLock lock(&mu_);
    auto it = followers_.find(watcher);
    if (it == followers_.end()) return;
    follower = it->second;
    followers_.erase(it);
    for (const Key& key : follower->leases) {
      auto lease = by_lease_.find(key);
      if (lease == by_lease_.end()) continue;
      std::erase(lease->second, follower);
      if (!lease->second.empty()) continue;
      by_lease_.erase(lease);
      Count(key, -1);
    }
  }
  // From inside its own call the lock is ours already, and this is the last call.
  if (follower->calling.load() == std::this_thread::get_id()) {
    follower->mu.AssertHeld();
    follower->watcher = nullptr;
    return;
  }
  obs::MutexLock lock(&follower->mu);
  follower->watcher = nullptr;
}

std::vector<LeaseWatchers::FollowerPtr> LeaseWatchers::FollowersOf(const engine::LeaseId& id,
                                                                   bool forget) {
  obs::MutexLock lock(&mu_);
  auto it = by_lease_.find({id.hi, id.lo});
  if (it == by_lease_.end()) return {};
  std::vector<FollowerPtr> followers = it->second;
  if (forget) {
    for (const FollowerPtr& follower : followers) std::erase(follower->leases, it->first);
    Count(it->first, -1);
    by_lease_.erase(it);
  }
  return followers;
}

void LeaseWatchers::Lost(const std::string& pool, const engine::LeaseId& id,
                         engine::Reason reason) {
  for (const FollowerPtr& follower : FollowersOf(id, /*forget=*/true)) {
    follower->Tell([&](LeaseWatcher& watcher) { watcher.OnLost(pool, id, reason); });
  }
}

void LeaseWatchers::RevokeRequested(const std::string& pool, const engine::LeaseId& id,
                                    int64_t grace_ns) {
  for (const FollowerPtr& follower : FollowersOf(id, /*forget=*/false)) {
    follower->Tell([&](LeaseWatcher& watcher) { watcher.OnRevokeRequested(pool, id, grace_ns); });
  }
}

void LeaseWatchers::Waiting(const std::string& pool) {
  std::vector<FollowerPtr> followers;
  {
    obs::MutexLock lock(&mu_);
    for (const auto& [watcher, follower] : followers_) {
      if (follower->hears_waiting) followers.push_back(follower);
    }
  }
  for (const FollowerPtr& follower : followers) {
    follower->Tell([&](LeaseWatcher& watcher) { watcher.OnWaiting(pool); });
  }
}

void LeaseWatchers::Draining() {
  std::vector<FollowerPtr> followers;
  {
    obs::MutexLock lock(&mu_);
    for (const auto& [watcher, follower] : followers_) followers.push_back(follower);
  }
  for (const FollowerPtr& follower : followers) {
    follower->Tell([](LeaseWatcher& watcher) { watcher.OnDraining(); });
  }
}

}  // namespace leaseplane::plane
