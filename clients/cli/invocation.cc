// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <iostream>
#include <map>

#include "absl/strings/str_cat.h"
#include "clients/cli/arguments.h"
#include "clients/cli/commands.h"
#include "clients/cli/exit_codes.h"

namespace leaseplane::cli {
namespace {

constexpr char kDescription[] =
    "Leases slots of pools, and looks after them.\n"
    "Exit codes: 0 done, 1 refused, 64 usage, 69 unavailable, 70 internal, 75 no slot in time,\n"
    "77 denied; `leasectl run --help` has its own.";

void AddGlobalOptions(CLI::App& app, Invocation& invocation) {
  app.add_option("--server", invocation.server,
                 "unix:///PATH, dns:///HOST:PORT, ipv4:ADDRESS:PORT, ipv6:[ADDRESS]:PORT or "
                 "HOST:PORT; default: $LEASEPLANE_SERVER, else "
                 "unix:///run/leaseplane/leaseplane.sock")
      ->type_name("URI");
  app.add_option("--tls-ca", invocation.tls.ca_file,
                 "PEM file: who may have signed the daemon's certificate; asks for TLS; default: "
                 "$LEASEPLANE_TLS_CA")
      ->type_name("FILE");
  app.add_option("--tls-cert", invocation.tls.cert_file,
                 "PEM file: certificate to show; default: $LEASEPLANE_TLS_CERT")
      ->type_name("FILE");
  app.add_option("--tls-key", invocation.tls.key_file,
                 "PEM file: its private key; default: $LEASEPLANE_TLS_KEY")
      ->type_name("FILE");
  app.add_option("--token-file", invocation.token_file,
                 "file with a bearer token; default: $LEASEPLANE_TOKEN_FILE")
      ->type_name("FILE");
  app.add_option("-o,--output", invocation.format, "table or json; default table")
      ->type_name("FORMAT")
      ->transform(CLI::CheckedTransformer(
                      std::map<std::string, OutputFormat>{{"table", OutputFormat::kTable},
                                                          {"json", OutputFormat::kJson}})
                      .description(""));
  AddDuration(app, "--timeout", &invocation.call_timeout,
              "how long one call to the daemon may take; default 10s");
}

std::string FailureMessage(const CLI::App* /*app*/, const CLI::Error& error) {
  return absl::StrCat("leasectl: ", Printable(error.what()), " (see --help)\n");
}

// Takes what follows the first `--` out of `words`: it is somebody else's and not looked at.
void SplitTrailing(std::vector<std::string>& words, Invocation& invocation) {
  const auto dashes = std::find(words.begin(), words.end(), "--");
  if (dashes == words.end()) return;
  invocation.has_trailing = true;
  invocation.trailing.assign(dashes + 1, words.end());
  words.erase(dashes, words.end());
}

}  // namespace

int Fail(const absl::Status& status) {
  std::fprintf(stderr, "leasectl: %s\n", Describe(status).c_str());
  return ExitCodeOf(status);
}

CLI::Option* AddDuration(CLI::App& app, const std::string& name, absl::Duration* value,
                         const std::string& description, bool may_be_infinite) {
  return app
      .add_option_function<std::string>(
          name,
          [name, value, may_be_infinite](const std::string& text) {
            const auto parsed = ParseDuration(text, may_be_infinite);
            if (!parsed.ok()) {
              throw CLI::ValidationError(name, std::string(parsed.status().message()));
            }
            *value = *parsed;
          },
          description)
      ->type_name("DURATION");
}

int RunCommandLine(int argc, const char* const* argv) {
  Invocation invocation;
  CLI::App app{kDescription, "leasectl"};
  app.require_subcommand(1);
  app.set_version_flag("--version", "leasectl " LEASEPLANE_VERSION);
  app.failure_message(FailureMessage);
  AddGlobalOptions(app, invocation);
  AddPoolCommands(app, invocation);
  AddLeaseCommands(app, invocation);
  AddAdminCommands(app, invocation);
  AddHealthCommands(app, invocation);
  AddRunCommand(app, invocation);
  for (CLI::App* command : app.get_subcommands(nullptr)) command->fallthrough();

  std::vector<std::string> words(argv + 1, argv + argc);
  SplitTrailing(words, invocation);
  std::reverse(words.begin(), words.end());  // as CLI11 takes them
  try {
    app.parse(words);
    if (invocation.has_trailing && !invocation.takes_trailing) {
      throw CLI::ExtrasError({"nothing may follow --"});
    }
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kExitOk : kExitUsage;  // 0: --help, --version
  }
  const int exit_code = invocation.action();
  std::cout.flush();
  if (exit_code == kExitOk && !std::cout) {
    std::fputs("leasectl: the output could not be written\n", stderr);
    return kExitInternal;
  }
  return exit_code;
}

}  // namespace leaseplane::cli
