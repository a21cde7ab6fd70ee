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

// The calling thread's, asked for once in each process.
int64_t ThreadId(const ProcessMark& mark) {
  thread_local uint64_t process = 0;
  thread_local int64_t id = 0;
  if (process != mark.number()) {
    id = ::gettid();
    process = mark.number();
  }
  return id;
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

// NowNs less State::suspended_ns, and late by the period of the kernel's tick.
int64_t ObjectKeeper::TickNs() const {
  return options_.now ? ToNs(options_.now()) : CoarseMonotonicNowNs();
}

// --- acquiring --------------------------------------------------------------------------------

absl::StatusOr<ObjectKeeper::Use> ObjectKeeper::Acquire(absl::Duration max_wait, CallSite site) {
  if (max_wait < absl::ZeroDuration()) {
    return MakeStatus(Reason::kInvalidArgument, "max_wait: valid are 0 and more");
  }
  if (!mark_.IsCurrent()) {
    return MakeStatus(Reason::kOtherProcess, "the object pool was made before fork()");
  }
  if (Use use; Reuse(site, use)) return use;
  const int64_t deadline_ns = DeadlineAfter(BootNowNs(), max_wait);
  for (;;) {
    absl::StatusOr<Items> item = Obtain(deadline_ns, max_wait > absl::ZeroDuration());
    if (!item.ok()) return item.status();
    absl::Status status = Furnish(item->front());
    if (status.ok()) return Admit(*std::move(item), site);
    // An idle object whose lease was lost unnoticed: there may be another one.
    if (ReasonOf(status) != Reason::kLeaseExpired) return status;
  }
}

// Whether an idle object may be used as it is.
bool ObjectKeeper::IsReady(const Item& item, int64_t now_ns) const {
  if (!item.lease.still_held() || now_ns >= item.dies_ns) return false;
  return !options_.validate || now_ns - item.idle_ns < ToNs(options_.validate_after);
}

// The usual case: the object used last is idle and sound.
bool ObjectKeeper::Reuse(CallSite site, Use& use) {
  const int64_t tick_ns = TickNs();
  State& s = *state_;
  const MutexLock lock(&s.mu);
  const int64_t now_ns = tick_ns + s.suspended_ns;
  if (s.closed || s.idle.empty() || !IsReady(s.idle.back(), now_ns)) return false;
  use = std::prev(s.idle.end());
  s.used.splice(s.used.end(), s.idle, use);
  Stamp(*use, now_ns, site);
  ++s.stats.reused;
  ++s.stats.acquired;
  return true;
}

// An idle object, or a slot without one, at once or when it is our turn.
absl::StatusOr<ObjectKeeper::Items> ObjectKeeper::Obtain(int64_t deadline_ns, bool waits) {
  Items item;
  bool is_first = false;
  {
    const MutexLock lock(&state_->mu);
    if (state_->closed) return ObjectPoolClosed();
    item = state_->TakeIdle();
    if (!item.empty()) return item;
    is_first = state_->waiters.empty();
  }
  if (is_first || !waits) {
    absl::StatusOr<Lease> lease = pool_.Acquire();
    if (lease.ok()) {
      item.emplace_back().lease = *std::move(lease);
      item.back().leased_ns = NowNs();
      return item;
    }
    if (ReasonOf(lease.status()) != Reason::kNoFreeSlot || !waits) return lease.status();
  }
  return AwaitTurn(deadline_ns);
}

absl::StatusOr<ObjectKeeper::Items> ObjectKeeper::AwaitTurn(int64_t deadline_ns) {
  Waiter waiter;
  waiter.deadline_ns = deadline_ns;
  const MutexLock lock(&state_->mu);
  if (state_->closed) return ObjectPoolClosed();
  waiter.item = state_->TakeIdle();  // returned meanwhile
  if (!waiter.item.empty()) return std::move(waiter.item);
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
    DestroyObject(item);
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
  if (!made.ok()) return made.status();  // the slot goes back with the item
  item.object = *std::move(made);
  const int64_t lifetime_ns = ToNs(options_.max_lifetime);
  const int64_t born_ns = NowNs();
  item.dies_ns =
      lifetime_ns > kNeverNs - born_ns ? kNeverNs : born_ns + WithJitter(lifetime_ns, item.lease);
  return absl::OkStatus();
}

void ObjectKeeper::Stamp(Item& item, int64_t now_ns, CallSite site) const {
  item.acquired_ns = now_ns;
  item.site = site;
  item.thread_id = ThreadId(mark_);
  item.leak_told = false;
}

ObjectKeeper::Use ObjectKeeper::Admit(Items item, CallSite site) {
  const Use use = item.begin();
  Stamp(*use, NowNs(), site);
  const MutexLock lock(&state_->mu);
  ++state_->stats.acquired;
  state_->used.splice(state_->used.end(), item);
  if (options_.leak_after != absl::InfiniteDuration()) state_->Rouse();
  return use;
}

// --- giving back ------------------------------------------------------------------------------

void ObjectKeeper::DestroyObject(Item& item) noexcept {
  if (item.object == nullptr) return;
  if (options_.destroy) options_.destroy(item.object.get());
  item.object.reset();
}

// The objects only; their slots go with the items: nobody may make another object on one before.
void ObjectKeeper::Destroy(Items& items) noexcept {
  for (Item& item : items) DestroyObject(item);
}

// Why the slot is not kept for another use; null if it is.
uint64_t ObjectPoolStats::*ObjectKeeper::WhyGivenBack(const Item& item, bool has_waiters,
                                                      bool scouting) const {
  if (!item.lease.still_held()) return &ObjectPoolStats::lost;
  if (!pool_.OthersWait(scouting ? 1 : 0)) return nullptr;
  // Those who wait here come first, for a while: others wait for the same slots.
  const bool is_time = !has_waiters || NowNs() - item.leased_ns >= ToNs(options_.yield_after);
  return is_time ? &ObjectPoolStats::yielded : nullptr;
}

// To the next in line or among the idle; false: it is to be given up.
bool ObjectKeeper::Keep(Items& item) {
  State& s = *state_;
  s.mu.AssertHeld();
  if (const auto reason = WhyGivenBack(item.front(), !s.waiters.empty(), s.scouting)) {
    ++(s.stats.*reason);
    return false;
  }
  if (s.GiveToWaiter(item)) return true;
  const bool is_kept =
      !s.closed && item.front().object != nullptr && options_.idle_timeout > absl::ZeroDuration();
  if (!is_kept) return false;
  s.idle.splice(s.idle.end(), item);
  s.Rouse();
  return true;
}

void ObjectKeeper::Return(Use use, bool discard) noexcept {
  // In a forked child the object is the parent's, and so is the lock.
  if (!mark_.IsCurrent()) return;
  const int64_t tick_ns = TickNs();
  std::shared_ptr<ObjectKeeper> self;  // goes after the lock
  Items item;
  {
    State& s = *state_;
    const MutexLock lock(&s.mu);
    item.splice(item.end(), s.used, use);
    use->idle_ns = tick_ns + s.suspended_ns;
    if (s.used.empty()) self = std::move(s.self);
    if (!discard && Keep(item)) return;
    if (discard) ++s.stats.discarded;
  }
  Destroy(item);
  if (!discard) return;
  const MutexLock lock(&state_->mu);
  Keep(item);  // the slot without its object
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
