// SPDX-License-Identifier: Apache-2.0
//
// RenewalSchedule: which lease is to be renewed when, and which is lost. Pure: the time comes in,
// work comes out; no thread, no clock, no I/O.
//
// A lease is renewed after its renew interval (less up to a tenth, so that leases which were taken
// together do not stay together), again with growing pauses while renewals fail, and is lost at its
// safe deadline, also while a renewal is on its way.
//
// Owner: one caller at a time. Errors: none; a key that is not there is ignored.
// Cost: O(log n) an operation.
#pragma once

#include <cstdint>
#include <limits>
#include <random>
#include <set>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"

namespace leaseplane::internal {

class RenewalSchedule {
 public:
  using Key = uint64_t;
  static constexpr int64_t kNothing = std::numeric_limits<int64_t>::max();

  struct Times {
    int64_t safe_deadline_ns = 0;
    int64_t renew_interval_ns = 0;  // 0: never renewed, only lost
  };
  struct Renewal {
    Key key = 0;
    int64_t timeout_ns = 0;  // give the call up after that
  };
  // What to do now.
  struct Due {
    std::vector<Renewal> renewals;
    std::vector<Key> lost;  // not in the schedule any more
  };

  explicit RenewalSchedule(uint64_t seed) : random_(seed) {}

  void Add(Key key, const Times& times, int64_t now_ns);
  bool Remove(Key key);  // false: not there

  // Replaces the contents of `due`. A renewal that is due is under way from now on.
  void Step(int64_t now_ns, Due& due);
  // When Step is needed next; kNothing if nothing is scheduled.
  int64_t NextNs() const { return order_.empty() ? kNothing : order_.begin()->first; }

  // The answer to a renewal. False: the lease was removed or lost meanwhile.
  bool Renewed(Key key, const Times& times, int64_t now_ns);
  // It may be tried again.
  bool Failed(Key key, int64_t now_ns);

 private:
  struct Entry {
    Times times;
    int64_t due_ns = 0;
    bool under_way = false;
    int failures = 0;
  };

  void Schedule(Key key, Entry& entry, int64_t due_ns);
  void ScheduleRenewal(Key key, Entry& entry, int64_t now_ns);

  absl::flat_hash_map<Key, Entry> entries_;
  std::set<std::pair<int64_t, Key>> order_;
  std::minstd_rand random_;
};

}  // namespace leaseplane::internal
