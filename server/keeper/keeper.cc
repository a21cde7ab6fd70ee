// SPDX-License-Identifier: Apache-2.0
#include "server/keeper/keeper.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "absl/strings/str_cat.h"
#include "server/keeper/restart_policy.h"

namespace leaseplane::keeper {
namespace {

constexpr int64_t kSecondNs = 1'000'000'000;
constexpr int64_t kNever = INT64_MAX;

sigset_t WaitedSignals() {
  sigset_t set;
  sigemptyset(&set);
  for (int signal : {SIGTERM, SIGINT, SIGHUP, SIGCHLD}) sigaddset(&set, signal);
  return set;
}

int64_t NowNs() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * kSecondNs + now.tv_nsec;
}

bool IsFinal(int exit_code) {
  return exit_code == 0 || exit_code == kExitUsage || exit_code == kExitUnavailable ||
         exit_code == kExitLocked || exit_code == kExitConfig;
}

std::string Describe(int status) {
  if (WIFSIGNALED(status)) return absl::StrCat("killed by signal ", WTERMSIG(status));
  return absl::StrCat("exit code ", WEXITSTATUS(status));
}

class KeeperLoop {
 public:
  KeeperLoop(Holdings holdings, const KeeperOptions& options, const WorkerMain& worker_main)
      : holdings_(std::move(holdings)), options_(options), worker_main_(worker_main) {
    const sigset_t set = WaitedSignals();
    signals_.reset(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  }

  int Run() {
    if (!signals_) return kExitInternal;
    while (!exit_code_) {
      const int64_t now = NowNs();
      if (worker_ == 0 && now >= start_at_ns_) StartWorker();
      if (now >= kill_at_ns_) KillWorker();
      WaitForEvents(std::min(worker_ == 0 ? start_at_ns_ : kNever, kill_at_ns_));
      DrainChannel();
      HandleSignals();
      Reap();
    }
    return *exit_code_;
  }

 private:
  void Log(const std::string& event) const {
    if (options_.log) options_.log(event);
  }

  void StartWorker() {
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
      start_at_ns_ = NowNs() + kSecondNs;
      return;
    }
    UniqueFd mine(ends[0]), theirs(ends[1]);
    ++holdings_.starts;
    const pid_t keeper = ::getpid();
    const pid_t pid = ::fork();
    if (pid == 0) {
      mine.reset();
      RunWorker(std::move(theirs), keeper);
    }
    if (pid < 0) {
      Log(absl::StrCat("cannot start a worker: ", std::strerror(errno)));
      start_at_ns_ = NowNs() + kSecondNs;
      return;
    }
    worker_ = pid;
    channel_ = std::move(mine);
    // The worker before did not come to it. Blocked since before the fork, so it waits there.
    if (holdings_.shared->reload_asked.load() != 0) ::kill(worker_, SIGHUP);
    Log(absl::StrCat("worker ", pid, " started, start ", holdings_.starts));
  }

  [[noreturn]] void RunWorker(UniqueFd socket, pid_t keeper) {
    // The keeper's death must not leave a worker behind that grants from segments nobody keeps.
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != keeper) ::_exit(kExitInternal);
    signals_.reset();
    channel_.reset();
    holdings_.DropLifelineWriter();
    int code = kExitInternal;
    {
      Channel channel(std::move(socket));
      code = worker_main_(holdings_, channel);
    }
    std::exit(code);
  }

  void WaitForEvents(int64_t until_ns) {
    pollfd fds[2] = {{signals_.get(), POLLIN, 0}, {channel_.get(), POLLIN, 0}};
    int timeout_ms = -1;
    if (until_ns != kNever) {
      const int64_t rest = std::max<int64_t>(until_ns - NowNs(), 0);
      timeout_ms = static_cast<int>(std::min<int64_t>((rest + 999'999) / 1'000'000, 60'000));
    }
    ::poll(fds, channel_ ? 2 : 1, timeout_ms);
  }

  void DrainChannel() {
    while (channel_) {
      Received received;
      switch (Receive(channel_.get(), received)) {
        case ReceiveResult::kMessage:
          Acknowledge(channel_.get(), holdings_.Apply(std::move(received)));
          break;
        case ReceiveResult::kClosed:
          channel_.reset();
          return;
        case ReceiveResult::kNothing:
          return;
      }
    }
  }

  void HandleSignals() {
    signalfd_siginfo info;
    while (::read(signals_.get(), &info, sizeof(info)) == sizeof(info)) {
      if (info.ssi_signo == SIGHUP) {
        holdings_.shared->reload_asked.store(1);
        if (worker_ != 0) ::kill(worker_, SIGHUP);
        continue;
      }
      if (info.ssi_signo != SIGTERM && info.ssi_signo != SIGINT) continue;
      if (stopping_) continue;
      stopping_ = true;
      Log("stopping");
      if (worker_ == 0) {
        exit_code_ = 0;
        return;
      }
      ::kill(worker_, SIGTERM);
      kill_at_ns_ = NowNs() + options_.drain_timeout_ns + kSecondNs;
    }
  }

  void KillWorker() {
    kill_at_ns_ = kNever;
    if (worker_ != 0) ::kill(worker_, SIGKILL);
  }

  void Reap() {
    int status = 0;
    for (pid_t pid; (pid = ::waitpid(-1, &status, WNOHANG)) > 0;) {
      if (pid == worker_) WorkerEnded(status);
    }
  }

  void WorkerEnded(int status) {
    // What the worker had sent is in the socket still, and ours to hold.
    DrainChannel();
    channel_.reset();
    worker_ = 0;
    const int code = WIFEXITED(status) ? WEXITSTATUS(status) : kExitInternal;
    if (stopping_ || (WIFEXITED(status) && IsFinal(code))) {
      exit_code_ = code;
      return;
    }
    const bool was_ready = holdings_.shared->ready_start.load() == holdings_.starts;
    const int64_t now = NowNs();
    const int64_t delay = policy_.DelayAfterEnd(now, was_ready);
    start_at_ns_ = now + delay;
    Log(absl::StrCat("worker ended: ", Describe(status), was_ready ? "" : ", not ready yet",
                     "; next start in ", delay / 1'000'000, " ms"));
  }

  Holdings holdings_;
  const KeeperOptions& options_;
  const WorkerMain& worker_main_;
  RestartPolicy policy_;
  UniqueFd signals_, channel_;
  pid_t worker_ = 0;
  bool stopping_ = false;
  int64_t start_at_ns_ = 0;
  int64_t kill_at_ns_ = kNever;
  std::optional<int> exit_code_;
};

}  // namespace

void BlockSignals() {
  const sigset_t set = WaitedSignals();
  ::sigprocmask(SIG_BLOCK, &set, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
}

int RunKeeper(Holdings holdings, const KeeperOptions& options, const WorkerMain& worker_main) {
  return KeeperLoop(std::move(holdings), options, worker_main).Run();
}

}  // namespace leaseplane::keeper
