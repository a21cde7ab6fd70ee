// SPDX-License-Identifier: Apache-2.0
//
// `leasectl run` through shared memory. The lease belongs to a session that lives as long as any
// process has its descriptor open, so nothing has to be done, and nothing is done, to give the slot
// back: leasectl ends, COMMAND and what it left behind end, and the last one closes the descriptor.
#include <poll.h>
#include <unistd.h>

#include <cstdio>

#include "clients/cli/boot_clock.h"
#include "clients/cli/launch.h"
#include "clients/cli/notices.h"
#include "clients/cli/process_tree.h"
#include "clients/cli/run.h"
#include "clients/cli/signals.h"
#include "clients/cli/supervision.h"
#include "leaseplane/client.h"

namespace leaseplane::cli {
namespace {

// These would be the same over gRPC.
bool IsFinal(Reason reason) {
  return reason == Reason::kNotFound || reason == Reason::kInvalidArgument ||
         reason == Reason::kUntrustedServer;
}

// No path but this one: the failure is told. Else nullopt.
std::optional<int> GiveUp(const RunOptions& options, const absl::Status& status, Launch& launch) {
  launch.Cancel();
  UnblockRunSignals();
  if (options.path == RunPath::kLocal || IsFinal(ReasonOf(status))) {
    return FailRun(options, status);
  }
  return std::nullopt;
}

void Sleep(int signal_fd, const Notices& notices, BootTimer& timer, int64_t until_ns) {
  timer.SetAt(until_ns);
  pollfd fds[] = {{signal_fd, POLLIN, 0}, {notices.fd(), POLLIN, 0}, {timer.fd(), POLLIN, 0}};
  (void)::poll(fds, 3, -1);
}

int Supervise(Supervision& supervision, Notices& notices) {
  const UniqueFd signal_fd = OpenSignalFd();
  BootTimer timer;
  while (true) {
    for (const Notice& notice : notices.Take()) supervision.OnNotice(notice, BootNowNs());
    for (int number : ReadSignals(signal_fd.get())) supervision.OnSignal(number);
    supervision.Advance(BootNowNs());
    if (supervision.IsOver()) return supervision.ExitCode();
    Sleep(signal_fd.get(), notices, timer, supervision.NextWakeNs());
  }
}

// The end of leasectl is what closes its copy of the session: no destructor may do it earlier, for
// that would give the slot back under what COMMAND left behind.
[[noreturn]] void ExitHolding(int exit_code) {
  std::fflush(nullptr);
  ::_exit(exit_code);
}

}  // namespace

std::optional<int> RunLocal(const RunOptions& options) {
  const std::vector<pid_t> not_ours = ChildrenOf(::getpid());
  auto launch = Launch::Prepare(options.command, Launch::OnParentDeath::kLiveOn);
  if (!launch.ok()) return FailRun(options, launch.status());
  AdoptOrphans();
  ResetChildSignal();
  BlockRunSignals();

  static Notices notices;  // outlives the library's thread
  ClientOptions client_options;
  client_options.client_id = "leasectl-run";
  client_options.require_local = true;
  client_options.session.liveness = Liveness::kTree;
  notices.Listen(&client_options);
  const auto client = Client::Connect(options.server, client_options);
  if (!client.ok()) return GiveUp(options, client.status(), *launch);
  const auto pool = client->OpenPool(options.pool);
  if (!pool.ok()) return GiveUp(options, pool.status(), *launch);

  UnblockRunSignals();
  auto lease = AcquireForRun(*pool, options);
  BlockRunSignals();
  if (!lease.ok()) {
    launch->Cancel();
    return FailRun(options, lease.status());
  }
  IgnoreKeyboardSignals();
  const auto exec_error = launch->Start(LeaseEnvironment(*lease), client->InheritableSessionFd());
  if (!exec_error.ok()) return FailRun(options, exec_error.status());
  if (*exec_error != 0) return FailExec(options, *exec_error);

  Supervision supervision(launch->pid(), not_ours, &*lease,
                          absl::ToInt64Nanoseconds(options.kill_after), BootNowNs());
  ExitHolding(Supervise(supervision, notices));
}

}  // namespace leaseplane::cli
