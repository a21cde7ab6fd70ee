// SPDX-License-Identifier: Apache-2.0
//
// Scheduler: runs fibers one at a time and decides at every scheduling point who goes on and which
// fault strikes. The decisions of one execution are a list of small numbers, so that all of them
// can be gone through depth first, drawn from a seed, or replayed.
//
// A preemption is a switch away from a fiber that could have gone on; their number is bounded.
// Switches away from a blocked fiber, and right after a fault, are free.
//
// Ownership: owns the fibers; borrows the fault source. Threads: one. Errors: Fail() ends the
// execution from wherever it is called.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "tests/model/explorer/fiber.h"

namespace leaseplane::explorer {

// What may strike the running fiber at a scheduling point, or one that has just blocked.
class FaultSource {
 public:
  virtual ~FaultSource() = default;
  virtual uint32_t CountFaults(int fiber) = 0;
  virtual void ApplyFault(int fiber, uint32_t which) = 0;
};

enum class SearchMode : uint8_t { kDepthFirst, kRandom, kReplay };

class Scheduler {
 public:
  static constexpr int kFibersMax = 24;
  using Body = std::function<void()>;

  // -- search, from outside
  void StartDepthFirst();
  void StartRandom(uint64_t seed);
  void StartReplay(const std::vector<int>& picks);
  // Prepares the next execution; false when all have been seen (never in random mode).
  bool NextExecution();
  std::vector<int> Picks() const;

  // -- one execution, from outside
  void Begin(FaultSource* faults, int preemptions);
  int Spawn(const char* name, Body body);
  // Runs until nobody can go on, or a failure. May be called again after Wake.
  void Run();
  bool AnyReady() const { return ready_ != 0; }
  bool failed() const { return !failure_.empty(); }
  const std::string& failure() const { return failure_; }
  uint64_t points() const { return points_; }

  // -- from inside a fiber
  void Point();                    // somebody else may go on before the next access
  void Yield();                    // as Point, but a switch is no preemption
  void BlockOn(const void* what);  // until Wake(what) chooses this fiber
  // Fibers that wait for one or the other (not null for those that wait); returns how many.
  int Wake(const void* what, int count, const void* or_what);
  int Wake(const void* what, int count) { return Wake(what, count, what); }
  uint32_t Choose(uint32_t count);  // 0 .. count-1
  [[noreturn]] void Fail(const std::string& why);
  void MarkFailed(const std::string& why);  // from outside, after Run

  // -- for the world
  int current() const { return current_; }
  void Kill(int fiber);  // it never runs again; a fiber may kill itself only in ApplyFault
  bool IsBlockedOn(int fiber, const void* what) const { return actors_[fiber].waiting == what; }
  void Unblock(int fiber);
  bool IsFinished(int fiber) const { return actors_[fiber].state == State::kFinished; }
  const char* NameOf(int fiber) const { return fiber < 0 ? "-" : actors_[fiber].name; }

 private:
  enum class State : uint8_t { kUnused, kReady, kBlocked, kFinished, kDead };
  struct Actor {
    Fiber fiber;
    Body body;
    const char* name = "";
    const void* waiting = nullptr;
    State state = State::kUnused;
  };
  struct Decision {
    uint16_t count, pick;
  };

  static void Trampoline();
  void SwitchTo(int fiber);
  void SwitchToOutside();
  void LeaveCurrent();  // the running fiber cannot go on
  uint32_t Draw(uint32_t count);
  uint32_t Decide(uint32_t count, bool sticky);
  int Nth(uint32_t mask, uint32_t n) const;

  SearchMode mode_ = SearchMode::kDepthFirst;
  bool first_ = true;
  uint64_t random_state_ = 1;
  uint32_t stay_ = 1;
  std::vector<Decision> path_;
  size_t position_ = 0;

  std::array<Actor, kFibersMax> actors_;
  Fiber outside_;
  FaultSource* faults_ = nullptr;
  int fiber_count_ = 0;
  int current_ = -1;
  int preemptions_left_ = 0;
  uint32_t ready_ = 0;  // bit mask of fibers in kReady
  uint32_t steps_ = 0;
  uint64_t points_ = 0;
  std::string failure_;
};

// The one scheduler of the program: memory policies are static, so they need to find it.
Scheduler& TheScheduler();

}  // namespace leaseplane::explorer
