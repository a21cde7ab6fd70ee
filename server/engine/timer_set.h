// SPDX-License-Identifier: Apache-2.0
//
// TimerSet: what falls due at which instant, in order. Holds plain values; whoever sets a timer
// keeps its instant and cancels by the same value. O(log n) a call.
#pragma once

#include <cstdint>
#include <optional>
#include <tuple>

#include "absl/container/btree_set.h"

namespace leaseplane::engine {

enum class TimerKind : uint8_t {
  kWaitEnds,        // id: ticket; its caller has waited long enough
  kPlaceEnds,       // id: ticket; nobody came back for the place in the queue
  kCoolingEnds,     // id: slot
  kRevokeDue,       // id: slot; grace of a remote lease
  kLocalRevokeDue,  // id: slot; grace of a local lease
  kRepairDue,       // id: slot; claims of a damaged slot have been heard
};

struct Timer {
  int64_t at_ns;
  TimerKind kind;
  uint64_t id;
  bool operator<(const Timer& other) const {
    return std::tie(at_ns, kind, id) < std::tie(other.at_ns, other.kind, other.id);
  }
};

class TimerSet {
 public:
  void Set(const Timer& timer) { timers_.insert(timer); }
  void Cancel(const Timer& timer) { timers_.erase(timer); }
  // Takes out the earliest timer that is due; nullopt if none is.
  std::optional<Timer> PopDue(int64_t now_ns);
  int64_t next_ns() const;  // kNever if empty
  size_t size() const { return timers_.size(); }

 private:
  absl::btree_set<Timer> timers_;
};

}  // namespace leaseplane::engine
