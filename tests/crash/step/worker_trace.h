// SPDX-License-Identifier: Apache-2.0
//
// WorkerTrace: catches the daemon's worker when one of its threads is about to run a function, and
// hands that thread over to be stepped through the call.
//
// Threads: one (ptrace demands it). Errors: throws. Before its destruction the thread it gave has
// to be let go or to be dead.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <set>
#include <string>

#include "tests/crash/step/tracee.h"

namespace leaseplane::step {

class WorkerTrace {
 public:
  // `function`: how its mangled name begins; exactly one of `program`'s names does, or the shortest
  // is meant. All threads of `worker` are watched from here on.
  WorkerTrace(pid_t worker, const std::string& program, const std::string& function);
  ~WorkerTrace();
  WorkerTrace(const WorkerTrace&) = delete;
  WorkerTrace& operator=(const WorkerTrace&) = delete;

  // Waits for the call. The thread stands before its first instruction; the stretch ends with its
  // return. All other threads run freely.
  Tracee AwaitCall();

 private:
  void SeizeAll();
  void Seize(pid_t tid);
  void Write(uint8_t byte);
  uint8_t Read() const;
  // True if `status` says that `tid` stands at the call.
  bool Handle(pid_t tid, int status);
  bool StepBack(pid_t tid, int status);  // to the call's first instruction, if it stands behind it
  void LetOthersGo(pid_t caller);

  const pid_t worker_;
  TracedCode code_;
  uint64_t at_ = 0;  // address of the function
  int memory_ = -1;
  uint8_t original_ = 0;
  std::set<pid_t> threads_;
};

}  // namespace leaseplane::step
