// SPDX-License-Identifier: Apache-2.0
//
// What the methods of ObjectKeeper share, behind one lock, and the line of its callers.
// object_keeper.cc acquires and gives back, object_keeper_thread.cc is the thread.
#pragma once

#include <pthread.h>

#include <cstdint>
#include <iterator>
#include <list>
#include <memory>
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
  Items item;
  absl::Status status;
  Change turn;
};

struct ObjectKeeper::State {
  mutable Mutex mu;
  Change for_thread;  // there is something to do for it
  bool closed ABSL_GUARDED_BY(mu) = false;
  bool scouting ABSL_GUARDED_BY(mu) = false;
  bool drowses ABSL_GUARDED_BY(mu) = false;  // the thread sleeps until it is told
  Items used ABSL_GUARDED_BY(mu);
  Items idle ABSL_GUARDED_BY(mu);  // the last one was used last
  // By how much CLOCK_BOOTTIME was ahead of CLOCK_MONOTONIC when the thread looked last.
  int64_t suspended_ns ABSL_GUARDED_BY(mu) = 0;
  // Once closed: the keeper itself, while something is in use.
  std::shared_ptr<ObjectKeeper> self ABSL_GUARDED_BY(mu);
  std::list<Waiter*> waiters ABSL_GUARDED_BY(mu);
  ObjectPoolStats stats ABSL_GUARDED_BY(mu);

  Mutex close_mu ABSL_ACQUIRED_BEFORE(mu);
  bool joined ABSL_GUARDED_BY(close_mu) = false;
  pthread_t thread{};  // from Make to Close

  void Count(uint64_t ObjectPoolStats::*what) {
    const MutexLock lock(&mu);
    ++(stats.*what);
  }
  // There may be something to sweep. The thread looks by itself every now and then, unless there
  // was nothing.
  void Rouse() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    if (drowses) for_thread.Tell();
    drowses = false;
  }
  Items TakeIdle() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    Items last;
    if (!idle.empty()) last.splice(last.end(), idle, std::prev(idle.end()));
    return last;
  }
  // False: nobody waits.
  bool GiveToWaiter(Items& item) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    if (waiters.empty()) return false;
    Waiter& first = *waiters.front();
    waiters.pop_front();
    first.item.splice(first.item.end(), item);
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
