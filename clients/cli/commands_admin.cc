// SPDX-License-Identifier: Apache-2.0
//
// lock, unlock, revoke: what operators do to slots and leases. They need the daemon's Unix socket.
#include <google/protobuf/util/time_util.h>
#include <CLI/CLI.hpp>

#include <iostream>
#include <memory>

#include "clients/cli/arguments.h"
#include "clients/cli/cells.h"
#include "clients/cli/commands.h"
#include "clients/cli/dial.h"
#include "clients/cli/message_json.h"
#include "clients/cli/stub.h"

namespace leaseplane::cli {
namespace {

using google::protobuf::util::TimeUtil;

struct AdminArguments {
  std::string name;
  std::string reason;
  absl::Duration grace = absl::ZeroDuration();
};

int PrintSlot(const Invocation& invocation, const v1::Slot& slot) {
  if (invocation.format == OutputFormat::kJson) return PrintMessage(slot);
  std::cout << "slot " << ShortName(slot.name()) << " is "
            << EnumCell(v1::Slot::State_Name(slot.state()), "STATE_")
            << (slot.lock_pending() ? ", to be locked when its lease ends" : "") << "\n";
  return 0;
}

int Lock(const Invocation& invocation, const AdminArguments& arguments) {
  const auto name = SlotName(arguments.name);
  if (!name.ok()) return Fail(name.status());
  auto daemon = Dial(invocation);
  if (!daemon.ok()) return Fail(daemon.status());
  v1::LockSlotRequest request;
  request.set_name(*name);
  request.set_reason(arguments.reason);
  const auto response = daemon->Call(daemon->admin(), &v1::AdminService::Stub::LockSlot, request);
  if (!response.ok()) return Fail(response.status());
  return PrintSlot(invocation, response->slot());
}

int Unlock(const Invocation& invocation, const AdminArguments& arguments) {
  const auto name = SlotName(arguments.name);
  if (!name.ok()) return Fail(name.status());
  auto daemon = Dial(invocation);
  if (!daemon.ok()) return Fail(daemon.status());
  v1::UnlockSlotRequest request;
  request.set_name(*name);
  const auto response = daemon->Call(daemon->admin(), &v1::AdminService::Stub::UnlockSlot, request);
  if (!response.ok()) return Fail(response.status());
  return PrintSlot(invocation, response->slot());
}

int Revoke(const Invocation& invocation, const AdminArguments& arguments) {
  const auto name = LeaseName(arguments.name);
  if (!name.ok()) return Fail(name.status());
  auto daemon = Dial(invocation);
  if (!daemon.ok()) return Fail(daemon.status());
  v1::RevokeLeaseRequest request;
  request.set_name(*name);
  request.set_reason(arguments.reason);
  *request.mutable_grace_duration() =
      TimeUtil::NanosecondsToDuration(absl::ToInt64Nanoseconds(arguments.grace));
  const auto response =
      daemon->Call(daemon->admin(), &v1::AdminService::Stub::RevokeLease, request);
  if (!response.ok()) return Fail(response.status());
  if (invocation.format == OutputFormat::kJson) return PrintMessage(response->lease());
  std::cout << "lease " << ShortName(*name) << " is "
            << EnumCell(v1::Lease::State_Name(response->lease().state()), "STATE_") << "\n";
  return 0;
}

}  // namespace

void AddAdminCommands(CLI::App& app, Invocation& invocation) {
  const auto arguments = std::make_shared<AdminArguments>();
  CLI::App* lock = app.add_subcommand(
      "lock", "Take a slot out of use; a held one is locked when its lease ends");
  lock->add_option("SLOT", arguments->name, "POOL/INDEX")->required();
  lock->add_option("--reason", arguments->reason, "shown with the slot")->required();
  lock->callback([&invocation, arguments] {
    invocation.action = [&invocation, arguments] { return Lock(invocation, *arguments); };
  });

  CLI::App* unlock = app.add_subcommand("unlock", "Put a locked slot into use again");
  unlock->add_option("SLOT", arguments->name, "POOL/INDEX")->required();
  unlock->callback([&invocation, arguments] {
    invocation.action = [&invocation, arguments] { return Unlock(invocation, *arguments); };
  });

  CLI::App* revoke = app.add_subcommand("revoke", "Take a lease away from its holder");
  revoke->add_option("LEASE", arguments->name, "pools/POOL/leases/ID or POOL/ID")->required();
  AddDuration(*revoke, "--grace", &arguments->grace,
              "how long the holder has to stop by itself; default 0");
  revoke->add_option("--reason", arguments->reason, "told to the holder")->required();
  revoke->callback([&invocation, arguments] {
    invocation.action = [&invocation, arguments] { return Revoke(invocation, *arguments); };
  });
}

}  // namespace leaseplane::cli
