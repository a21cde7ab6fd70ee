// SPDX-License-Identifier: Apache-2.0
//
// WarmShelf: which leases of one pool are kept although nobody uses them, so that the next acquire
// needs no call, and when they are given back. Pure: the time comes in; no thread, no clock.
//
// The last one put is taken first, so what is not needed grows old at the other end. As long as
// somebody is known to wait for a slot of the pool nothing is kept.
//
// Owner: one caller at a time. Errors: none. Cost: O(leases kept), which are few.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "clients/cpp/renewal/renewal_schedule.h"

namespace leaseplane::internal {

class WarmShelf {
 public:
  using Key = RenewalSchedule::Key;
  static constexpr int64_t kNothing = RenewalSchedule::kNothing;
  // The daemon says about once a second that somebody waits.
  static constexpr int64_t kWaitingHeardNs = 2'000'000'000;

  WarmShelf(size_t count_max, int64_t idle_ns) : count_max_(count_max), idle_ns_(idle_ns) {}

  // False: it is not kept.
  bool Put(Key key, int64_t now_ns);
  std::optional<Key> Take();
  // False: not there.
  bool Remove(Key key);
  // Somebody waits. Gives what has to go back.
  std::vector<Key> OnWaiting(int64_t now_ns);
  bool IsWaitedFor(int64_t now_ns) const { return now_ns < waited_for_until_ns_; }
  // What lay idle for too long.
  std::vector<Key> TakeIdle(int64_t now_ns);
  std::vector<Key> TakeAll();
  // When TakeIdle is needed next; kNothing if nothing is kept.
  int64_t NextNs() const { return kept_.empty() ? kNothing : kept_.front().since_ns + idle_ns_; }

 private:
  struct Kept {
    Key key = 0;
    int64_t since_ns = 0;
  };

  const size_t count_max_;
  const int64_t idle_ns_;
  int64_t waited_for_until_ns_ = 0;
  std::deque<Kept> kept_;  // in the order of since_ns
};

}  // namespace leaseplane::internal
