// SPDX-License-Identifier: Apache-2.0
//
// Supervision: a started COMMAND beside the lease it runs under, until both are over. Used by the
// front process for local leases and by the guard for remote ones; they differ in where signals
// come from and in whether the lease has a deadline.
//
// The owner sleeps until NextWakeNs or an event, tells the event, then calls Advance.
// Ownership: `lease` outlives it. REQUIRES that this process adopts orphans (process_tree.h) and
// that nobody else waits for children. Threads: one. Errors: none.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <vector>

#include "clients/cli/notices.h"
#include "clients/cli/stop_plan.h"
#include "leaseplane/lease.h"

namespace leaseplane::cli {

class Supervision {
 public:
  // `not_ours`: children this process had before.
  Supervision(pid_t command, std::vector<pid_t> not_ours, const Lease* lease, int64_t kill_after_ns,
              int64_t now_ns);

  // -- events
  void OnNotice(const Notice& notice, int64_t now_ns);
  // TERM, HUP, USR1 and USR2 go to COMMAND; CHLD is looked into by Advance.
  void OnSignal(int number);
  // leasectl is being stopped: stop COMMAND, and all it started, as for a loss.
  void StopNow(int64_t now_ns) { plan_.StopNow(now_ns); }

  // Collects what ended, and stops what has to be stopped.
  void Advance(int64_t now_ns);
  int64_t NextWakeNs() const { return plan_.NextWake(); }

  // COMMAND ended; if it is being stopped, all that it started ended too.
  bool IsOver() const;
  // Nothing is left that COMMAND started. One pass over /proc.
  bool IsTreeGone() const;
  // COMMAND's, or kExitLeaseLost. REQUIRES IsOver().
  int ExitCode() const;

 private:
  void Reap();
  void TrackDeadline(int64_t now_ns);
  void Lose(Reason reason);

  const pid_t command_;
  const std::vector<pid_t> not_ours_;
  const Lease* const lease_;
  StopPlan plan_;
  bool is_lost_ = false;
  bool has_ended_ = false;
  int wait_status_ = 0;
};

}  // namespace leaseplane::cli
