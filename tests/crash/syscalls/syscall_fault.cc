// SPDX-License-Identifier: Apache-2.0
//
// Watches every system call of a process and lets one go wrong.
//   syscall_fault PID MODE K [segment]
// MODE kill_before, kill_after: SIGKILL to the process when its K-th call is about to begin, or has
// just been done. eio, enospc, short: the K-th call that writes to a file or syncs it fails, or
// writes the half of what it was given (one that has nothing to halve fails with EIO).
// With `segment` the first call that counts is the first that makes a segment of shared memory.
// Prints "armed" when it watches all threads, then "hit NUMBER" when it has done its deed, and
// ends. On SIGTERM before that: "none COUNT".
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <set>
#include <string>

namespace {

volatile sig_atomic_t g_stop = 0;

[[noreturn]] void Die(const char* what) {
  std::perror(what);
  std::exit(70);
}

bool IsStoreCall(uint64_t number) {
  static const std::set<uint64_t> kCalls = {SYS_pwrite64, SYS_write,     SYS_fdatasync,
                                            SYS_fsync,    SYS_ftruncate, SYS_fallocate,
                                            SYS_pwritev,  SYS_writev,    SYS_msync};
  return kCalls.count(number) != 0;
}

class Watcher {
 public:
  Watcher(pid_t pid, std::string mode, uint64_t k, bool from_segment)
      : pid_(pid), mode_(std::move(mode)), k_(k), counts_(!from_segment) {}

  void Attach() {
    const std::string path = "/proc/" + std::to_string(pid_) + "/task";
    size_t before;
    do {  // until no thread was started meanwhile
      before = threads_.size();
      DIR* folder = opendir(path.c_str());
      if (folder == nullptr) Die("no such process");
      while (const dirent* entry = readdir(folder)) {
        const auto tid = static_cast<pid_t>(std::atol(entry->d_name));
        if (tid > 0 && threads_.count(tid) == 0) Seize(tid);
      }
      closedir(folder);
    } while (threads_.size() != before);
    for (const pid_t tid : threads_) ptrace(PTRACE_INTERRUPT, tid, 0, 0);
    std::puts("armed");
    std::fflush(stdout);
  }

  int Watch() {
    while (g_stop == 0) {
      int status = 0;
      const pid_t tid = waitpid(-1, &status, __WALL);
      if (tid < 0 && errno == EINTR) continue;
      if (tid < 0) return 3;  // it ended by itself
      if (!WIFSTOPPED(status)) continue;
      int signal = WSTOPSIG(status);
      if (signal == (SIGTRAP | 0x80)) {
        if (OnSystemCall(tid)) return 0;
        signal = 0;
      } else if ((status >> 16) != 0) {
        signal = 0;  // a stop of ours, or a new thread
      }
      ptrace(PTRACE_SYSCALL, tid, 0, signal);
    }
    std::printf("none %llu\n", static_cast<unsigned long long>(count_));
    return 0;
  }

 private:
  void Seize(pid_t tid) {
    if (ptrace(PTRACE_SEIZE, tid, 0, PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE) == 0) {
      threads_.insert(tid);
    } else if (errno != ESRCH) {
      Die("seize");
    }
  }

  // Only what goes to a file is the store's.
  bool IsFile(uint64_t fd) const {
    const std::string path = "/proc/" + std::to_string(pid_) + "/fd/" + std::to_string(fd);
    struct stat facts {};
    return stat(path.c_str(), &facts) == 0 && S_ISREG(facts.st_mode);
  }

  bool Done(uint64_t number) {
    std::printf("hit %llu\n", static_cast<unsigned long long>(number));
    return true;
  }

  bool OnSystemCall(pid_t tid) {
    __ptrace_syscall_info info{};
    if (ptrace(PTRACE_GET_SYSCALL_INFO, tid, sizeof(info), &info) <= 0) return false;
    const bool enters = info.op == PTRACE_SYSCALL_INFO_ENTRY;
    if (enters && info.entry.nr == SYS_memfd_create) counts_ = true;
    if (!counts_) return false;
    if (mode_ == "kill_before" || mode_ == "kill_after") {
      if (enters != (mode_ == "kill_before") || ++count_ < k_) return false;
      kill(pid_, SIGKILL);
      return Done(enters ? info.entry.nr : 0);
    }
    if (enters && IsStoreCall(info.entry.nr) && faulty_ == 0 && IsFile(info.entry.args[0])) {
      if (++count_ == k_) SpoilEntry(tid, info.entry.nr);
    } else if (!enters && tid == faulty_) {
      if (!is_short_) SpoilExit(tid);
      return Done(number_);
    }
    return false;
  }

  void SpoilEntry(pid_t tid, uint64_t number) {
    user_regs_struct registers{};
    ptrace(PTRACE_GETREGS, tid, 0, &registers);
    is_short_ =
        mode_ == "short" && (number == SYS_pwrite64 || number == SYS_write) && registers.rdx > 1;
    if (is_short_) {
      registers.rdx /= 2;
    } else {
      registers.orig_rax = ~0ull;  // no call at all
    }
    ptrace(PTRACE_SETREGS, tid, 0, &registers);
    faulty_ = tid;
    number_ = number;
  }

  void SpoilExit(pid_t tid) {
    user_regs_struct registers{};
    ptrace(PTRACE_GETREGS, tid, 0, &registers);
    const int error = mode_ == "enospc" ? ENOSPC : EIO;
    registers.rax = static_cast<unsigned long long>(-static_cast<long long>(error));
    ptrace(PTRACE_SETREGS, tid, 0, &registers);
  }

  const pid_t pid_;
  const std::string mode_;
  const uint64_t k_;
  bool counts_;
  std::set<pid_t> threads_;
  uint64_t count_ = 0, number_ = 0;
  pid_t faulty_ = 0;
  bool is_short_ = false;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4 && argc != 5) {
    std::fprintf(stderr, "usage: syscall_fault PID MODE K [segment]\n");
    return 64;
  }
  struct sigaction action {};
  action.sa_handler = [](int) { g_stop = 1; };
  sigaction(SIGTERM, &action, nullptr);
  Watcher watcher(static_cast<pid_t>(std::atol(argv[1])), argv[2],
                  std::strtoull(argv[3], nullptr, 10), argc == 5);
  watcher.Attach();
  return watcher.Watch();  // whoever is still traced goes on when we end
}
