// SPDX-License-Identifier: Apache-2.0
//
// Processes that take and give back slots of one pool in shared memory while others of them are
// killed, and a guard beside the pool that knows nothing of its code: one entry a slot says who is
// inside and which token was the last.
//
// Ownership: World owns the mapping; forked workers inherit it. Threads: World is for the parent,
// which has one thread; Guard and the pool's words for everybody.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "core/pool/authority.h"
#include "core/pool/memory.h"
#include "tests/support/finder_memory.h"

namespace leaseplane::churn {

using M = RealMemory;

inline constexpr uint32_t kCapacityMax = 4096;
inline constexpr uint32_t kWorkersMax = 64;  // sessions of one world, those that were killed too

struct Config {
  uint64_t seed = 0;
  uint32_t capacity = 1;
  uint32_t processes = 1, threads = 1;
  uint32_t holds = 1;  // slots a thread has at once, at most
  uint32_t spins = 0;  // how long it keeps them, at most
  uint32_t kills = 0;
  bool waits = false;  // else it tries
  uint32_t lasts_ms = 200;

  std::string Describe() const;
};

// Who is inside a slot: session + 1, 0 nobody.
struct GuardEntry {
  std::atomic<uint32_t> inside{0};
  std::atomic<uint64_t> last_token{0};
};

struct Guard {
  GuardEntry slots[kCapacityMax];
  std::atomic<bool> is_over[kOwnerSessionFirst + kWorkersMax];  // sessions that were killed
  std::atomic<uint64_t> holds{0};
  std::atomic<uint32_t> second_holders{0}, old_tokens{0}, failed_releases{0}, failed_waits{0};
  std::atomic<bool> stop{false};

  // Called with a grant in hand, and before it is given back.
  void Enter(SlotIndex slot, SessionIndex me, FencingToken token);
  void Leave(SlotIndex slot, SessionIndex me);
  std::string Complaints() const;  // empty: none
};

// All that lies in shared memory.
struct Shared {
  M::U64 slots[kCapacityMax * 8];
  M::U64 grant_bits[kCapacityMax / 64];
  M::U64 sessions[kOwnerSessionFirst + kWorkersMax];
  alignas(64) M::U32 wseq{0};
  alignas(64) M::U32 dseq{0};
  alignas(64) M::U64 wcnt{0}, heartbeat{0};
  alignas(64) M::U64 policy{shm::MakePolicy(1, shm::Gate::kOpen, shm::ReleaseWord::kFree)};
  M::U32 drained{0};
  FinderMemory<M, kCapacityMax, 64> finder;
  Guard guard;
};

class World {
 public:
  explicit World(const Config& config);
  ~World();
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  // Runs the configuration to its end: every process has gone, its session is ended. What is wrong
  // with what was seen meanwhile and what is left; empty: nothing.
  std::string Run();
  uint64_t holds() const { return shared_->guard.holds; }
  uint32_t killed() const { return killed_; }

 private:
  struct Worker {
    pid_t pid = 0;
    SessionIndex session = 0;
  };
  void Start();  // one more worker
  void Kill(size_t which);
  void EndSession(SessionIndex session);
  void Tick();
  std::string JudgeRest();

  const Config config_;
  Shared* shared_;
  PoolWords<M> words_;
  std::vector<Authority<M>> authority_;  // one, once the words are laid
  std::vector<Worker> workers_;
  SessionIndex next_session_ = kOwnerSessionFirst;
  uint32_t killed_ = 0;
  ScanReport report_;
  uint64_t violations_ = 0;
};

// The life of a worker process: threads at work until the guard says stop. Its exit code.
int Work(const Config& config, const PoolWords<M>& words, Guard& guard, SessionIndex me);

}  // namespace leaseplane::churn
