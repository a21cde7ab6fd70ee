// SPDX-License-Identifier: Apache-2.0
#include "tests/crash/step/worker_trace.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <system_error>
#include <vector>

#include "tests/support/verify_ledger.h"

namespace leaseplane::step {
namespace {

constexpr double kPatienceS = 60;
constexpr uint8_t kBreakpoint = 0xcc;

[[noreturn]] void Die(const char* what) {
  throw std::system_error(errno, std::generic_category(), what);
}

std::string ProcPath(pid_t pid, const char* name) {
  return "/proc/" + std::to_string(pid) + "/" + name;
}

// Offset of a function in its program; the shortest name leaves out what the compiler split off it.
uint64_t OffsetOf(const std::string& program, const std::string& function) {
  FILE* names = popen(("nm '" + program + "'").c_str(), "re");
  if (names == nullptr) Die("nm");
  char line[4096];
  std::string best;
  uint64_t offset = 0;
  while (std::fgets(line, sizeof(line), names) != nullptr) {
    std::istringstream words(line);
    std::string address, kind, name;
    if (!(words >> address >> kind >> name) || name.rfind(function, 0) != 0) continue;
    if (!best.empty() && name.size() >= best.size()) continue;
    best = name;
    offset = std::stoull(address, nullptr, 16);
  }
  pclose(names);
  if (best.empty()) throw std::runtime_error("no function " + function + " in " + program);
  return offset;
}

// Where `program` lies in the process: its first byte and its code.
uint64_t FindCode(pid_t pid, const std::string& program, TracedCode& code) {
  const std::string path = std::filesystem::canonical(program);
  std::ifstream maps(ProcPath(pid, "maps"));
  uint64_t base = 0;
  for (std::string line; std::getline(maps, line);) {
    if (line.size() < path.size() || line.substr(line.size() - path.size()) != path) continue;
    const size_t dash = line.find('-'), space = line.find(' ');
    const uint64_t begin = std::stoull(line.substr(0, dash), nullptr, 16);
    if (base == 0) base = begin;
    if (line[space + 3] != 'x') continue;
    code.begin = begin;
    code.end = std::stoull(line.substr(dash + 1, space - dash - 1), nullptr, 16);
  }
  if (code.end == 0) throw std::runtime_error("no code of " + path + " in the worker");
  return base;
}

}  // namespace

WorkerTrace::WorkerTrace(pid_t worker, const std::string& program, const std::string& function)
    : worker_(worker) {
  at_ = FindCode(worker, program, code_) + OffsetOf(program, function);
  memory_ = open(ProcPath(worker, "mem").c_str(), O_RDWR | O_CLOEXEC);
  if (memory_ < 0) Die("memory of the worker");
  SeizeAll();
  original_ = Read();
  Write(kBreakpoint);
}

WorkerTrace::~WorkerTrace() { close(memory_); }

uint8_t WorkerTrace::Read() const {
  uint8_t byte = 0;
  if (pread(memory_, &byte, 1, static_cast<off_t>(at_)) != 1) Die("code of the worker");
  return byte;
}

void WorkerTrace::Write(uint8_t byte) {
  if (pwrite(memory_, &byte, 1, static_cast<off_t>(at_)) != 1) Die("code of the worker");
}

void WorkerTrace::Seize(pid_t tid) {
  if (ptrace(PTRACE_SEIZE, tid, 0, PTRACE_O_TRACECLONE) == 0) {
    threads_.insert(tid);
  } else if (errno != ESRCH && errno != EPERM) {  // gone, or traced already as a new thread
    Die("seize");
  }
}

void WorkerTrace::SeizeAll() {
  size_t before;
  do {  // until no thread was started meanwhile
    before = threads_.size();
    for (const auto& entry : std::filesystem::directory_iterator(ProcPath(worker_, "task"))) {
      const auto tid = static_cast<pid_t>(std::stol(entry.path().filename().string()));
      if (threads_.count(tid) == 0) Seize(tid);
    }
  } while (threads_.size() != before);
}

bool WorkerTrace::StepBack(pid_t tid, int status) {
  user_regs_struct registers{};
  if (WSTOPSIG(status) != SIGTRAP || (status >> 16) != 0 ||
      ptrace(PTRACE_GETREGS, tid, 0, &registers) != 0 || registers.rip != at_ + 1) {
    return false;
  }
  registers.rip = at_;
  return ptrace(PTRACE_SETREGS, tid, 0, &registers) == 0;
}

bool WorkerTrace::Handle(pid_t tid, int status) {
  if (!WIFSTOPPED(status)) {
    threads_.erase(tid);
    return false;
  }
  if (StepBack(tid, status)) return true;
  if ((status >> 16) == PTRACE_EVENT_CLONE) {
    unsigned long started = 0;
    ptrace(PTRACE_GETEVENTMSG, tid, 0, &started);
    threads_.insert(static_cast<pid_t>(started));
  }
  const int signal = (status >> 16) != 0 || WSTOPSIG(status) == SIGTRAP ? 0 : WSTOPSIG(status);
  ptrace(PTRACE_CONT, tid, 0, signal);
  return false;
}

Tracee WorkerTrace::AwaitCall() {
  const double end = testing::MonotonicSeconds() + kPatienceS;
  while (testing::MonotonicSeconds() < end) {
    for (const pid_t tid : std::vector<pid_t>(threads_.begin(), threads_.end())) {
      int status = 0;
      const pid_t found = waitpid(tid, &status, __WALL | WNOHANG);
      if (found < 0) threads_.erase(tid);
      if (found != tid || !Handle(tid, status)) continue;
      Write(original_);
      LetOthersGo(tid);
      user_regs_struct registers{};
      if (ptrace(PTRACE_GETREGS, tid, 0, &registers) != 0) Die("registers");
      errno = 0;
      code_.last = static_cast<uint64_t>(ptrace(PTRACE_PEEKDATA, tid, registers.rsp, 0));
      if (errno != 0) Die("the way back");
      code_.steps_outside = true;
      return Tracee(tid, code_);
    }
    const timespec nap{0, 20'000};
    nanosleep(&nap, nullptr);
  }
  throw std::runtime_error("the worker did not make the call");
}

void WorkerTrace::LetOthersGo(pid_t caller) {
  threads_.erase(caller);
  while (!threads_.empty()) {
    const pid_t tid = *threads_.begin();
    ptrace(PTRACE_INTERRUPT, tid, 0, 0);
    int status = 0;
    const bool has_stopped = waitpid(tid, &status, __WALL) == tid && WIFSTOPPED(status);
    if (has_stopped && (status >> 16) == PTRACE_EVENT_CLONE) {
      Handle(tid, status);  // and once more
      continue;
    }
    threads_.erase(tid);
    if (!has_stopped) continue;
    const bool is_ours =
        StepBack(tid, status) || (status >> 16) != 0 || WSTOPSIG(status) == SIGTRAP;
    ptrace(PTRACE_DETACH, tid, 0, is_ours ? 0 : WSTOPSIG(status));
  }
}

}  // namespace leaseplane::step
