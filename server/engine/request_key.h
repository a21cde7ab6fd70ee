// SPDX-License-Identifier: Apache-2.0
//
// Keys of the engine's hash maps: a request id within its principal, a lease id, a client.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/hash/hash.h"
#include "server/engine/types.h"

namespace leaseplane::engine {

// A request id names a wish of one principal; another principal's equal id is another wish.
struct RequestKey {
  RequestKey(std::string_view principal, const RequestId& request)
      : id(request), principal_hash(absl::HashOf(principal)) {}
  RequestId id;
  uint64_t principal_hash;
  bool operator==(const RequestKey&) const = default;
  template <class H>
  friend H AbslHashValue(H h, const RequestKey& key) {
    return H::combine(std::move(h), key.id.hi, key.id.lo, key.principal_hash);
  }
};

struct LeaseIdHash {
  size_t operator()(const LeaseId& id) const { return absl::HashOf(id.hi, id.lo); }
};

// Whom limits per client count: neither field can contain the separator (printable text).
inline std::string ClientKey(std::string_view principal, std::string_view client_id) {
  std::string key;
  key.reserve(principal.size() + client_id.size() + 1);
  key.append(principal).push_back('\n');
  key.append(client_id);
  return key;
}

}  // namespace leaseplane::engine
