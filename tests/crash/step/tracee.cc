// SPDX-License-Identifier: Apache-2.0
#include "tests/crash/step/tracee.h"

#include <errno.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <system_error>

#include "tests/crash/step/breakpoints.h"

// Made by the linker: the bounds of the program's own code.
extern "C" const char __executable_start;
extern "C" const char etext;

namespace leaseplane::step {
namespace {

[[noreturn]] void Die(const char* what) {
  throw std::system_error(errno, std::generic_category(), what);
}

uint64_t Address(const void* pointer) { return reinterpret_cast<uint64_t>(pointer); }

void Nap(long ns) {
  const timespec time{0, ns};
  nanosleep(&time, nullptr);
}

}  // namespace

[[gnu::noinline]] void EndMarker() { asm volatile("nop"); }

TracedCode TracedCode::Own() {
  return {Address(&__executable_start), Address(&etext),
          Address(reinterpret_cast<const void*>(&EndMarker))};
}

Tracee Tracee::Seize(pid_t tid) {
  if (ptrace(PTRACE_SEIZE, tid, 0, 0) != 0 || ptrace(PTRACE_INTERRUPT, tid, 0, 0) != 0) {
    Die("seize");
  }
  int status = 0;
  if (waitpid(tid, &status, __WALL) != tid || !WIFSTOPPED(status)) Die("seized thread");
  return Tracee(tid);
}

bool Tracee::Continue(int request) {
  const int signal = signal_;
  signal_ = 0;
  return ptrace(static_cast<__ptrace_request>(request), tid_, 0, signal) == 0;
}

bool Tracee::IsAsleepInFutex() const {
  const std::string path = "/proc/" + std::to_string(tid_) + "/syscall";
  FILE* file = std::fopen(path.c_str(), "re");
  if (file == nullptr) return false;
  char text[16] = {};
  const size_t got = std::fread(text, 1, sizeof(text) - 1, file);
  std::fclose(file);
  return got > 0 && std::strtol(text, nullptr, 10) == SYS_futex;  // "running" reads as 0
}

// False: it has exited.
bool Tracee::AwaitStop(const std::function<void()>& on_blocked) {
  bool told = false;
  for (int looks = 0;; ++looks) {
    int status = 0;
    const pid_t found = waitpid(tid_, &status, __WALL | (on_blocked ? WNOHANG : 0));
    if (found < 0) {
      if (errno == ECHILD) return false;
      if (errno != EINTR) Die("waitpid");
      continue;
    }
    if (found == 0) {
      if (looks < 2000) continue;  // most calls return at once
      Nap(100'000);
      if (!told && IsAsleepInFutex()) {
        told = true;
        on_blocked();
      }
      continue;
    }
    if (!WIFSTOPPED(status)) return false;
    const int signal = WSTOPSIG(status);
    // Stops of the tracer's making are not for the tracee.
    signal_ = signal == SIGTRAP || signal == SIGSTOP || (status >> 16) != 0 ? 0 : signal;
    return true;
  }
}

Tracee::State Tracee::RunTo(uint64_t address, const std::function<void()>& on_blocked) {
  const bool has_breakpoints = HasBreakpoints();
  if (has_breakpoints) SetBreakpoint(tid_, address);
  for (;;) {
    if (!Continue(has_breakpoints ? PTRACE_CONT : PTRACE_SINGLESTEP)) return State::kExited;
    if (!AwaitStop(on_blocked)) return State::kExited;
    user_regs_struct registers{};
    if (ptrace(PTRACE_GETREGS, tid_, 0, &registers) != 0) return State::kExited;
    if (registers.rip == address) break;
  }
  if (has_breakpoints) SetBreakpoint(tid_, 0);
  return address == code_.last ? State::kAtEnd : State::kStepped;
}

Tracee::State Tracee::Step(const std::function<void()>& on_blocked) {
  for (;;) {
    if (!Continue(PTRACE_SINGLESTEP)) return State::kExited;
    if (!AwaitStop(nullptr)) return State::kExited;
    user_regs_struct registers{};
    if (ptrace(PTRACE_GETREGS, tid_, 0, &registers) != 0) return State::kExited;
    if (registers.rip == code_.last) return State::kAtEnd;
    if (code_.Has(registers.rip)) return State::kStepped;
    if (code_.steps_outside) continue;
    // Outside for the first time after a call: the way back lies on the stack.
    errno = 0;
    const auto back = static_cast<uint64_t>(ptrace(PTRACE_PEEKDATA, tid_, registers.rsp, 0));
    if (errno != 0 || !code_.Has(back)) continue;
    const State state = RunTo(back, on_blocked);
    return state;
  }
}

void Tracee::Detach() {
  if (ptrace(PTRACE_DETACH, tid_, 0, signal_) == 0) return;
  if (errno != ESRCH) Die("detach");
  waitpid(tid_, nullptr, __WALL);  // dead with its process, which is not reported before
}

}  // namespace leaseplane::step
