// SPDX-License-Identifier: Apache-2.0
//
// pools, slots, waiters: what there is. All three ask the AdminService, so they need the daemon's
// Unix socket.
#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>

#include "absl/strings/str_cat.h"
#include "clients/cli/arguments.h"
#include "clients/cli/cells.h"
#include "clients/cli/commands.h"
#include "clients/cli/dial.h"
#include "clients/cli/message_json.h"
#include "clients/cli/stub.h"

namespace leaseplane::cli {
namespace {

using Align = Table::Align;

std::string PoolNote(const v1::Pool& pool) {
  if (!pool.drained()) return "";
  return absl::StrCat("drained", pool.drain_reason().empty() ? "" : ": ", pool.drain_reason());
}

int Pools(const Invocation& invocation) {
  auto daemon = Dial(invocation);
  if (!daemon.ok()) return Fail(daemon.status());
  v1::ListPoolsResponse all;
  const absl::Status status = daemon->CallForPages(
      daemon->admin(), &v1::AdminService::Stub::ListPools, v1::ListPoolsRequest(),
      [&all](v1::ListPoolsResponse& page) { all.mutable_pools()->MergeFrom(page.pools()); });
  if (!status.ok()) return Fail(status);
  if (invocation.format == OutputFormat::kJson) return PrintList("pools", all.pools());
  Table table({{"POOL"},
               {"STATE"},
               {"SLOTS", Align::kRight},
               {"FREE", Align::kRight},
               {"BUSY", Align::kRight},
               {"LOCAL", Align::kRight},
               {"LOCKED", Align::kRight},
               {"COOLING", Align::kRight},
               {"QUARANTINED", Align::kRight},
               {"WAITING", Align::kRight},
               {"FAIRNESS"},
               {"TTL", Align::kRight},
               {"NOTE"}});
  for (const v1::Pool& pool : all.pools()) {
    const v1::PoolCounts& counts = pool.counts();
    table.AddRow({ShortName(pool.name()), EnumCell(v1::Pool::State_Name(pool.state()), "STATE_"),
                  absl::StrCat(pool.capacity()), absl::StrCat(counts.free_count()),
                  absl::StrCat(counts.busy_count()), absl::StrCat(counts.local_busy_count()),
                  absl::StrCat(counts.locked_count()), absl::StrCat(counts.cooling_count()),
                  absl::StrCat(counts.quarantined_count()),
                  absl::StrCat(counts.waiter_count() + counts.local_sleeper_count()),
                  EnumCell(v1::Pool::Fairness_Name(pool.fairness()), "FAIRNESS_"),
                  DurationCell(pool.has_default_ttl(), pool.default_ttl()), PoolNote(pool)});
  }
  table.Print(std::cout);
  return 0;
}

std::string SlotNote(const v1::Slot& slot) {
  if (!slot.lock_pending()) return slot.lock_reason();
  return absl::StrCat("to be locked", slot.lock_reason().empty() ? "" : ": ", slot.lock_reason());
}

int Slots(const Invocation& invocation, const std::string& pool) {
  const auto name = PoolName(pool);
  if (!name.ok()) return Fail(name.status());
  auto daemon = Dial(invocation);
  if (!daemon.ok()) return Fail(daemon.status());
  v1::ListSlotsRequest request;
  request.set_parent(*name);
  v1::ListSlotsResponse all;
  const absl::Status status = daemon->CallForPages(
      daemon->admin(), &v1::AdminService::Stub::ListSlots, request,
      [&all](v1::ListSlotsResponse& page) { all.mutable_slots()->MergeFrom(page.slots()); });
  if (!status.ok()) return Fail(status);
  if (invocation.format == OutputFormat::kJson) return PrintList("slots", all.slots());
  Table table({{"SLOT"}, {"STATE"}, {"TOKEN", Align::kRight}, {"RESOURCE"}, {"LEASE"}, {"NOTE"}});
  for (const v1::Slot& slot : all.slots()) {
    table.AddRow({ShortName(slot.name()), EnumCell(v1::Slot::State_Name(slot.state()), "STATE_"),
                  TokenCell(slot.fencing_token()), slot.resource(), ShortName(slot.lease()),
                  SlotNote(slot)});
  }
  table.Print(std::cout);
  return 0;
}

int Waiters(const Invocation& invocation, const std::string& pool) {
  const auto name = PoolName(pool);
  if (!name.ok()) return Fail(name.status());
  auto daemon = Dial(invocation);
  if (!daemon.ok()) return Fail(daemon.status());
  v1::ListWaitersRequest request;
  request.set_parent(*name);
  v1::ListWaitersResponse all;
  const absl::Status status = daemon->CallForPages(
      daemon->admin(), &v1::AdminService::Stub::ListWaiters, request,
      [&all](v1::ListWaitersResponse& page) { all.mutable_waiters()->MergeFrom(page.waiters()); });
  if (!status.ok()) return Fail(status);
  if (invocation.format == OutputFormat::kJson) return PrintList("waiters", all.waiters());
  Table table(
      {{"POSITION", Align::kRight}, {"WAITER"}, {"PATH"}, {"HOLDER"}, {"WAITED", Align::kRight}});
  for (const v1::Waiter& waiter : all.waiters()) {
    table.AddRow({absl::StrCat(waiter.position()), ShortName(waiter.name()),
                  EnumCell(v1::LeasePath_Name(waiter.path()), "LEASE_PATH_"),
                  HolderCell(waiter.principal(), waiter.client_id()),
                  DurationCell(waiter.has_waited_duration(), waiter.waited_duration())});
  }
  table.Print(std::cout);
  return 0;
}

}  // namespace

void AddPoolCommands(CLI::App& app, Invocation& invocation) {
  CLI::App* pools = app.add_subcommand("pools", "List the pools and what their slots do");
  pools->callback(
      [&invocation] { invocation.action = [&invocation] { return Pools(invocation); }; });

  const auto pool = std::make_shared<std::string>();
  CLI::App* slots = app.add_subcommand("slots", "List the slots of a pool");
  slots->add_option("POOL", *pool)->required();
  slots->callback([&invocation, pool] {
    invocation.action = [&invocation, pool] { return Slots(invocation, *pool); };
  });

  CLI::App* waiters = app.add_subcommand("waiters", "List who waits for a slot of a pool");
  waiters->add_option("POOL", *pool)->required();
  waiters->callback([&invocation, pool] {
    invocation.action = [&invocation, pool] { return Waiters(invocation, *pool); };
  });
}

}  // namespace leaseplane::cli
