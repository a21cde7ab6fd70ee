// SPDX-License-Identifier: Apache-2.0
//
// lock, unlock, revoke, drain, resume: what operators do to slots, leases and pools. They need the
// daemon's Unix socket.
#include <google/protobuf/util/time_util.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <iostream>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "clients/cli/arguments.h"
#include "clients/cli/cells.h"
#include "clients/cli/commands.h"
#include "clients/cli/dial.h"
#include "clients/cli/message_json.h"
#include "clients/cli/stub.h"
#include "leaseplane/status.h"

namespace leaseplane::cli {
namespace {

using google::protobuf::util::TimeUtil;

struct AdminArguments {
  std::string name;
  std::string reason;
  absl::Duration grace = absl::ZeroDuration();
  absl::Duration wait = absl::ZeroDuration();
};

constexpr absl::Duration kLookAgain = absl::Milliseconds(250);

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

int PrintPool(const Invocation& invocation, const v1::Pool& pool) {
  if (invocation.format == OutputFormat::kJson) return PrintMessage(pool);
  std::cout << "pool " << ShortName(pool.name()) << " is "
            << EnumCell(v1::Pool::State_Name(pool.state()), "STATE_");
  if (pool.drained()) std::cout << ", leases left: " << pool.counts().busy_count();
  std::cout << "\n";
  return 0;
}

// Looks until the pool has no lease. A daemon that restarts meanwhile goes on draining.
absl::Status AwaitEmpty(Daemon& daemon, absl::Duration wait, v1::Pool& pool) {
  const absl::Time deadline = absl::Now() + wait;
  v1::GetPoolRequest request;
  request.set_name(pool.name());
  while (pool.counts().busy_count() != 0) {
    const absl::Duration rest = deadline - absl::Now();
    if (rest <= absl::ZeroDuration()) {
      return MakeStatus(
          Reason::kWaitTimeout,
          absl::StrCat("the pool is drained, but leases are left: ", pool.counts().busy_count()));
    }
    absl::SleepFor(std::min(rest, kLookAgain));
    const auto seen = daemon.Call(daemon.admin(), &v1::AdminService::Stub::GetPool, request);
    if (absl::IsUnavailable(seen.status())) continue;
    if (!seen.ok()) return seen.status();
    pool = *seen;
    if (!pool.drained()) {
      return MakeStatus(Reason::kFailedPrecondition, "the pool was resumed meanwhile");
    }
  }
  return absl::OkStatus();
}

int Drain(const Invocation& invocation, const AdminArguments& arguments) {
  const auto name = PoolName(arguments.name);
  if (!name.ok()) return Fail(name.status());
  auto daemon = Dial(invocation);
  if (!daemon.ok()) return Fail(daemon.status());
  v1::DrainPoolRequest request;
  request.set_name(*name);
  request.set_reason(arguments.reason);
  auto response = daemon->Call(daemon->admin(), &v1::AdminService::Stub::DrainPool, request);
  if (!response.ok()) return Fail(response.status());
  if (arguments.wait > absl::ZeroDuration()) {
    const absl::Status status = AwaitEmpty(*daemon, arguments.wait, *response->mutable_pool());
    if (!status.ok()) return Fail(status);
  }
  return PrintPool(invocation, response->pool());
}

int Resume(const Invocation& invocation, const AdminArguments& arguments) {
  const auto name = PoolName(arguments.name);
  if (!name.ok()) return Fail(name.status());
  auto daemon = Dial(invocation);
  if (!daemon.ok()) return Fail(daemon.status());
  v1::ResumePoolRequest request;
  request.set_name(*name);
  const auto response = daemon->Call(daemon->admin(), &v1::AdminService::Stub::ResumePool, request);
  if (!response.ok()) return Fail(response.status());
  return PrintPool(invocation, response->pool());
}

void AddDrainCommands(CLI::App& app, Invocation& invocation) {
  const auto arguments = std::make_shared<AdminArguments>();
  CLI::App* drain =
      app.add_subcommand("drain", "Grant no new leases in a pool; those there are live on");
  drain->add_option("POOL", arguments->name)->required();
  drain->add_option("--reason", arguments->reason, "shown with the pool, told to who is refused")
      ->required();
  AddDuration(*drain, "--wait", &arguments->wait,
              "how long to wait until the pool has no lease; default 0", /*may_be_infinite=*/true);
  drain->callback([&invocation, arguments] {
    invocation.action = [&invocation, arguments] { return Drain(invocation, *arguments); };
  });

  CLI::App* resume = app.add_subcommand("resume", "Let a drained pool grant again");
  resume->add_option("POOL", arguments->name)->required();
  resume->callback([&invocation, arguments] {
    invocation.action = [&invocation, arguments] { return Resume(invocation, *arguments); };
  });
}

}  // namespace

void AddAdminCommands(CLI::App& app, Invocation& invocation) {
  AddDrainCommands(app, invocation);
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
