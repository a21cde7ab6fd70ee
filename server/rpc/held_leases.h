// SPDX-License-Identifier: Apache-2.0
//
// HeldLeases: what a LeaseStream with release_on_disconnect acquired and has to give back when it
// ends. Leases that ended by themselves are forgotten when room is needed.
//
// Owner: the stream's call; not thread-safe. Memory: about 100 bytes a lease, kLeasesMax at most.
#pragma once

#include <absl/container/flat_hash_map.h>

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "server/engine/request_key.h"
#include "server/engine/types.h"

namespace leaseplane::rpc {

struct HeldLease {
  std::string pool;
  engine::LeaseId id;
  FencingToken token = 0;
};

class HeldLeases {
 public:
  static constexpr size_t kLeasesMax = 65'536;

  void Add(const std::string& pool, const engine::LeaseInfo& lease) {
    leases_[lease.id] = HeldLease{pool, lease.id, lease.token};
  }
  void Remove(const engine::LeaseId& id) { leases_.erase(id); }
  size_t size() const { return leases_.size(); }
  std::vector<HeldLease> All() const {
    std::vector<HeldLease> all;
    all.reserve(leases_.size());
    for (const auto& [unused, held] : leases_) all.push_back(held);
    return all;
  }

 private:
  absl::flat_hash_map<engine::LeaseId, HeldLease, engine::LeaseIdHash> leases_;
};

}  // namespace leaseplane::rpc
