// SPDX-License-Identifier: Apache-2.0
#include "clients/cli/run.h"

#include <string.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <map>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "clients/cli/arguments.h"
#include "clients/cli/commands.h"
#include "clients/cpp/target.h"
#include "leaseplane/status.h"

namespace leaseplane::cli {
namespace {

constexpr absl::Duration kRetryPauseMin = absl::Milliseconds(250);
constexpr absl::Duration kRetryPauseMax = absl::Seconds(2);

bool IsPassing(Reason reason) {
  return reason == Reason::kRecovering || reason == Reason::kDraining ||
         reason == Reason::kSessionEnded || reason == Reason::kUnreachable ||
         reason == Reason::kOutcomeUnknown;
}

// leasectl once more, told to go the remote path.
int ExecuteSelfForRemote(const RunOptions& options) {
  std::vector<std::string> words{"leasectl", "run", options.pool, "--path", "remote"};
  const auto add = [&words](const char* name, const std::string& value) {
    words.insert(words.end(), {name, value});
  };
  for (const auto& [name, value] :
       {std::pair("--server", &options.server), std::pair("--tls-ca", &options.tls.ca_file),
        std::pair("--tls-cert", &options.tls.cert_file),
        std::pair("--tls-key", &options.tls.key_file),
        std::pair("--token-file", &options.token_file)}) {
    if (!value->empty()) add(name, *value);
  }
  add("--wait", absl::FormatDuration(options.wait));
  add("--ttl", absl::FormatDuration(options.ttl));
  add("--kill-after", absl::FormatDuration(options.kill_after));
  add("--conflict-exit-code", absl::StrCat(options.conflict_exit_code));
  words.emplace_back("--");
  words.insert(words.end(), options.command.begin(), options.command.end());
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  ::execv("/proc/self/exe", arguments.data());
  return FailRun(options, absl::InternalError(absl::StrCat("exec: ", ::strerror(errno))));
}

int Run(RunOptions options) {
  const auto pool = PoolName(options.pool);
  const auto target = internal::ParseTarget(options.server);
  if (!pool.ok()) return Fail(pool.status());
  if (!target.ok()) return Fail(target.status());
  options.pool = std::string(LastPart(*pool));
  if (options.path == RunPath::kRemote) return RunRemote(options);
  if (!target->is_unix()) {
    if (options.path == RunPath::kAuto) return RunRemote(options);
    return Fail(MakeStatus(Reason::kInvalidArgument, "--path local: the server is no Unix socket"));
  }
  const std::optional<int> exit_code = RunLocal(options);
  return exit_code.has_value() ? *exit_code : ExecuteSelfForRemote(options);
}

}  // namespace

absl::StatusOr<Lease> AcquireForRun(const Pool& pool, const RunOptions& options) {
  const absl::Time deadline = absl::Now() + options.wait;
  AcquireOptions acquire;
  acquire.ttl = options.ttl;
  while (true) {
    acquire.max_wait = std::max(deadline - absl::Now(), absl::ZeroDuration());
    absl::StatusOr<Lease> lease = pool.Acquire(acquire);
    const absl::Duration rest = deadline - absl::Now();
    if (lease.ok() || rest <= absl::ZeroDuration() || !IsPassing(ReasonOf(lease.status()))) {
      return lease;
    }
    const absl::Duration pause = RetryAfter(lease.status()).value_or(kRetryPauseMin);
    absl::SleepFor(std::min(rest, std::clamp(pause, kRetryPauseMin, kRetryPauseMax)));
  }
}

std::vector<std::string> LeaseEnvironment(const Lease& lease) {
  return {absl::StrCat("LEASEPLANE_POOL=", std::string(lease.pool())),
          absl::StrCat("LEASEPLANE_SLOT=", lease.slot()),
          absl::StrCat("LEASEPLANE_TOKEN=", lease.token()),
          absl::StrCat("LEASEPLANE_RESOURCE=", std::string(lease.resource()))};
}

int FailExec(const RunOptions& options, int error_number) {
  std::fprintf(stderr, "leasectl: %s: %s\n", options.command[0].c_str(), ::strerror(error_number));
  return ExecExitCodeOf(error_number);
}

int FailRun(const RunOptions& options, const absl::Status& status) {
  Fail(status);
  return RunExitCodeOf(status, options.conflict_exit_code);
}

void AddRunCommand(CLI::App& app, Invocation& invocation) {
  const auto options = std::make_shared<RunOptions>();
  CLI::App* run = app.add_subcommand(
      "run", "Hold a lease for as long as COMMAND runs: run POOL [OPTIONS] -- COMMAND...");
  run->footer(
      "COMMAND finds LEASEPLANE_POOL, _SLOT, _TOKEN and _RESOURCE in its environment.\n"
      "Exit codes: COMMAND's; 128+n if signal n ended it; 75 no slot in time; 124 lease lost;\n"
      "125 leasectl failed; 126 COMMAND cannot be executed; 127 there is no COMMAND.");
  run->add_option("POOL", options->pool)->required();
  AddDuration(*run, "--wait", &options->wait, "how long to wait for a slot; default: for ever",
              true);
  AddDuration(*run, "--ttl", &options->ttl,
              "remote leases: how long they live without renewal; default: the pool's");
  AddDuration(*run, "--kill-after", &options->kill_after,
              "when the lease is lost: from TERM to KILL; default 10s");
  run->add_option("--conflict-exit-code", options->conflict_exit_code,
                  "instead of 75 if there is no slot in time")
      ->check(CLI::Range(0, 255))
      ->type_name("N");
  run->add_option("--path", options->path,
                  "auto, local (shared memory or failure) or remote (gRPC); default auto")
      ->type_name("PATH")
      ->transform(CLI::CheckedTransformer(std::map<std::string, RunPath>{
          {"auto", RunPath::kAuto}, {"local", RunPath::kLocal}, {"remote", RunPath::kRemote}}));
  run->callback([&invocation, options] {
    invocation.takes_trailing = true;
    if (invocation.trailing.empty()) throw CLI::RequiredError("-- COMMAND");
    options->server = invocation.server;
    options->tls = invocation.tls;
    options->token_file = invocation.token_file;
    options->command = invocation.trailing;
    invocation.action = [options] { return Run(*options); };
  });
}

}  // namespace leaseplane::cli
