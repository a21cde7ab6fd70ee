// SPDX-License-Identifier: Apache-2.0
//
// leases, acquire, renew, release, check: leases over gRPC, one call at a time. A lease taken by
// `acquire` outlives the command and ends with its ttl unless it is renewed.
#include <google/protobuf/util/time_util.h>
#include <CLI/CLI.hpp>

#include <iostream>
#include <memory>

#include "absl/strings/str_cat.h"
#include "clients/cli/acquire.h"
#include "clients/cli/arguments.h"
#include "clients/cli/cells.h"
#include "clients/cli/commands.h"
#include "clients/cli/dial.h"
#include "clients/cli/exit_codes.h"
#include "clients/cli/message_json.h"
#include "clients/cli/stub.h"

namespace leaseplane::cli {
namespace {

using Align = Table::Align;
using google::protobuf::util::TimeUtil;

void PrintLeases(const google::protobuf::RepeatedPtrField<v1::Lease>& leases) {
  Table table({{"LEASE"},
               {"SLOT", Align::kRight},
               {"TOKEN", Align::kRight},
               {"STATE"},
               {"PATH"},
               {"HOLDER"},
               {"RESOURCE"},
               {"TAKEN"},
               {"EXPIRES"}});
  for (const v1::Lease& lease : leases) {
    table.AddRow({ShortName(lease.name()), absl::StrCat(lease.slot_index()),
                  TokenCell(lease.fencing_token()),
                  EnumCell(v1::Lease::State_Name(lease.state()), "STATE_"),
                  EnumCell(v1::LeasePath_Name(lease.path()), "LEASE_PATH_"),
                  HolderCell(lease.principal(), lease.client_id()), lease.resource(),
                  TimeCell(lease.has_acquire_time(), lease.acquire_time()),
                  TimeCell(lease.has_expire_time(), lease.expire_time())});
  }
  table.Print(std::cout);
}

int Leases(const Invocation& invocation, const std::string& pool) {
  const auto name = PoolName(pool.empty() ? "-" : pool);
  if (!name.ok()) return Fail(name.status());
  auto daemon = Dial(invocation);
  if (!daemon.ok()) return Fail(daemon.status());
  v1::ListLeasesRequest request;
  request.set_parent(*name);
  v1::ListLeasesResponse all;
  const absl::Status status = daemon->CallForPages(
      daemon->leases(), &v1::LeaseService::Stub::ListLeases, request,
      [&all](v1::ListLeasesResponse& page) { all.mutable_leases()->MergeFrom(page.leases()); });
  if (!status.ok()) return Fail(status);
  if (invocation.format == OutputFormat::kJson) return PrintList("leases", all.leases());
  PrintLeases(all.leases());
  return 0;
}

// AcquireLeaseResponse and RenewLeaseResponse have the same fields.
template <class Response>
int PrintHeld(const Invocation& invocation, const Response& response) {
  if (invocation.format == OutputFormat::kJson) return PrintMessage(response);
  const v1::Lease& lease = response.lease();
  Table table({{"LEASE"},
               {"SLOT", Align::kRight},
               {"TOKEN", Align::kRight},
               {"RESOURCE"},
               {"REMAINING", Align::kRight}});
  table.AddRow({ShortName(lease.name()), absl::StrCat(lease.slot_index()),
                TokenCell(lease.fencing_token()), lease.resource(),
                DurationCell(true, response.remaining_duration())});
  table.Print(std::cout);
  return 0;
}

int Acquire(const Invocation& invocation, const AcquireArguments& arguments) {
  auto daemon = Dial(invocation);
  if (!daemon.ok()) return Fail(daemon.status());
  const auto response = AcquireLease(*daemon, arguments);
  if (!response.ok()) return Fail(response.status());
  return PrintHeld(invocation, *response);
}

struct LeaseArguments {
  std::string lease;
  int64_t token = 0;
  bool has_token = false;
  absl::Duration ttl = absl::ZeroDuration();
};

// The token as typed, or else the one the daemon knows.
absl::Status FillToken(Daemon& daemon, const std::string& name, LeaseArguments* arguments) {
  if (arguments->has_token) return absl::OkStatus();
  v1::GetLeaseRequest request;
  request.set_name(name);
  const auto lease = daemon.Call(daemon.leases(), &v1::LeaseService::Stub::GetLease, request);
  if (!lease.ok()) return lease.status();
  arguments->token = lease->fencing_token();
  return absl::OkStatus();
}

int Renew(const Invocation& invocation, LeaseArguments arguments) {
  const auto name = LeaseName(arguments.lease);
  if (!name.ok()) return Fail(name.status());
  auto daemon = Dial(invocation);
  if (!daemon.ok()) return Fail(daemon.status());
  const absl::Status token = FillToken(*daemon, *name, &arguments);
  if (!token.ok()) return Fail(token);
  v1::RenewLeaseRequest request;
  request.set_name(*name);
  request.set_fencing_token(arguments.token);
  if (arguments.ttl > absl::ZeroDuration()) {
    *request.mutable_ttl() =
        TimeUtil::NanosecondsToDuration(absl::ToInt64Nanoseconds(arguments.ttl));
  }
  const auto response =
      daemon->Call(daemon->leases(), &v1::LeaseService::Stub::RenewLease, request);
  if (!response.ok()) return Fail(response.status());
  return PrintHeld(invocation, *response);
}

int Release(const Invocation& invocation, LeaseArguments arguments) {
  const auto name = LeaseName(arguments.lease);
  if (!name.ok()) return Fail(name.status());
  auto daemon = Dial(invocation);
  if (!daemon.ok()) return Fail(daemon.status());
  const absl::Status token = FillToken(*daemon, *name, &arguments);
  if (!token.ok()) return Fail(token);
  v1::ReleaseLeaseRequest request;
  request.set_name(*name);
  request.set_fencing_token(arguments.token);
  const auto response =
      daemon->Call(daemon->leases(), &v1::LeaseService::Stub::ReleaseLease, request);
  if (!response.ok()) return Fail(response.status());
  if (invocation.format == OutputFormat::kJson) return PrintMessage(*response);
  std::cout << "released " << ShortName(*name) << "\n";
  return 0;
}

int Check(const Invocation& invocation, const std::string& slot, int64_t token) {
  const auto name = SlotName(slot);
  if (!name.ok()) return Fail(name.status());
  auto daemon = Dial(invocation);
  if (!daemon.ok()) return Fail(daemon.status());
  v1::CheckTokenRequest request;
  request.set_name(*name);
  request.set_fencing_token(token);
  const auto response =
      daemon->Call(daemon->leases(), &v1::LeaseService::Stub::CheckToken, request);
  if (!response.ok()) return Fail(response.status());
  if (invocation.format == OutputFormat::kJson) {
    PrintMessage(*response);
  } else {
    std::cout << (response->valid() ? "valid" : "not valid") << ": slot " << ShortName(*name)
              << " is " << EnumCell(v1::Slot::State_Name(response->state()), "STATE_")
              << ", its last token is " << response->current_fencing_token() << "\n";
  }
  return response->valid() ? kExitOk : kExitRefused;
}

void AddAcquire(CLI::App& app, Invocation& invocation) {
  const auto arguments = std::make_shared<AcquireArguments>();
  CLI::App* acquire = app.add_subcommand(
      "acquire", "Take a lease and print it. It ends with its ttl unless it is renewed");
  acquire->add_option("POOL", arguments->pool)->required();
  AddDuration(*acquire, "--wait", &arguments->wait, "how long to wait for a slot; default 0", true);
  AddDuration(*acquire, "--ttl", &arguments->ttl, "how long the lease lives; default: the pool's");
  acquire->add_option("--client-id", arguments->client_id, "who the holder is; default leasectl");
  acquire->add_option("--request-id", arguments->request_id,
                      "a UUID: repeating the command with it returns the same lease");
  acquire->callback([&invocation, arguments] {
    invocation.action = [&invocation, arguments] { return Acquire(invocation, *arguments); };
  });
}

void AddToken(CLI::App& command, LeaseArguments* arguments) {
  command
      .add_option_function<int64_t>(
          "--token",
          [arguments](const int64_t& token) {
            arguments->token = token;
            arguments->has_token = true;
          },
          "the lease's fencing token; default: asked from the daemon")
      ->type_name("TOKEN");
}

void AddRenewAndRelease(CLI::App& app, Invocation& invocation) {
  const auto arguments = std::make_shared<LeaseArguments>();
  CLI::App* renew = app.add_subcommand("renew", "Extend a lease: it lives for its ttl from now");
  renew->add_option("LEASE", arguments->lease, "pools/POOL/leases/ID or POOL/ID")->required();
  AddToken(*renew, arguments.get());
  AddDuration(*renew, "--ttl", &arguments->ttl, "default: as granted, or last renewed");
  renew->callback([&invocation, arguments] {
    invocation.action = [&invocation, arguments] { return Renew(invocation, *arguments); };
  });

  CLI::App* release = app.add_subcommand("release", "Give a lease back");
  release->add_option("LEASE", arguments->lease, "pools/POOL/leases/ID or POOL/ID")->required();
  AddToken(*release, arguments.get());
  release->callback([&invocation, arguments] {
    invocation.action = [&invocation, arguments] { return Release(invocation, *arguments); };
  });
}

}  // namespace

void AddLeaseCommands(CLI::App& app, Invocation& invocation) {
  const auto pool = std::make_shared<std::string>();
  CLI::App* leases = app.add_subcommand("leases", "List the live leases of a pool, or of all");
  leases->add_option("POOL", *pool);
  leases->callback([&invocation, pool] {
    invocation.action = [&invocation, pool] { return Leases(invocation, *pool); };
  });

  AddAcquire(app, invocation);
  AddRenewAndRelease(app, invocation);

  const auto slot = std::make_shared<std::string>();
  const auto token = std::make_shared<int64_t>(0);
  CLI::App* check =
      app.add_subcommand("check", "Is this token the one of the slot's present holder?");
  check->add_option("SLOT", *slot, "POOL/INDEX")->required();
  check->add_option("TOKEN", *token)->required();
  check->callback([&invocation, slot, token] {
    invocation.action = [&invocation, slot, token] { return Check(invocation, *slot, *token); };
  });
}

}  // namespace leaseplane::cli
