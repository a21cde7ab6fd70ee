// SPDX-License-Identifier: Apache-2.0
//
// Fiber: a stack of its own that is switched to by hand, so that one kernel thread runs all actors
// of a simulated system in exactly the order a scheduler says.
//
// Ownership: owns its stack. A fiber that is never resumed again leaves no trace, but nothing on
// its stack is destroyed: actors keep heap memory elsewhere. Threads: one. Cost: a switch is a
// handful of instructions on x86-64, a system call elsewhere and under sanitizers.
#pragma once

#include <cstddef>
#include <memory>

#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define LEASEPLANE_FIBER_ASM 1
#else
#define LEASEPLANE_FIBER_ASM 0
#include <ucontext.h>
#endif

namespace leaseplane::explorer {

class Fiber {
 public:
  using Entry = void (*)();

  Fiber() = default;
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // The next switch to this fiber calls `entry`, which must never return. REQUIRES: not running.
  void Reset(Entry entry);

  // Saves the running context in `from` and goes on in `to`.
  static void Switch(Fiber& from, Fiber& to);

 private:
  static constexpr size_t kStackBytes = 64 * 1024;

  std::unique_ptr<std::byte[]> stack_;  // none for the fiber that is the program's own stack
#if LEASEPLANE_FIBER_ASM
  void* stack_pointer_ = nullptr;
#else
  ucontext_t context_{};
#endif
};

}  // namespace leaseplane::explorer
