// SPDX-License-Identifier: Apache-2.0
//
// HeartbeatWatch: decides when the daemon's heart stands still, so that clients go on without its
// gate. Pure: the time comes in. One thread.
#pragma once

#include <cstdint>

namespace leaseplane::internal {

class HeartbeatWatch {
 public:
  static constexpr int64_t kCheckPeriodNs = 250'000'000;
  static constexpr int64_t kStillAfterNs = 500'000'000;

  // Feeds the counter as read at `now_ns`; true if it has stood still for too long. Two checks in a
  // row have to agree, for after a pause of this process one of them says nothing.
  bool StandsStill(uint64_t counter, int64_t now_ns) {
    if (!started_ || counter != counter_) {
      started_ = true;
      counter_ = counter;
      changed_ns_ = now_ns;
      same_count_ = 0;
      return false;
    }
    ++same_count_;
    return same_count_ >= 2 && now_ns - changed_ns_ >= kStillAfterNs;
  }
  void Reset() { started_ = false; }

 private:
  bool started_ = false;
  uint64_t counter_ = 0;
  int64_t changed_ns_ = 0;
  int same_count_ = 0;
};

}  // namespace leaseplane::internal
