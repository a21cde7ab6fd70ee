// SPDX-License-Identifier: Apache-2.0
//
// What the methods of ObjectKeeper share, behind one lock, and the line of its callers.
// object_keeper.cc acquires and gives back, object_keeper_thread.cc is the thread.
#pragma once

#include <pthread.h>

#include <cstdint>
#include <list>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "clients/cpp/mutex.h"
#include "leaseplane/internal/object_keeper.h"
#include "leaseplane/status.h"

namespace leaseplane::internal {

// A caller of Acquire in line: it is given an item, or a status that says why not.
struct ObjectKeeper::Waiter {
  int64_t deadline_ns = 0;  // CLOCK_BOOTTIME
  bool served = false;
  Item item;
  absl::Status status;
  Change turn;
};

struct ObjectKeeper::State {
  mutable Mutex mu;
  Change for_thread;  // there is something to do for it
  bool closed ABSL_GUARDED_BY(mu) = false;
  bool scouting ABSL_GUARDED_BY(mu) = false;
  std::list<Item> used ABSL_GUARDED_BY(mu);
  std::vector<Item> idle ABSL_GUARDED_BY(mu);  // the last one was used last
  std::list<Waiter*> waiters ABSL_GUARDED_BY(mu);
  ObjectPoolStats stats ABSL_GUARDED_BY(mu);

  Mutex close_mu ABSL_ACQUIRED_BEFORE(mu);
  bool joined ABSL_GUARDED_BY(close_mu) = false;
  pthread_t thread{};  // from Make to Close

  void Count(uint64_t ObjectPoolStats::*what) {
    const MutexLock lock(&mu);
    ++(stats.*what);
  }
  // False: nobody waits.
  bool GiveToWaiter(Item& item) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    if (waiters.empty()) return false;
    Waiter& first = *waiters.front();
    waiters.pop_front();
    first.item = std::move(item);
    first.served = true;
    first.turn.Tell();
    return true;
  }
  void FailWaiters(const absl::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    for (Waiter* waiter : waiters) {
      waiter->status = status;
      waiter->served = true;
      waiter->turn.Tell();
    }
    waiters.clear();
  }
};

inline absl::Status ObjectPoolClosed() {
  return MakeStatus(Reason::kSessionEnded, "the object pool is closed");
}

}  // namespace leaseplane::internal
