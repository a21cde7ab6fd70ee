// SPDX-License-Identifier: Apache-2.0
//
// LeaseWatchers: who follows which lease. Calls to one watcher come one at a time; Unwatch returns
// only when none is under way (except from inside a call of the same watcher).
// Threads: any. Errors: none. Cost: one lock shared by all, held for look-ups only; the end of a
// lease that nobody follows does not take it.
#pragma once

#include <array>
#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "server/obs/mutex.h"
#include "server/plane/plane.h"

namespace leaseplane::plane {

class LeaseWatchers {
 public:
  void Watch(LeaseWatcher* watcher);
  void WatchLease(LeaseWatcher* watcher, const engine::LeaseId& id);
  void HearWaiting(LeaseWatcher* watcher);
  void Unwatch(LeaseWatcher* watcher);

  // False: nobody follows the lease. True: perhaps somebody does.
  bool MayBeWatched(const engine::LeaseId& id) const {
    return counts_[id.lo % counts_.size()].load(std::memory_order_relaxed) != 0;
  }
  void Lost(const std::string& pool, const engine::LeaseId& id, engine::Reason reason);
  void RevokeRequested(const std::string& pool, const engine::LeaseId& id, int64_t grace_ns);
  void Draining();
  void Waiting(const std::string& pool);

 private:
  using Key = std::pair<uint64_t, uint64_t>;
  struct Follower {
    obs::Mutex mu;  // held while the watcher is called
    LeaseWatcher* watcher ABSL_GUARDED_BY(mu);
    std::atomic<std::thread::id> calling{};
    std::vector<Key> leases;     // guarded by the registry's lock
    bool hears_waiting = false;  // as well

    explicit Follower(LeaseWatcher* w) : watcher(w) {}
    template <class Call>
    void Tell(Call&& call);
  };
  using FollowerPtr = std::shared_ptr<Follower>;

  FollowerPtr FindOrAdd(LeaseWatcher* watcher) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  std::vector<FollowerPtr> FollowersOf(const engine::LeaseId& id, bool forget);
  void Count(const Key& key, int change) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  obs::Mutex mu_;
  std::map<LeaseWatcher*, FollowerPtr> followers_ ABSL_GUARDED_BY(mu_);
  std::map<Key, std::vector<FollowerPtr>> by_lease_ ABSL_GUARDED_BY(mu_);
  // Of followed leases by the low bits of their id. Written under mu_, read without: relaxed,
  // because who begins to follow while the lease ends may miss the end in any case.
  std::array<std::atomic<int32_t>, 4096> counts_{};
};

}  // namespace leaseplane::plane
