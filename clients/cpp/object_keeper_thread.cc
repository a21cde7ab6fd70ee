// SPDX-License-Identifier: Apache-2.0
// The thread of an ObjectKeeper: asks the pool for slots while callers wait, and looks after what
// lies idle or is used for long.
#include <algorithm>
#include <utility>

#include "clients/cpp/boot_clock.h"
#include "clients/cpp/object_keeper_state.h"
#include "clients/cpp/request_id.h"

namespace leaseplane::internal {
namespace {

constexpr int64_t kSweepPeriodNs = 50 * kMillisecondNs;
// Bounds how long Close waits for the thread, and how stale a wait may be.
constexpr int64_t kScoutWaitMaxNs = kSecondNs;

int64_t ToNs(absl::Duration duration) { return absl::ToInt64Nanoseconds(duration); }

}  // namespace

void ObjectKeeper::Sweep() {
  const int64_t now_ns = NowNs();
  Items gone;
  {
    const MutexLock lock(&state_->mu);
    Items& idle = state_->idle;
    const bool others_wait = !idle.empty() && pool_.OthersWait(state_->scouting ? 1 : 0);
    for (auto at = idle.begin(); at != idle.end();) {
      const Use item = at++;
      uint64_t ObjectPoolStats::*why = nullptr;
      if (!item->lease.still_held()) {
        why = &ObjectPoolStats::lost;
      } else if (others_wait) {
        why = &ObjectPoolStats::yielded;
      } else if (now_ns >= item->dies_ns) {
        why = &ObjectPoolStats::lifetime_expired;
      } else if (now_ns - item->idle_ns >= ToNs(options_.idle_timeout)) {
        why = &ObjectPoolStats::idle_expired;
      }
      if (why == nullptr) continue;
      ++(state_->stats.*why);
      gone.splice(gone.end(), idle, item);
    }
  }
  Destroy(gone);
  TellLeaks(now_ns);
}

ObjectUse ObjectKeeper::Describe(const Item& item, int64_t now_ns) {
  return {item.lease.slot(), item.lease.token(), absl::Nanoseconds(now_ns - item.acquired_ns),
          item.site, item.thread_id};
}

void ObjectKeeper::TellLeaks(int64_t now_ns) {
  if (options_.leak_after == absl::InfiniteDuration()) return;
  std::vector<ObjectUse> leaks;
  {
    const MutexLock lock(&state_->mu);
    for (Item& item : state_->used) {
      if (item.leak_told || now_ns - item.acquired_ns < ToNs(options_.leak_after)) continue;
      item.leak_told = true;
      ++state_->stats.leaks;
      leaks.push_back(Describe(item, now_ns));
    }
  }
  if (!options_.on_leak) return;
  for (const ObjectUse& leak : leaks) options_.on_leak(leak);
}

void* ObjectKeeper::ThreadMain(void* keeper) {
  ::pthread_setname_np(::pthread_self(), "leaseplane-obj");
  static_cast<ObjectKeeper*>(keeper)->Run();
  return nullptr;
}

void ObjectKeeper::Run() {
  std::string request_id = NewRequestId();
  bool was_roused = false;
  for (;;) {
    bool has_waiters = false;
    {
      const MutexLock lock(&state_->mu);
      if (!options_.now) state_->suspended_ns = BootNowNs() - MonotonicNowNs();
      const bool watches_uses =
          options_.leak_after != absl::InfiniteDuration() && !state_->used.empty();
      // What was idle when it was roused may be in use now, and idle again soon.
      const bool sweeps = !state_->idle.empty() || watches_uses || was_roused;
      if (!state_->closed && state_->waiters.empty()) {
        state_->drowses = !sweeps;
        state_->for_thread.Await(&state_->mu, sweeps ? BootNowNs() + kSweepPeriodNs : kNeverNs);
        was_roused = !sweeps && !state_->drowses;
        state_->drowses = false;
      }
      if (state_->closed) return;
      has_waiters = !state_->waiters.empty();
    }
    if (has_waiters) Scout(request_id);
    Sweep();
  }
}

// Asks the pool for a slot for the first in line. Within one request id the place in the daemon's
// queue stays ours from one wait to the next.
void ObjectKeeper::Scout(std::string& request_id) {
  AcquireOptions options;
  options.request_id = request_id;
  {
    const MutexLock lock(&state_->mu);
    int64_t last_ns = 0;
    for (const Waiter* waiter : state_->waiters) last_ns = std::max(last_ns, waiter->deadline_ns);
    const int64_t rest_ns = std::clamp<int64_t>(last_ns - BootNowNs(), 1, kScoutWaitMaxNs);
    options.max_wait = absl::Nanoseconds(rest_ns);
    state_->scouting = true;
  }
  absl::StatusOr<Lease> lease = pool_.Acquire(options);
  Items item;  // a slot that nobody waits for any more goes back after the lock is given up
  const MutexLock lock(&state_->mu);
  state_->scouting = false;
  if (lease.ok()) {
    request_id = NewRequestId();
    item.emplace_back().lease = *std::move(lease);
    item.back().leased_ns = NowNs();
    state_->GiveToWaiter(item);
    return;
  }
  const Reason reason = ReasonOf(lease.status());
  if (reason != Reason::kWaitTimeout && reason != Reason::kNoFreeSlot)
    state_->FailWaiters(lease.status());
}

void ObjectKeeper::Close() {
  if (!mark_.IsCurrent()) {
    self_in_child_ = weak_from_this().lock();  // for ever: objects in use may outlive the pool
    return;
  }
  Items idle;
  {
    const MutexLock lock(&state_->mu);
    state_->closed = true;
    if (!state_->used.empty()) state_->self = weak_from_this().lock();
    state_->FailWaiters(ObjectPoolClosed());
    idle.swap(state_->idle);
    state_->for_thread.Tell();
  }
  Destroy(idle);
  const MutexLock lock(&state_->close_mu);
  if (!state_->joined) ::pthread_join(state_->thread, nullptr);
  state_->joined = true;
}

}  // namespace leaseplane::internal
