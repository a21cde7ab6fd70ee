// SPDX-License-Identifier: Apache-2.0
#include "tests/crash/step/breakpoints.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <system_error>

namespace leaseplane::step {
namespace {

[[noreturn]] void Die(const char* what) {
  throw std::system_error(errno, std::generic_category(), what);
}

[[gnu::noinline]] void Target() { asm volatile("nop"); }

bool Probe() {
  const pid_t child = ::fork();
  if (child < 0) Die("fork");
  if (child == 0) {
    if (::ptrace(PTRACE_TRACEME, 0, 0, 0) != 0) ::_exit(1);
    ::raise(SIGSTOP);
    Target();
    ::_exit(0);
  }
  int status = 0;
  if (::waitpid(child, &status, 0) != child || !WIFSTOPPED(status)) Die("probe of breakpoints");
  SetBreakpoint(child, reinterpret_cast<uint64_t>(&Target));
  if (::ptrace(PTRACE_CONT, child, 0, 0) != 0) Die("probe of breakpoints");
  if (::waitpid(child, &status, 0) != child) Die("probe of breakpoints");
  if (!WIFSTOPPED(status)) return false;
  ::kill(child, SIGKILL);
  ::waitpid(child, &status, 0);
  return true;
}

}  // namespace

void SetBreakpoint(pid_t tid, uint64_t address) {
  const auto set = [tid](size_t number, uint64_t value) {
    const size_t offset = offsetof(struct user, u_debugreg) + number * sizeof(uint64_t);
    if (::ptrace(PTRACE_POKEUSER, tid, offset, value) != 0) Die("debug register");
  };
  if (address != 0) set(0, address);
  set(7, address != 0 ? 1 : 0);  // local, on execution
}

bool HasBreakpoints() {
  static const bool has = Probe();
  return has;
}

}  // namespace leaseplane::step
