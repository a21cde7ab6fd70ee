// SPDX-License-Identifier: Apache-2.0
#include "leaseplane/internal/object_keeper.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "clients/cpp/boot_clock.h"
#include "clients/cpp/object_keeper_state.h"

namespace leaseplane::internal {
namespace {

int64_t ToNs(absl::Duration duration) { return absl::ToInt64Nanoseconds(duration); }

// A lifetime, less up to a tenth so that objects made together do not end together. Slots and
// generations of a slot differ.
int64_t WithJitter(int64_t lifetime_ns, const Lease& lease) {
  constexpr uint64_t kGolden = 0x9E3779B97F4A7C15u;
  constexpr uint64_t kParts = 1'000;
  const uint64_t mixed = (static_cast<uint64_t>(lease.token()) + lease.slot() * kGolden) * kGolden;
  const auto part = static_cast<int64_t>((mixed >> 32) % kParts);
  return lifetime_ns - lifetime_ns / 10 / static_cast<int64_t>(kParts) * part;
}

}  // namespace

absl::StatusOr<std::shared_ptr<ObjectKeeper>> ObjectKeeper::Make(Pool pool,
                                                                 ObjectKeeperOptions options) {
  const std::pair<const char*, absl::Duration> durations[] = {
      {"idle_timeout", options.idle_timeout},
      {"max_lifetime", options.max_lifetime},
      {"validate_after", options.validate_after},
      {"leak_after", options.leak_after},
      {"yield_after", options.yield_after}};
  for (const auto& [name, duration] : durations) {
    if (duration < absl::ZeroDuration()) {
      return MakeStatus(Reason::kInvalidArgument, absl::StrCat(name, ": valid are 0 and more"));
    }
  }
  if (!options.create) return MakeStatus(Reason::kInvalidArgument, "create: it is required");
  return std::make_shared<ObjectKeeper>(std::move(pool), std::move(options));
}

ObjectKeeper::ObjectKeeper(Pool pool, ObjectKeeperOptions options)
    : pool_(std::move(pool)), options_(std::move(options)), state_(std::make_unique<State>()) {
  sigset_t all, before;
  ::sigfillset(&all);  // signals are for the application's threads
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  // Without the thread nobody who waits would ever be served.
  if (::pthread_create(&state_->thread, nullptr, &ObjectKeeper::ThreadMain, this) != 0) ::abort();
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  static_cast<void>(pool_.OthersWait(0));  // a remote daemon says it only to those who asked
}

ObjectKeeper::~ObjectKeeper() {
  Close();
  // In a forked child the objects are the parent's, and there is no thread to join.
  if (!mark_.IsCurrent()) static_cast<void>(state_.release());
}

int64_t ObjectKeeper::NowNs() const { return options_.now ? ToNs(options_.now()) : BootNowNs(); }

// --- acquiring --------------------------------------------------------------------------------

absl::StatusOr<ObjectKeeper::Use> ObjectKeeper::Acquire(absl::Duration max_wait, CallSite site) {
  if (max_wait < absl::ZeroDuration()) {
    return MakeStatus(Reason::kInvalidArgument, "max_wait: valid are 0 and more");
  }
  if (!mark_.IsCurrent()) {
    return MakeStatus(Reason::kOtherProcess, "the object pool was made before fork()");
  }
  const int64_t deadline_ns = DeadlineAfter(BootNowNs(), max_wait);
  for (;;) {
    absl::StatusOr<Item> item = Obtain(deadline_ns, max_wait > absl::ZeroDuration());
    if (!item.ok()) return item.status();
    absl::Status status = Furnish(*item);
    if (status.ok()) return Admit(*std::move(item), site);
    // An idle object whose lease was lost unnoticed: there may be another one.
    if (ReasonOf(status) != Reason::kLeaseExpired) return status;
  }
}

// An idle object, or a slot without one, at once or when it is our turn.
absl::StatusOr<ObjectKeeper::Item> ObjectKeeper::Obtain(int64_t deadline_ns, bool waits) {
  Item item;
  bool is_first = false;
  {
    const MutexLock lock(&state_->mu);
    if (state_->closed) return ObjectPoolClosed();
    if (!state_->idle.empty()) {
      item = std::move(state_->idle.back());
      state_->idle.pop_back();
      return item;
    }
    is_first = state_->waiters.empty();
  }
  if (is_first || !waits) {
    absl::StatusOr<Lease> lease = pool_.Acquire();
    if (lease.ok()) {
      item.lease = *std::move(lease);
      item.leased_ns = NowNs();
      return item;
    }
    if (ReasonOf(lease.status()) != Reason::kNoFreeSlot || !waits) return lease.status();
  }
  return AwaitTurn(deadline_ns);
}

absl::StatusOr<ObjectKeeper::Item> ObjectKeeper::AwaitTurn(int64_t deadline_ns) {
  Waiter waiter;
  waiter.deadline_ns = deadline_ns;
  const MutexLock lock(&state_->mu);
  if (state_->closed) return ObjectPoolClosed();
  if (!state_->idle.empty()) {  // returned meanwhile
    waiter.item = std::move(state_->idle.back());
    state_->idle.pop_back();
    return std::move(waiter.item);
  }
  const auto place = state_->waiters.insert(state_->waiters.end(), &waiter);
  state_->for_thread.Tell();
  while (!waiter.served && waiter.turn.Await(&state_->mu, deadline_ns)) {
  }
  if (!waiter.served) {  // who serves takes out of the line
    state_->waiters.erase(place);
    ++state_->stats.timed_out;
    return MakeStatus(Reason::kWaitTimeout, "no object became free in time");
  }
  if (!waiter.status.ok()) return waiter.status;
  return std::move(waiter.item);
}

// Makes sure that there is a sound object on the lease. kLeaseExpired: the lease is lost.
absl::Status ObjectKeeper::Furnish(Item& item) {
  const int64_t now_ns = NowNs();
  if (!item.lease.still_held()) {
    if (item.object != nullptr) state_->Count(&ObjectPoolStats::lost);
    Destroy(std::move(item));
    return MakeStatus(Reason::kLeaseExpired, "the lease was lost while its object was idle");
  }
  if (item.object != nullptr) {
    uint64_t ObjectPoolStats::*verdict = &ObjectPoolStats::reused;
    if (now_ns >= item.dies_ns) {
      verdict = &ObjectPoolStats::lifetime_expired;
    } else if (options_.validate && now_ns - item.idle_ns >= ToNs(options_.validate_after) &&
               !options_.validate(item.object.get())) {
      verdict = &ObjectPoolStats::invalid;
    }
    state_->Count(verdict);
    if (verdict == &ObjectPoolStats::reused) return absl::OkStatus();
    DestroyObject(item);
  }
  absl::StatusOr<std::shared_ptr<void>> made = options_.create(item.lease);
  if (made.ok() && *made == nullptr) {
    made = MakeStatus(Reason::kInternal, "create gave neither an object nor an error");
  }
  state_->Count(made.ok() ? &ObjectPoolStats::created : &ObjectPoolStats::create_failures);
  if (!made.ok()) {
    Destroy(std::move(item));  // gives the slot back
    return made.status();
  }
  item.object = *std::move(made);
  const int64_t lifetime_ns = ToNs(options_.max_lifetime);
  const int64_t born_ns = NowNs();
  item.dies_ns =
      lifetime_ns > kNeverNs - born_ns ? kNeverNs : born_ns + WithJitter(lifetime_ns, item.lease);
  return absl::OkStatus();
}

ObjectKeeper::Use ObjectKeeper::Admit(Item item, CallSite site) {
  item.acquired_ns = NowNs();
  item.site = site;
  item.thread_id = ::gettid();
  item.leak_told = false;
  const MutexLock lock(&state_->mu);
  ++state_->stats.acquired;
  return state_->used.insert(state_->used.end(), std::move(item));
}

// --- giving back ------------------------------------------------------------------------------

void ObjectKeeper::DestroyObject(Item& item) noexcept {
  if (item.object == nullptr) return;
  if (options_.destroy) options_.destroy(item.object.get());
  item.object.reset();
}

// The object first, then its slot: nobody may make another one on it before.
void ObjectKeeper::Destroy(Item item) noexcept { DestroyObject(item); }

// Why the slot is not kept for another use; null if it is.
uint64_t ObjectPoolStats::*ObjectKeeper::WhyGivenBack(const Item& item, bool has_waiters,
                                                      bool scouting) const {
  if (!item.lease.still_held()) return &ObjectPoolStats::lost;
  // Those who wait here come first, for a while: others wait for the same slots.
  const bool others_wait = pool_.OthersWait(scouting ? 1 : 0);
  const bool is_time = !has_waiters || NowNs() - item.leased_ns >= ToNs(options_.yield_after);
  return others_wait && is_time ? &ObjectPoolStats::yielded : nullptr;
}

void ObjectKeeper::Return(Use use, bool discard) noexcept {
  // In a forked child the object is the parent's, and so is the lock.
  if (!mark_.IsCurrent()) return;
  Item item;
  bool has_waiters = false, scouting = false;
  {
    const MutexLock lock(&state_->mu);
    item = std::move(*use);
    state_->used.erase(use);
    if (discard) ++state_->stats.discarded;
    has_waiters = !state_->waiters.empty();
    scouting = state_->scouting;
  }
  if (discard) DestroyObject(item);
  item.idle_ns = NowNs();
  uint64_t ObjectPoolStats::*reason = WhyGivenBack(item, has_waiters, scouting);
  {
    const MutexLock lock(&state_->mu);
    if (reason != nullptr) {
      ++(state_->stats.*reason);
    } else if (state_->GiveToWaiter(item)) {
      return;
    } else if (!state_->closed && item.object != nullptr &&
               options_.idle_timeout > absl::ZeroDuration()) {
      state_->idle.push_back(std::move(item));
      state_->for_thread.Tell();
      return;
    }
  }
  Destroy(std::move(item));
}

// --- views ------------------------------------------------------------------------------------

ObjectPoolStats ObjectKeeper::stats() const {
  const MutexLock lock(&state_->mu);
  ObjectPoolStats stats = state_->stats;
  stats.in_use = static_cast<uint32_t>(state_->used.size());
  stats.idle = static_cast<uint32_t>(state_->idle.size());
  stats.waiting = static_cast<uint32_t>(state_->waiters.size());
  return stats;
}

std::vector<ObjectUse> ObjectKeeper::uses() const {
  const int64_t now_ns = NowNs();
  const MutexLock lock(&state_->mu);
  std::vector<ObjectUse> uses;
  for (const Item& item : state_->used) uses.push_back(Describe(item, now_ns));
  return uses;
}

}  // namespace leaseplane::internal
