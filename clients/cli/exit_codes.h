// SPDX-License-Identifier: Apache-2.0
//
// The exit codes of leasectl, and what is said on stderr beside them. docs/leasectl.md lists the
// same table for users; the two change together.
//
// Pure functions; any thread.
#pragma once

#include <string>

#include "absl/status/status.h"

namespace leaseplane::cli {

enum ExitCode : int {
  kExitOk = 0,
  kExitRefused = 1,  // the daemon said no: not found, lease over, stale token; or check: not valid
  kExitUsage = 64,   // the command line, or a value in it, is wrong
  kExitUnavailable = 69,
  kExitInternal = 70,
  kExitNoSlot = 75,  // no slot in time, queue full, quota
  kExitDenied = 77,
  // Of `run` alone.
  kExitLeaseLost = 124,
  kExitRunFailed = 125,      // leasectl itself failed; COMMAND was not started
  kExitNotExecutable = 126,  // COMMAND exists but cannot be executed
  kExitNoCommand = 127,      // there is no such COMMAND
  kExitSignalBase = 128,     // plus the number of the signal that ended COMMAND
};

// For every command but `run`.
int ExitCodeOf(const absl::Status& status);

// For `run`, when no COMMAND was started: `conflict` if there was no slot in time.
int RunExitCodeOf(const absl::Status& status, int conflict);

// What `run` answers if exec(2) of COMMAND failed with `error_number`.
int ExecExitCodeOf(int error_number);

// What `run` answers for a wait(2) status of COMMAND. REQUIRES that COMMAND ended.
int WaitExitCodeOf(int wait_status);

// "REASON: message", one line whatever the message holds. The reason is left out if there is none.
std::string Describe(const absl::Status& status);

}  // namespace leaseplane::cli
