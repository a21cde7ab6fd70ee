// SPDX-License-Identifier: Apache-2.0
//
// The two clocks of the daemon, read in one place. BootNowNs counts suspended time and is what
// deadlines are made of; UnixNowNs is for people and for epochs.
#pragma once

#include <time.h>

#include <cstdint>

namespace leaseplane::obs {

inline int64_t ReadClockNs(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}
inline int64_t BootNowNs() { return ReadClockNs(CLOCK_BOOTTIME); }
inline int64_t UnixNowNs() { return ReadClockNs(CLOCK_REALTIME); }

}  // namespace leaseplane::obs
