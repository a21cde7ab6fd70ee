// SPDX-License-Identifier: Apache-2.0
//
// Tracee: one thread of another process, driven one instruction at a time. Only instructions of the
// code under test are counted and stepped; a call that leaves it (libc) runs as a whole to its
// return, which a hardware breakpoint catches, or is stepped uncounted on a machine without. So
// "instruction n" is the n-th of the library under test, whatever libc does.
//
// Threads: the one that began the trace (ptrace demands it). Errors: throws.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>

namespace leaseplane::step {

// Where a traced stretch ends: the tracee stops when it is about to run this function.
[[gnu::noinline]] void EndMarker();

// What is counted and stepped, and the instruction before which the stretch ends.
struct TracedCode {
  uint64_t begin = 0, end = 0, last = 0;
  bool steps_outside = false;  // other code is stepped, too, uncounted; no breakpoint is needed

  // This program's own text, to EndMarker: of a child that was forked and has executed nothing.
  static TracedCode Own();
  bool Has(uint64_t address) const { return address >= begin && address < end; }
};

class Tracee {
 public:
  enum class State { kStepped, kAtEnd, kExited };

  // Traces thread `tid`, which has just stopped at its own breakpoint instruction (a child that
  // asked to be traced), or which Seize has stopped.
  explicit Tracee(pid_t tid, const TracedCode& code = TracedCode::Own()) : tid_(tid), code_(code) {}

  // Makes a thread of a child stop wherever it is.
  static Tracee Seize(pid_t tid);

  // Goes to the next counted instruction. `on_blocked` is called, once at most for each call that
  // sleeps in the kernel, when the thread is seen asleep there in a futex call.
  State Step(const std::function<void()>& on_blocked);

  // Lets it run freely, no longer traced.
  void Detach();

  pid_t tid() const { return tid_; }

 private:
  bool IsAsleepInFutex() const;
  bool AwaitStop(const std::function<void()>& on_blocked);
  State RunTo(uint64_t address, const std::function<void()>& on_blocked);
  bool Continue(int request);

  pid_t tid_;
  TracedCode code_;
  int signal_ = 0;  // to be delivered when it goes on
};

}  // namespace leaseplane::step
