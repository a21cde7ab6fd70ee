// SPDX-License-Identifier: Apache-2.0
#include "clients/cli/boot_clock.h"

#include <sys/timerfd.h>
#include <time.h>

#include <algorithm>
#include <limits>

namespace leaseplane::cli {

constexpr int64_t kSecondNs = 1'000'000'000;

int64_t BootNowNs() {
  timespec now{};
  ::clock_gettime(CLOCK_BOOTTIME, &now);
  return int64_t{now.tv_sec} * kSecondNs + now.tv_nsec;
}

BootTimer::BootTimer() : fd_(::timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK)) {}

void BootTimer::SetAt(int64_t at_ns) {
  itimerspec when{};  // all zero: disarmed
  if (at_ns != std::numeric_limits<int64_t>::max()) {
    const int64_t armed_ns = std::max<int64_t>(at_ns, 1);
    when.it_value.tv_sec = armed_ns / kSecondNs;
    when.it_value.tv_nsec = armed_ns % kSecondNs;
  }
  ::timerfd_settime(fd_.get(), TFD_TIMER_ABSTIME, &when, nullptr);
}

}  // namespace leaseplane::cli
