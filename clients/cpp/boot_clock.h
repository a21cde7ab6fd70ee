// SPDX-License-Identifier: Apache-2.0
//
// The clock of the client library: CLOCK_BOOTTIME, which goes on while the machine is suspended, so
// that a lease which ended meanwhile is not believed afterwards.
#pragma once

#include <time.h>

#include <cstdint>
#include <limits>

#include "absl/time/time.h"

namespace leaseplane::internal {

inline constexpr int64_t kMillisecondNs = 1'000'000;
inline constexpr int64_t kSecondNs = 1'000 * kMillisecondNs;
inline constexpr int64_t kNeverNs = std::numeric_limits<int64_t>::max();

inline int64_t ReadClockNs(clockid_t clock) {
  timespec now{};
  ::clock_gettime(clock, &now);
  return int64_t{now.tv_sec} * kSecondNs + now.tv_nsec;
}
inline int64_t BootNowNs() { return ReadClockNs(CLOCK_BOOTTIME); }

// CLOCK_MONOTONIC, which stands still during suspend.
inline int64_t MonotonicNowNs() { return ReadClockNs(CLOCK_MONOTONIC); }
// The same as of the kernel's last tick, some milliseconds ago at most, for a fifth of the cost.
inline int64_t CoarseMonotonicNowNs() { return ReadClockNs(CLOCK_MONOTONIC_COARSE); }

// `now_ns + wait` without overflow; an infinite wait gives kNeverNs, a negative one `now_ns`.
inline int64_t DeadlineAfter(int64_t now_ns, absl::Duration wait) {
  if (wait <= absl::ZeroDuration()) return now_ns;
  const int64_t wait_ns = absl::ToInt64Nanoseconds(wait);  // saturates
  return wait_ns > kNeverNs - now_ns ? kNeverNs : now_ns + wait_ns;
}

}  // namespace leaseplane::internal
