// SPDX-License-Identifier: Apache-2.0
//
// health, version: is there a daemon, which one, and does it give leases?
#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>

#include "clients/cli/cells.h"
#include "clients/cli/commands.h"
#include "clients/cli/dial.h"
#include "clients/cli/exit_codes.h"
#include "clients/cli/stub.h"

namespace leaseplane::cli {
namespace {

constexpr char kReadiness[] = "leaseplane.v1.LeaseService";
constexpr char kLiveness[] = "leaseplane.live";

int Health(const Invocation& invocation, bool is_about_life) {
  auto daemon = Dial(invocation);
  if (!daemon.ok()) return Fail(daemon.status());
  const std::string service = is_about_life ? kLiveness : kReadiness;
  const auto serving = daemon->IsServing(service);
  if (!serving.ok()) return Fail(serving.status());
  const std::string status = *serving ? "SERVING" : "NOT_SERVING";
  if (invocation.format == OutputFormat::kJson) {
    nlohmann::ordered_json object;
    object["service"] = service;
    object["status"] = status;
    std::cout << object.dump(2) << "\n";
  } else {
    std::cout << status << "\n";
  }
  return *serving ? kExitOk : kExitUnavailable;
}

// Our own version always; the daemon's if there is one.
int Version(const Invocation& invocation) {
  auto daemon = Dial(invocation);
  if (!daemon.ok()) return Fail(daemon.status());
  const auto info = daemon->Call(daemon->leases(), &v1::LeaseService::Stub::GetServerInfo,
                                 v1::GetServerInfoRequest());
  if (invocation.format == OutputFormat::kJson) {
    nlohmann::ordered_json object;
    object["leasectl"] = LEASEPLANE_VERSION;
    object["server"] = info.ok() ? ToJson(*info) : nlohmann::ordered_json();
    std::cout << object.dump(2) << "\n";
    return kExitOk;
  }
  std::cout << "leasectl " << LEASEPLANE_VERSION << "\n";
  if (!info.ok()) {
    std::cout << "no daemon answers: " << Describe(info.status()) << "\n";
    return kExitOk;
  }
  std::cout << "leaseplaned " << info->version() << ", instance " << info->instance_id()
            << ", started " << TimeCell(info->has_start_time(), info->start_time()) << "\n";
  return kExitOk;
}

}  // namespace

void AddHealthCommands(CLI::App& app, Invocation& invocation) {
  const auto is_about_life = std::make_shared<bool>(false);
  CLI::App* health =
      app.add_subcommand("health", "Does the daemon give leases? Exit code 69 if it does not");
  health->add_flag("--live", *is_about_life, "only: is it alive?");
  health->callback([&invocation, is_about_life] {
    invocation.action = [&invocation, is_about_life] { return Health(invocation, *is_about_life); };
  });

  CLI::App* version =
      app.add_subcommand("version", "Print the versions of leasectl and the daemon");
  version->callback(
      [&invocation] { invocation.action = [&invocation] { return Version(invocation); }; });
}

}  // namespace leaseplane::cli
