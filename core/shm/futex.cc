// SPDX-License-Identifier: Apache-2.0
#include "core/shm/futex.h"

#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>

namespace leaseplane::shm {
namespace {

constexpr int64_t kNsPerSecond = 1'000'000'000;
constexpr int64_t kTimeoutMaxNs = 1'000'000 * kNsPerSecond;
constexpr int kSpins = 100;

}  // namespace

int SpinRounds() noexcept {
  static const int rounds = [] {
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    return sched_getaffinity(0, sizeof(cpus), &cpus) == 0 && CPU_COUNT(&cpus) == 1 ? 0 : kSpins;
  }();
  return rounds;
}

int64_t NowNs() noexcept {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * kNsPerSecond + now.tv_nsec;
}

bool FutexWait(const std::atomic<uint32_t>& word, uint32_t expected, int64_t timeout_ns,
               uint32_t kind) noexcept {
  if (timeout_ns <= 0) return false;
  const int64_t until_ns = NowNs() + std::min(timeout_ns, kTimeoutMaxNs);  // it wants an instant
  const timespec until{static_cast<time_t>(until_ns / kNsPerSecond),
                       static_cast<long>(until_ns % kNsPerSecond)};
  long rc = syscall(SYS_futex, &word, FUTEX_WAIT_BITSET, expected, &until, nullptr, kind);
  return rc == 0 || errno != ETIMEDOUT;
}

int FutexWake(const std::atomic<uint32_t>& word, int count, uint32_t kinds) noexcept {
  long rc = syscall(SYS_futex, &word, FUTEX_WAKE_BITSET, count, nullptr, nullptr, kinds);
  return rc < 0 ? 0 : static_cast<int>(rc);
}

}  // namespace leaseplane::shm
