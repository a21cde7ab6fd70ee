// SPDX-License-Identifier: Apache-2.0
#include "clients/cli/guard.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <thread>
#include <utility>

#include "clients/cli/boot_clock.h"
#include "clients/cli/guard_channel.h"
#include "clients/cli/launch.h"
#include "clients/cli/notices.h"
#include "clients/cli/process_tree.h"
#include "clients/cli/signals.h"
#include "clients/cli/supervision.h"
#include "leaseplane/client.h"

namespace leaseplane::cli {
namespace {

constexpr absl::Duration kReleaseTimeMax = absl::Seconds(2);

[[noreturn]] void Exit(int exit_code) {
  std::fflush(nullptr);
  ::_exit(exit_code);
}

// What leasectl inherited from whoever started it is COMMAND's; a guard that stays behind must not
// keep somebody's pipe open.
void CloseOtherDescriptors(int a, int b) {
  const auto close_range = [](int first, int last) {
    if (first <= last) ::syscall(SYS_close_range, first, last, 0U);
  };
  const auto [low, high] = std::minmax(a, b);
  close_range(STDERR_FILENO + 1, low - 1);
  close_range(low + 1, high - 1);
  close_range(high + 1, INT32_MAX);
}

void RedirectToNull(int first, int last) {
  const int null_fd = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  for (int fd = first; fd <= last && null_fd >= 0; ++fd) ::dup2(null_fd, fd);
  if (null_fd > STDERR_FILENO) ::close(null_fd);
}

class Guard {
 public:
  Guard(const RunOptions& options, UniqueFd front, Launch launch)
      : options_(options), front_(std::move(front)), launch_(std::move(launch)) {}

  [[noreturn]] void Run();

 private:
  struct Events {
    bool front_readable = false;
    std::vector<int> signals;
    std::vector<Notice> notices;
  };

  Events Wait(int64_t until_ns);
  absl::Status Acquire();
  void WaitForLease();
  void WaitForGo();
  void Supervise(Supervision& supervision);
  void HandleFront(Supervision& supervision);
  // COMMAND is over, what it left behind may be not.
  void TellEnd(int exit_code);
  void GiveBack();
  [[noreturn]] void Fail(const absl::Status& status);
  [[noreturn]] void LeaveAlone();

  const RunOptions& options_;
  UniqueFd front_;
  Launch launch_;
  UniqueFd signal_fd_ = OpenSignalFd();
  BootTimer timer_;
  Notices notices_;
  absl::Status acquired_;  // written before kAcquireDone, read after
  std::optional<Client> client_;
  std::optional<Lease> lease_;
};

Guard::Events Guard::Wait(int64_t until_ns) {
  timer_.SetAt(until_ns);
  pollfd fds[] = {{front_.get(), POLLIN, 0},
                  {signal_fd_.get(), POLLIN, 0},
                  {notices_.fd(), POLLIN, 0},
                  {timer_.fd(), POLLIN, 0}};
  (void)::poll(fds, 4, -1);
  Events events;
  events.front_readable = (fds[0].revents & (POLLIN | POLLHUP | POLLERR)) != 0;
  events.signals = ReadSignals(signal_fd_.get());
  events.notices = notices_.Take();
  return events;
}

absl::Status Guard::Acquire() {
  ClientOptions client_options;
  client_options.client_id = "leasectl-run";
  client_options.forbid_local = true;
  client_options.default_ttl = options_.ttl;
  client_options.tls = options_.tls;
  client_options.token_file = options_.token_file;
  client_options.shutdown_timeout = kReleaseTimeMax;
  notices_.Listen(&client_options);
  auto client = Client::Connect(options_.server, client_options);
  if (!client.ok()) return client.status();
  client_.emplace(*std::move(client));
  auto pool = client_->OpenPool(options_.pool);
  if (!pool.ok()) return pool.status();
  auto lease = AcquireForRun(*pool, options_);
  if (!lease.ok()) return lease.status();
  lease_.emplace(*std::move(lease));
  return absl::OkStatus();
}

// Ends the process if there is none, or if nobody waits for it any more.
void Guard::WaitForLease() {
  std::thread acquiring([this] {
    acquired_ = Acquire();
    notices_.Push({Notice::Kind::kAcquireDone, Reason::kNone, absl::ZeroDuration()});
  });
  acquiring.detach();
  while (true) {
    const Events events = Wait(StopPlan::kNever);
    // The call ends with the process, and the daemon drops it from the queue.
    if (events.front_readable) LeaveAlone();
    for (int number : events.signals) {
      if (number == SIGTERM || number == SIGHUP) LeaveAlone();
    }
    for (const Notice& notice : events.notices) {
      if (notice.kind != Notice::Kind::kAcquireDone) continue;
      if (!acquired_.ok()) Fail(acquired_);
      return;
    }
  }
}

void Guard::WaitForGo() {
  if (!SendTo(front_.get(), {GuardMessage::Kind::kGranted, 0}) ||
      !ReceiveFrom(front_.get()).has_value()) {
    GiveBack();
    LeaveAlone();
  }
  // leasectl may have been stopped for long in between.
  if (!lease_->still_held()) {
    std::fprintf(stderr, "leasectl: the lease was lost before COMMAND was started\n");
    TellEnd(kExitLeaseLost);
    LeaveAlone();
  }
}

void Guard::HandleFront(Supervision& supervision) {
  const auto message = ReceiveFrom(front_.get());
  if (!message.has_value()) {
    front_.reset();
    supervision.StopNow(BootNowNs());
  } else if (message->kind == GuardMessage::Kind::kSignal) {
    supervision.OnSignal(message->value);
  }
}

void Guard::Supervise(Supervision& supervision) {
  bool is_told = false;
  while (true) {
    supervision.Advance(BootNowNs());
    if (supervision.IsOver()) {
      if (supervision.IsTreeGone()) break;
      if (!is_told) TellEnd(supervision.ExitCode());
      is_told = true;
    }
    const Events events = Wait(supervision.NextWakeNs());
    for (const Notice& notice : events.notices) supervision.OnNotice(notice, BootNowNs());
    for (int number : events.signals) {
      // Nobody passes these on by way of the guard: it is meant itself.
      if (number == SIGTERM) supervision.StopNow(BootNowNs());
    }
    if (events.front_readable && front_) HandleFront(supervision);
  }
  GiveBack();
  if (!is_told) TellEnd(supervision.ExitCode());
}

void Guard::Run() {
  WaitForLease();
  WaitForGo();
  const auto exec_error = launch_.Start(LeaseEnvironment(*lease_), -1);
  if (!exec_error.ok()) Fail(exec_error.status());
  if (*exec_error != 0) {
    GiveBack();
    TellEnd(FailExec(options_, *exec_error));
    LeaveAlone();
  }
  Supervision supervision(launch_.pid(), {}, &*lease_,
                          absl::ToInt64Nanoseconds(options_.kill_after), BootNowNs());
  Supervise(supervision);
  LeaveAlone();
}

void Guard::TellEnd(int exit_code) {
  if (!front_) return;
  SendTo(front_.get(), {GuardMessage::Kind::kEnded, exit_code});
  front_.reset();
  RedirectToNull(STDERR_FILENO, STDERR_FILENO);
}

void Guard::GiveBack() {
  lease_.reset();
  client_.reset();
}

void Guard::Fail(const absl::Status& status) {
  const int exit_code = FailRun(options_, status);
  GiveBack();
  TellEnd(exit_code);
  LeaveAlone();
}

// A child that was not started ends by itself when it sees us gone.
void Guard::LeaveAlone() { Exit(kExitRunFailed); }

}  // namespace

void RunGuard(const RunOptions& options, UniqueFd front) {
  AdoptOrphans();
  auto launch = Launch::Prepare(options.command, Launch::OnParentDeath::kKill);
  if (!launch.ok()) {
    SendTo(front.get(), {GuardMessage::Kind::kEnded, FailRun(options, launch.status())});
    Exit(kExitRunFailed);
  }
  // COMMAND stays in the terminal's process group; what the keyboard sends to it is not for us.
  ::setpgid(0, 0);
  ::signal(SIGTTOU, SIG_IGN);
  ::signal(SIGPIPE, SIG_IGN);
  ResetChildSignal();
  BlockRunSignals();
  CloseOtherDescriptors(front.get(), launch->socket());
  RedirectToNull(STDIN_FILENO, STDOUT_FILENO);
  Guard(options, std::move(front), *std::move(launch)).Run();
}

}  // namespace leaseplane::cli
