// SPDX-License-Identifier: Apache-2.0
//
// The commands of leasectl, as CLI11 subcommands. Each Add function declares its options on `app`
// and, when its command was the one typed, leaves what is to be done in `invocation`.
//
// Ownership: `invocation` outlives `app`. Threads: one. Errors: actions print one line to stderr
// and return an exit code (exit_codes.h). CLI11 throws for a wrong command line; RunCommandLine
// catches.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "clients/cli/output.h"
#include "leaseplane/options.h"

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace leaseplane::cli {

struct Invocation {
  // Options of all commands.
  std::string server;
  TlsOptions tls;
  std::string token_file;
  OutputFormat format = OutputFormat::kTable;
  absl::Duration call_timeout = absl::Seconds(10);

  std::vector<std::string> trailing;  // what followed `--`
  bool has_trailing = false;
  bool takes_trailing = false;  // set by the command that wants it

  std::function<int()> action;
};

void AddPoolCommands(CLI::App& app, Invocation& invocation);    // pools, slots, waiters
void AddLeaseCommands(CLI::App& app, Invocation& invocation);   // leases, acquire, renew, ...
void AddAdminCommands(CLI::App& app, Invocation& invocation);   // lock, revoke, drain, ...
void AddHealthCommands(CLI::App& app, Invocation& invocation);  // health, version
void AddRunCommand(CLI::App& app, Invocation& invocation);

// An option that takes a duration.
CLI::Option* AddDuration(CLI::App& app, const std::string& name, absl::Duration* value,
                         const std::string& description, bool may_be_infinite = false);

// Says on stderr what went wrong, in one line; returns the exit code.
int Fail(const absl::Status& status);

// All of leasectl: parses, acts, returns the exit code. REQUIRES a process with one thread.
int RunCommandLine(int argc, const char* const* argv);

}  // namespace leaseplane::cli
