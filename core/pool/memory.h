// SPDX-License-Identifier: Apache-2.0
//
// How the pool algorithms touch memory. They are templates over a policy M, so that a test can
// put a scheduling point at every shared access and replay an interleaving from its choices; the
// product uses RealMemory.
//
// A policy provides U32 and U64 (the shared words), sequentially consistent Load, Store,
// CompareExchange, FetchAdd, FetchOr, FetchAnd and Exchange, the futex calls, SpinRounds and Pause
// (how long to look before a sleep), LoadHint and StoreHint (of a value that is only a guess, which
// a later CompareExchange of the slot word judges) and StoreRelease.
//
// All but the last three are seq_cst, because the protocol has store-then-load pairs on two words
// (slot and session, slot and waiter count, gate and slot). Operations carry the order; there are
// no fences, which ThreadSanitizer could not see.
#pragma once

#include <atomic>
#include <cstdint>

#include "core/shm/futex.h"

// For the few functions that make up the fast path: a call of them costs as much as they do.
#define LEASEPLANE_HOT [[gnu::always_inline]] inline

namespace leaseplane {

// Kinds of sleepers on one futex word, one bit each.
inline constexpr uint32_t kPlainSleeper = 1;
inline constexpr uint32_t kStarvedSleeper = 2;
inline constexpr uint32_t kAnySleeper = ~uint32_t{0};

struct RealMemory {
  using U32 = std::atomic<uint32_t>;
  using U64 = std::atomic<uint64_t>;
  static_assert(U32::is_always_lock_free && sizeof(U32) == 4);
  static_assert(U64::is_always_lock_free && sizeof(U64) == 8);

  static uint32_t Load(const U32& word) noexcept { return word.load(std::memory_order_seq_cst); }
  static uint64_t Load(const U64& word) noexcept { return word.load(std::memory_order_seq_cst); }
  static uint64_t LoadHint(const U64& word) noexcept {
    return word.load(std::memory_order_relaxed);
  }
  static uint32_t LoadHint(const U32& word) noexcept {
    return word.load(std::memory_order_relaxed);
  }
  static void StoreHint(U32& word, uint32_t v) noexcept {
    word.store(v, std::memory_order_relaxed);
  }
  static void Store(U32& word, uint32_t v) noexcept { word.store(v, std::memory_order_seq_cst); }
  static void Store(U64& word, uint64_t v) noexcept { word.store(v, std::memory_order_seq_cst); }
  // For process-private records that another thread of the process reads later. Cheaper than a
  // seq_cst store (no RMW on x86-64); each use says why release is enough.
  static void StoreRelease(U64& word, uint64_t v) noexcept {
    word.store(v, std::memory_order_release);
  }
  static bool CompareExchange(U64& word, uint64_t expected, uint64_t desired) noexcept {
    return word.compare_exchange_strong(expected, desired, std::memory_order_seq_cst);
  }
  static bool CompareExchange(U32& word, uint32_t expected, uint32_t desired) noexcept {
    return word.compare_exchange_strong(expected, desired, std::memory_order_seq_cst);
  }
  static uint32_t FetchAdd(U32& word, uint32_t v) noexcept {
    return word.fetch_add(v, std::memory_order_seq_cst);
  }
  static uint64_t FetchAdd(U64& word, uint64_t v) noexcept {
    return word.fetch_add(v, std::memory_order_seq_cst);
  }
  static uint64_t FetchOr(U64& word, uint64_t v) noexcept {
    return word.fetch_or(v, std::memory_order_seq_cst);
  }
  static uint64_t FetchAnd(U64& word, uint64_t v) noexcept {
    return word.fetch_and(v, std::memory_order_seq_cst);
  }
  static uint64_t Exchange(U64& word, uint64_t v) noexcept {
    return word.exchange(v, std::memory_order_seq_cst);
  }
  // Sleeps while `word` reads `expected`, at most `timeout_ns`. True if woken or the value had
  // changed, false on time-out or interruption by time-out only.
  static bool FutexWait(U32& word, uint32_t expected, int64_t timeout_ns,
                        uint32_t kind = kAnySleeper) noexcept {
    return shm::FutexWait(word, expected, timeout_ns, kind);
  }
  static int SpinRounds() noexcept { return shm::SpinRounds(); }
  static void Pause() noexcept { shm::Pause(); }
  // Of a clock that goes on by itself.
  static int64_t NowNs() noexcept { return shm::NowNs(); }
  // Returns how many it woke.
  static int FutexWake(U32& word, int count, uint32_t kinds = kAnySleeper) noexcept {
    return shm::FutexWake(word, count, kinds);
  }
};

}  // namespace leaseplane
