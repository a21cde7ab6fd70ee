// SPDX-License-Identifier: Apache-2.0
//
// SimMemory: the memory policy under which the pool algorithms run here. Every access is a
// scheduling point, and every write is shown to an observer. Memory is sequentially consistent,
// with one exception: a StoreRelease may be kept back in the storing fiber's own buffer until its
// next locked operation, as a processor does it.
#pragma once

#include <cstdint>

#include "core/shm/layout.h"
#include "tests/model/explorer/scheduler.h"
#include "tests/support/finder_memory.h"

namespace leaseplane::explorer {

// Sees every write right after it took effect, before anybody else runs.
class MemoryObserver {
 public:
  virtual ~MemoryObserver() = default;
  virtual void OnWrite(const uint64_t& word, uint64_t before, uint64_t after) = 0;
  virtual void OnTrace(const char* operation, const void* word, uint64_t a, uint64_t b) = 0;
  // True if the running fiber's store is to be kept back.
  virtual bool KeepBack() = 0;
};

// One fiber's stores that nobody else sees yet, oldest first.
struct StoreBuffer {
  static constexpr int kMax = 8;
  struct Entry {
    uint64_t* word;
    uint64_t value;
  };
  Entry entries[kMax];
  int count = 0;

  void Drain() {
    for (int i = 0; i < count; ++i) *entries[i].word = entries[i].value;
    count = 0;
  }
};

struct SimMemory {
  using U32 = uint32_t;
  using U64 = uint64_t;

  static MemoryObserver* observer;
  static StoreBuffer buffers[Scheduler::kFibersMax];
  static bool tracing;
  static bool quiet;  // no scheduling points: outside an execution, and for what is not under test
  static const FinderMemory<SimMemory>* quiet_hints;  // nor at these words, if any

  static uint32_t Load(const U32& word) { return LoadAny("load", word); }
  static uint64_t Load(const U64& word) { return LoadAny("load", word); }
  static uint64_t LoadHint(const U64& word) { return LoadAny("load hint", word); }
  static uint32_t LoadHint(const U32& word) { return LoadAny("load hint", word); }
  static void StoreHint(U32& word, uint32_t v) {
    Before(&word);
    Trace("store hint", &word, word, v);
    word = v;
  }
  static uint64_t FetchOr(U64& word, uint64_t v) {
    Before(&word);
    const uint64_t before = word;
    Trace("or", &word, before, before | v);
    Write(word, before | v);
    return before;
  }
  static uint64_t FetchAnd(U64& word, uint64_t v) {
    Before(&word);
    const uint64_t before = word;
    Trace("and", &word, before, before & v);
    Write(word, before & v);
    return before;
  }
  static void Store(U32& word, uint32_t v) {
    Before(&word);
    Trace("store", &word, word, v);
    word = v;
  }
  static void Store(U64& word, uint64_t v) {
    Before(&word);
    Trace("store", &word, word, v);
    Write(word, v);
  }
  static void StoreRelease(U64& word, uint64_t v);
  static bool CompareExchange(U64& word, uint64_t expected, uint64_t desired) {
    Before(&word);
    if (word != expected) {
      Trace("cas fails", &word, word, expected);
      return false;
    }
    Trace("cas", &word, expected, desired);
    Write(word, desired);
    return true;
  }
  static bool CompareExchange(U32& word, uint32_t expected, uint32_t desired) {
    Before();
    Trace(word == expected ? "cas" : "cas fails", &word, word, desired);
    if (word != expected) return false;
    word = desired;
    return true;
  }
  static uint32_t FetchAdd(U32& word, uint32_t v) {
    Before();
    Trace("add", &word, word, word + v);
    word += v;
    return word - v;
  }
  static uint64_t FetchAdd(U64& word, uint64_t v) {
    Before();
    Trace("add", &word, word, word + v);
    Write(word, word + v);
    return word - v;
  }
  static uint64_t Exchange(U64& word, uint64_t v) {
    Before();
    const uint64_t before = word;
    Trace("exchange", &word, before, v);
    Write(word, v);
    return before;
  }
  // Time runs out only when the fault source says so: the cap on every sleep would hide lost wakes.
  static bool FutexWait(U32& word, uint32_t expected, int64_t timeout_ns,
                        uint32_t kind = kAnySleeper);
  static int FutexWake(U32& word, int count, uint32_t kinds = kAnySleeper) {
    Before();
    Trace("wake", &word, static_cast<uint64_t>(count), kinds);
    if (kinds == kStarvedSleeper) return TheScheduler().Wake(StarvedAt(word), count);
    return TheScheduler().Wake(&word, count, StarvedAt(word));
  }
  // What starved sleepers on `word` are blocked on.
  static const void* StarvedAt(const U32& word) { return reinterpret_cast<const char*>(&word) + 1; }

  static int spin_rounds;
  static int SpinRounds() { return spin_rounds; }
  static void Pause() {}

  // For turns, which are long over each time somebody looks.
  static int64_t NowNs() { return now_ns += 1'000'000'000; }
  static int64_t now_ns;

  // A scheduling point at which the running fiber's stores become visible.
  static void Before(const void* word = nullptr) {
    if (quiet || IsQuietHint(word)) return;
    TheScheduler().Point();
    buffers[TheScheduler().current()].Drain();
  }
  static void Trace(const char* operation, const void* word, uint64_t a, uint64_t b) {
    if (tracing) observer->OnTrace(operation, word, a, b);
  }

 private:
  static bool IsQuietHint(const void* word) {
    return quiet_hints != nullptr && word != nullptr && quiet_hints->Contains(word);
  }
  template <class Word>
  static Word LoadAny(const char* operation, const Word& word) {
    if (quiet || IsQuietHint(&word)) return word;
    TheScheduler().Point();
    Word value = word;
    const StoreBuffer& own = buffers[TheScheduler().current()];
    for (int i = 0; i < own.count; ++i) {
      if (static_cast<const void*>(own.entries[i].word) == static_cast<const void*>(&word)) {
        value = static_cast<Word>(own.entries[i].value);
      }
    }
    Trace(operation, &word, value, 0);
    return value;
  }
  static void Write(U64& word, uint64_t v) {
    const uint64_t before = word;
    word = v;
    if (!quiet) observer->OnWrite(word, before, v);
  }
};

}  // namespace leaseplane::explorer
