// SPDX-License-Identifier: Apache-2.0
//
// Crowd: more workers than there are slots, in two processes, each of them taking a slot, holding
// it for a time and giving it back; measured in windows, so that several crowds can take turns.
//
// Ownership: the processes end with the crowd. Threads: one caller, which has no other threads when
// it makes a crowd. Errors: abort with a reason.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

namespace leaseplane::bench {

// One worker's way to a slot. Used by its thread only.
class Taker {
 public:
  virtual ~Taker() = default;
  virtual void Take() = 0;  // returns when the slot is ours
  virtual void Give() = 0;
};
using MakeTaker = std::function<std::unique_ptr<Taker>()>;
// Called once in each process, before its threads; what it returns is called in each thread.
using JoinProcess = std::function<MakeTaker()>;

struct CrowdWindow {
  double seconds = 0;
  uint64_t ops = 0;
  double p50_us = 0, p99_us = 0;  // of the waits, to within 13 %
  double longest_ms = 0;          // also of waits that the end of the window cut off
  double fairness = 0;  // Jain's index of what each worker got: 1 is even, 1 / workers one
                        // that took all
  double Throughput() const { return static_cast<double>(ops) / seconds; }
};

class Crowd {
 public:
  static constexpr int kProcesses = 2;
  static constexpr int kWorkersMax = 256;

  // REQUIRES an even number of workers.
  Crowd(int workers, int64_t hold_ns, JoinProcess join);
  ~Crowd();
  Crowd(const Crowd&) = delete;
  Crowd& operator=(const Crowd&) = delete;

  CrowdWindow Run(double seconds);

 private:
  struct Shared;
  void WorkInProcess(int process);
  void Work(int worker, Taker& taker);
  void AwaitReady();

  const int workers_;
  const int64_t hold_ns_;
  const JoinProcess join_;
  Shared* shared_;
  std::vector<pid_t> children_;
};

}  // namespace leaseplane::bench
