// SPDX-License-Identifier: Apache-2.0
#include "server/store/pool_json.h"

#include <nlohmann/json.hpp>
#include <string_view>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace leaseplane::store {
namespace {

using engine::Durability;
using engine::Fairness;
using engine::PoolOptions;
using nlohmann::json;

const char* Name(Fairness fairness) { return fairness == Fairness::kFifo ? "FIFO" : "BOUNDED"; }

const char* Name(Durability durability) {
  switch (durability) {
    case Durability::kNone:
      return "NONE";
    case Durability::kAsync:
      return "ASYNC";
    case Durability::kSync:
      return "SYNC";
  }
  return "ASYNC";
}

// Calls `visit(key, member)` for every field whose JSON type is that of the member.
template <class Options, class Visit>
void ForEachField(Options& options, Visit visit) {
  visit("id", options.id);
  visit("capacity", options.capacity);
  visit("max_capacity", options.max_capacity);
  visit("default_ttl_ns", options.default_ttl_ns);
  visit("min_ttl_ns", options.min_ttl_ns);
  visit("max_ttl_ns", options.max_ttl_ns);
  visit("max_duration_ns", options.max_duration_ns);
  visit("max_overtake_ns", options.max_overtake_ns);
  visit("max_waiters", options.max_waiters);
  visit("max_waiters_per_client", options.max_waiters_per_client);
  visit("max_leases_per_client", options.max_leases_per_client);
  visit("reuse_delay_ns", options.reuse_delay_ns);
  visit("lock_delay_ns", options.lock_delay_ns);
  visit("max_hold_ns", options.max_hold_ns);
  visit("stall_timeout_ns", options.stall_timeout_ns);
  visit("local_enabled", options.local_enabled);
  visit("local_uids", options.local_uids);
  visit("local_gids", options.local_gids);
  visit("resources", options.resources);
  visit("labels", options.labels);
}

PoolOptions Read(const json& document) {
  PoolOptions options;
  ForEachField(options, [&document](const char* key, auto& member) {
    if (const auto found = document.find(key); found != document.end()) found->get_to(member);
  });
  const std::string fairness = document.value("fairness", "BOUNDED");
  const std::string durability = document.value("durability", "ASYNC");
  options.fairness = fairness == "FIFO" ? Fairness::kFifo : Fairness::kBounded;
  options.durability = durability == "NONE"   ? Durability::kNone
                       : durability == "SYNC" ? Durability::kSync
                                              : Durability::kAsync;
  options.from_api = true;
  return options;
}

}  // namespace

std::string PoolToJson(const PoolOptions& options) {
  json document = json::object();
  ForEachField(options,
               [&document](const char* key, const auto& member) { document[key] = member; });
  document["fairness"] = Name(options.fairness);
  document["durability"] = Name(options.durability);
  return document.dump(-1, ' ', false, json::error_handler_t::replace);
}

absl::StatusOr<PoolOptions> PoolFromJson(const std::string& text) {
  try {
    const json document = json::parse(text);
    if (document.is_object()) return Read(document);
  } catch (const json::exception& error) {
    return absl::DataLossError(absl::StrCat("a stored pool cannot be read: ", error.what()));
  }
  return absl::DataLossError("a stored pool is not a JSON object");
}

}  // namespace leaseplane::store
