// SPDX-License-Identifier: Apache-2.0
//
// ObjectKeeper: what an ObjectPool does, without the type of its objects. Not for users: see
// object_pool.h, whose contract this is.
//
// Every object stands on a lease of its own: there is none without, so the pool's capacity bounds
// the objects of all processes together. Callers that find neither an idle object nor a free slot
// line up here; one thread asks the pool for a slot on their behalf and looks after idle objects.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "leaseplane/internal/process_mark.h"
#include "leaseplane/lease.h"
#include "leaseplane/pool.h"

namespace leaseplane {

// Where in the source something was asked for; taken by a default argument.
struct CallSite {
  const char* file = "";
  int line = 0;
  const char* function = "";

  static constexpr CallSite Here(const char* file = __builtin_FILE(), int line = __builtin_LINE(),
                                 const char* function = __builtin_FUNCTION()) {
    return {file, line, function};
  }
};

// An object that is in use, and by whom.
struct ObjectUse {
  SlotIndex slot = 0;
  FencingToken token = 0;
  absl::Duration held_for;
  CallSite site;          // of the Acquire
  int64_t thread_id = 0;  // as in /proc/PID/task
};

// Counters since the pool of objects was made, and three gauges.
struct ObjectPoolStats {
  uint64_t acquired = 0, timed_out = 0;
  uint64_t created = 0, create_failures = 0;
  uint64_t reused = 0, invalid = 0;  // invalid: idle objects that validate refused
  uint64_t idle_expired = 0, lifetime_expired = 0;
  uint64_t lost = 0, discarded = 0, yielded = 0;  // see ObjectPoolOptions
  uint64_t leaks = 0;                             // uses that were reported to on_leak
  uint32_t in_use = 0, idle = 0, waiting = 0;
};

namespace internal {

struct ObjectKeeperOptions {
  std::function<absl::StatusOr<std::shared_ptr<void>>(const Lease&)> create;
  std::function<bool(void*)> validate;
  std::function<void(void*)> destroy;
  std::function<void(const ObjectUse&)> on_leak;
  std::function<absl::Duration()> now;
  absl::Duration idle_timeout, max_lifetime, validate_after, leak_after, yield_after;
};

class ObjectKeeper : public std::enable_shared_from_this<ObjectKeeper> {
 public:
  // An object out of the keeper, with its lease.
  struct Item {
    Lease lease;
    std::shared_ptr<void> object;
    int64_t dies_ns = 0;    // end of its lifetime
    int64_t leased_ns = 0;  // since when the slot is ours
    int64_t idle_ns = 0;    // since when it lies idle
    int64_t acquired_ns = 0;
    CallSite site;
    int64_t thread_id = 0;
    bool leak_told = false;
  };
  // An item stays in the same node of a list for its life, whichever list that is: to use it again
  // takes neither memory nor a search.
  using Items = std::list<Item>;
  using Use = Items::iterator;

  static absl::StatusOr<std::shared_ptr<ObjectKeeper>> Make(Pool pool, ObjectKeeperOptions options);
  ObjectKeeper(Pool pool, ObjectKeeperOptions options);
  ~ObjectKeeper();
  ObjectKeeper(const ObjectKeeper&) = delete;
  ObjectKeeper& operator=(const ObjectKeeper&) = delete;

  // What is in use keeps the keeper alive until it has come back (see State::self).
  absl::StatusOr<Use> Acquire(absl::Duration max_wait, CallSite site);
  void Return(Use use, bool discard) noexcept;
  void Sweep();
  void Close();
  ObjectPoolStats stats() const;
  std::vector<ObjectUse> uses() const;

 private:
  struct Waiter;
  struct State;  // behind a pointer: its locks are the library's own

  int64_t NowNs() const;
  int64_t TickNs() const;
  bool IsReady(const Item& item, int64_t now_ns) const;
  bool Reuse(CallSite site, Use& use);
  // Lists of one.
  absl::StatusOr<Items> Obtain(int64_t deadline_ns, bool waits);
  absl::StatusOr<Items> AwaitTurn(int64_t deadline_ns);
  absl::Status Furnish(Item& item);
  Use Admit(Items item, CallSite site);
  void Stamp(Item& item, int64_t now_ns, CallSite site) const;
  bool Keep(Items& item);
  uint64_t ObjectPoolStats::*WhyGivenBack(const Item& item, bool has_waiters, bool scouting) const;
  void DestroyObject(Item& item) noexcept;
  void Destroy(Items& items) noexcept;
  void TellLeaks(int64_t now_ns);
  static ObjectUse Describe(const Item& item, int64_t now_ns);

  static void* ThreadMain(void* keeper);
  void Run();
  void Scout(std::string& request_id);

  const Pool pool_;
  const ObjectKeeperOptions options_;
  const ProcessMark mark_ = ProcessMark::Current();
  std::unique_ptr<State> state_;
  std::shared_ptr<ObjectKeeper> self_in_child_;  // see Close
};

}  // namespace internal
}  // namespace leaseplane
