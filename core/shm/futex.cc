// SPDX-License-Identifier: Apache-2.0
#include "core/shm/futex.h"

#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

namespace leaseplane::shm {

bool FutexWait(const std::atomic<uint32_t>& word, uint32_t expected, int64_t timeout_ns) noexcept {
  if (timeout_ns <= 0) return false;
  constexpr int64_t kNsPerSecond = 1'000'000'000;
  timespec timeout{static_cast<time_t>(timeout_ns / kNsPerSecond),
                   static_cast<long>(timeout_ns % kNsPerSecond)};
  long rc = syscall(SYS_futex, &word, FUTEX_WAIT, expected, &timeout, nullptr, 0);
  return rc == 0 || errno != ETIMEDOUT;
}

int FutexWake(const std::atomic<uint32_t>& word, int count) noexcept {
  long rc = syscall(SYS_futex, &word, FUTEX_WAKE, count, nullptr, nullptr, 0);
  return rc < 0 ? 0 : static_cast<int>(rc);
}

}  // namespace leaseplane::shm
