// SPDX-License-Identifier: Apache-2.0
//
// Names of resources (`pools/P/slots/3`) as text and as their parts. Parsing is exact: there is one
// text for each resource, so whatever parses formats back to the same bytes.
//
// Pure functions, any thread; nullopt for text that is no such name.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "server/engine/types.h"

namespace leaseplane::rpc {

struct SlotRef {
  std::string pool;
  SlotIndex slot = 0;
};

// A lease known by id, or (is_local) one known by slot and token.
struct LeaseRef {
  std::string pool;
  bool is_local = false;
  engine::LeaseId id;
  SlotIndex slot = 0;
  FencingToken token = 0;
};

struct WaiterRef {
  std::string pool;
  uint64_t ticket = 0;
};

// [a-z]([a-z0-9-]{0,61}[a-z0-9])?
bool IsPoolId(std::string_view text);

std::optional<std::string> ParsePoolName(std::string_view name);  // the pool's id
std::optional<SlotRef> ParseSlotName(std::string_view name);
std::optional<LeaseRef> ParseLeaseName(std::string_view name);
std::optional<WaiterRef> ParseWaiterName(std::string_view name);

std::string PoolName(std::string_view pool);
std::string SlotName(std::string_view pool, SlotIndex slot);
std::string LeaseName(std::string_view pool, const engine::LeaseInfo& lease);
std::string LeaseName(std::string_view pool, const engine::LeaseId& id);
std::string WaiterName(std::string_view pool, uint64_t ticket);

}  // namespace leaseplane::rpc
