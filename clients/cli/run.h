// SPDX-License-Identifier: Apache-2.0
//
// `leasectl run`: a lease for as long as COMMAND runs.
//
// Processes, by path:
//   local   leasectl -+- COMMAND     COMMAND has the session's descriptor; the lease ends when the
//                                    last process that has it open is gone
//   remote  leasectl --- guard -+- COMMAND    the guard renews and stops COMMAND in time; it speaks
//                                             gRPC, and is in a process group of its own, so that
//                                             the keyboard neither stops nor ends it
// COMMAND is in leasectl's process group in both. It is forked before any library has a thread
// (launch.h). Which path it is, only an attempt to attach tells; if it fails, leasectl executes
// itself anew for the remote one, so that the guard too is forked from a process without threads.
//
// Threads: called by the main thread, before any other is made. Errors: printed; the result is the
// exit code (exit_codes.h).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "clients/cli/exit_codes.h"
#include "leaseplane/options.h"
#include "leaseplane/pool.h"

namespace leaseplane::cli {

enum class RunPath { kAuto, kLocal, kRemote };

struct RunOptions {
  std::string server;
  TlsOptions tls;
  std::string token_file;
  std::string pool;  // the id
  absl::Duration wait = absl::InfiniteDuration();
  absl::Duration ttl = absl::ZeroDuration();  // remote: zero is the pool's default
  absl::Duration kill_after = absl::Seconds(10);
  int conflict_exit_code = kExitNoSlot;
  RunPath path = RunPath::kAuto;
  std::vector<std::string> command;
};

// nullopt: there is no local path, and another one may be tried. Nothing is left of the attempt
// but threads.
std::optional<int> RunLocal(const RunOptions& options);

int RunRemote(const RunOptions& options);

// Waits as long as options.wait; a daemon that restarts meanwhile is waited for.
absl::StatusOr<Lease> AcquireForRun(const Pool& pool, const RunOptions& options);

// LEASEPLANE_POOL, _SLOT, _TOKEN, _RESOURCE; NAME=VALUE each.
std::vector<std::string> LeaseEnvironment(const Lease& lease);

// Says that COMMAND could not be executed; returns the exit code.
int FailExec(const RunOptions& options, int error_number);

// Says why there was no lease; returns the exit code.
int FailRun(const RunOptions& options, const absl::Status& status);

}  // namespace leaseplane::cli
