// SPDX-License-Identifier: Apache-2.0
//
// The futex calls, on words that several processes share (never the _PRIVATE forms).
#pragma once

#include <atomic>
#include <cstdint>

namespace leaseplane::shm {

// Sleeps while `word` == `expected`, for at most `timeout_ns` (relative, CLOCK_MONOTONIC; <= 0
// returns at once). Returns false only if the time ran out; true if woken, if the value differed,
// or on a signal. Spurious returns of true are possible: callers rescan.
// `kind` has a bit for each kind of sleeper this one is.
bool FutexWait(const std::atomic<uint32_t>& word, uint32_t expected, int64_t timeout_ns,
               uint32_t kind = ~uint32_t{0}) noexcept;

// Wakes at most `count` sleepers of `word`, in any process, the longest asleep first; only those
// that are of one of the `kinds`. Returns how many.
int FutexWake(const std::atomic<uint32_t>& word, int count, uint32_t kinds = ~uint32_t{0}) noexcept;

// How often whoever is about to sleep looks once more first, Pause() before each time: 0 where the
// thread that could bring news has no other processor to run on.
int SpinRounds() noexcept;
// Leaves the core to its other thread for some tens of cycles.
inline void Pause() noexcept {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// CLOCK_MONOTONIC.
int64_t NowNs() noexcept;

inline constexpr int kWakeAll = 0x7fffffff;

}  // namespace leaseplane::shm
