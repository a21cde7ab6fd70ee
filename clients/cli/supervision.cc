// SPDX-License-Identifier: Apache-2.0
#include "clients/cli/supervision.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <string>

#include "clients/cli/exit_codes.h"
#include "clients/cli/process_tree.h"

namespace leaseplane::cli {
namespace {

// What the lease is worth just after it was granted or renewed.
int64_t WindowNs(const Lease& lease) {
  if (lease.path() != Path::kRemote) return StopPlan::kNever;
  return absl::ToInt64Nanoseconds(lease.remaining());
}

}  // namespace

Supervision::Supervision(pid_t command, std::vector<pid_t> not_ours, const Lease* lease,
                         int64_t kill_after_ns, int64_t now_ns)
    : command_(command),
      not_ours_(std::move(not_ours)),
      lease_(lease),
      plan_(kill_after_ns, WindowNs(*lease)) {
  TrackDeadline(now_ns);
}

void Supervision::TrackDeadline(int64_t now_ns) {
  if (lease_->path() != Path::kRemote) return;
  plan_.SetSafeDeadline(now_ns + absl::ToInt64Nanoseconds(lease_->remaining()));
}

void Supervision::Lose(Reason reason) {
  if (is_lost_ || has_ended_) return;
  is_lost_ = true;
  std::fprintf(stderr, "leasectl: %s: the lease on %s/%u is lost, COMMAND is stopped\n",
               std::string(ReasonName(reason)).c_str(), std::string(lease_->pool()).c_str(),
               lease_->slot());
}

void Supervision::OnNotice(const Notice& notice, int64_t now_ns) {
  switch (notice.kind) {
    case Notice::Kind::kLost:
      // Past its deadline a lease needs no grace any more; taken away by an operator, or by the
      // daemon's replacement, there is no deadline that could be kept.
      if (notice.reason == Reason::kLeaseRevoked || lease_->path() != Path::kRemote) {
        plan_.ForgetDeadline();
      }
      plan_.StopNow(now_ns);
      Lose(notice.reason);
      return;
    case Notice::Kind::kRevokeRequested:
      plan_.StopWithin(now_ns, absl::ToInt64Nanoseconds(notice.grace));
      Lose(notice.reason);
      return;
    case Notice::Kind::kAcquireDone:
      return;
  }
}

void Supervision::OnSignal(int number) {
  if (number != SIGCHLD && !has_ended_) ::kill(command_, number);
}

void Supervision::Reap() {
  while (true) {
    int status = 0;
    const pid_t pid = ::waitpid(-1, &status, WNOHANG);
    if (pid < 0 && errno == EINTR) continue;
    if (pid <= 0) return;
    if (pid != command_) continue;
    has_ended_ = true;
    wait_status_ = status;
  }
}

void Supervision::Advance(int64_t now_ns) {
  Reap();
  TrackDeadline(now_ns);
  const bool was_asked_to_stop = plan_.was_asked_to_stop();
  switch (plan_.Step(now_ns)) {
    case StopPlan::Action::kNone:
      break;
    case StopPlan::Action::kTerm:
      if (!was_asked_to_stop) Lose(Reason::kLeaseExpired);
      SignalDescendants(::getpid(), not_ours_, SIGTERM);
      break;
    case StopPlan::Action::kKill:
      if (!was_asked_to_stop) Lose(Reason::kLeaseExpired);
      SignalDescendants(::getpid(), not_ours_, SIGKILL);
      break;
  }
}

bool Supervision::IsOver() const { return has_ended_ && (!plan_.stopping() || IsTreeGone()); }

bool Supervision::IsTreeGone() const { return Descendants(::getpid(), not_ours_).empty(); }

int Supervision::ExitCode() const {
  return is_lost_ ? kExitLeaseLost : WaitExitCodeOf(wait_status_);
}

}  // namespace leaseplane::cli
