// SPDX-License-Identifier: Apache-2.0
//
// `leasectl run` over gRPC: the front process. It has the place in the terminal's process group and
// the exit code; the guard (guard.h) does the work.
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "clients/cli/guard.h"
#include "clients/cli/guard_channel.h"
#include "clients/cli/process_tree.h"
#include "clients/cli/run.h"
#include "clients/cli/signals.h"

namespace leaseplane::cli {
namespace {

// The guard is gone without a word, and nobody renews: nothing of COMMAND may go on.
int StopLeftovers(const std::vector<pid_t>& not_ours) {
  std::fprintf(stderr, "leasectl: the guard was killed; COMMAND is stopped\n");
  while (true) {
    SignalDescendants(::getpid(), not_ours, SIGKILL);
    while (::waitpid(-1, nullptr, WNOHANG) > 0) {
    }
    if (Descendants(::getpid(), not_ours).empty()) break;
    absl::SleepFor(absl::Milliseconds(10));
  }
  while (::waitpid(-1, nullptr, WNOHANG) > 0) {
  }
  return kExitRunFailed;
}

int PassSignals(int guard, const std::vector<pid_t>& not_ours) {
  const UniqueFd signal_fd = OpenSignalFd();
  if (!SendTo(guard, {GuardMessage::Kind::kGo, 0})) return StopLeftovers(not_ours);
  while (true) {
    pollfd fds[] = {{guard, POLLIN, 0}, {signal_fd.get(), POLLIN, 0}};
    (void)::poll(fds, 2, -1);
    for (int number : ReadSignals(signal_fd.get())) {
      if (number != SIGCHLD) SendTo(guard, {GuardMessage::Kind::kSignal, number});
    }
    if (fds[0].revents == 0) continue;
    const auto message = ReceiveFrom(guard);
    if (!message.has_value()) return StopLeftovers(not_ours);
    if (message->kind == GuardMessage::Kind::kEnded) return message->value;
  }
}

}  // namespace

int RunRemote(const RunOptions& options) {
  const std::vector<pid_t> not_ours = ChildrenOf(::getpid());
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
    return FailRun(options, absl::InternalError(absl::StrCat("socketpair: ", ::strerror(errno))));
  }
  UniqueFd guard(ends[0]);
  UniqueFd front(ends[1]);
  AdoptOrphans();
  const pid_t pid = ::fork();
  if (pid < 0) {
    return FailRun(options, absl::InternalError(absl::StrCat("fork: ", ::strerror(errno))));
  }
  if (pid == 0) {
    guard.reset();
    RunGuard(options, std::move(front));
  }
  front.reset();
  // Signals do what they always do until there is a lease; the guard then sees us gone.
  const auto message = ReceiveFrom(guard.get());
  if (!message.has_value()) return StopLeftovers(not_ours);
  if (message->kind == GuardMessage::Kind::kEnded) return message->value;
  BlockRunSignals();
  IgnoreKeyboardSignals();
  ResetChildSignal();
  return PassSignals(guard.get(), not_ours);
}

}  // namespace leaseplane::cli
