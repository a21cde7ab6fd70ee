// SPDX-License-Identifier: Apache-2.0
//
// PoolMap: the running pools by name and by handle. Readers copy a reference and go on without the
// lock; nothing waits inside it. Names are spread over shards, so that calls for two pools do not
// meet at one lock.
// Threads: any. Cost: Find is a shared lock and a hash look-up.
#pragma once

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/hash/hash.h"
#include "server/keeper/shared_block.h"
#include "server/obs/mutex.h"
#include "server/plane/pool_runtime.h"

namespace leaseplane::plane {

class PoolMap {
 public:
  PoolPtr Find(const std::string& id) const {
    const Shard& shard = shards_[ShardOf(id)];
    obs::ReaderLock lock(&shard.mu);
    auto it = shard.by_id.find(id);
    return it == shard.by_id.end() ? nullptr : it->second;
  }
  PoolPtr FindHandle(uint32_t handle) const {
    obs::ReaderLock lock(&handles_mu_);
    return handle < by_handle_.size() ? by_handle_[handle] : nullptr;
  }
  // In no order.
  std::vector<PoolPtr> All() const {
    std::vector<PoolPtr> all;
    for (const Shard& shard : shards_) {
      obs::ReaderLock lock(&shard.mu);
      for (const auto& [id, pool] : shard.by_id) all.push_back(pool);
    }
    return all;
  }
  std::vector<PoolPtr> AllById() const {
    std::vector<PoolPtr> all = All();
    std::sort(all.begin(), all.end(),
              [](const PoolPtr& a, const PoolPtr& b) { return a->id() < b->id(); });
    return all;
  }
  void Add(PoolPtr pool) {
    SetHandle(pool->handle(), pool);
    Shard& shard = shards_[ShardOf(pool->id())];
    obs::WriterLock lock(&shard.mu);
    shard.by_id[pool->id()] = std::move(pool);
  }
  void Remove(const PoolPtr& pool) {
    SetHandle(pool->handle(), nullptr);
    Shard& shard = shards_[ShardOf(pool->id())];
    obs::WriterLock lock(&shard.mu);
    shard.by_id.erase(pool->id());
  }
  void Clear() {
    for (const PoolPtr& pool : All()) Remove(pool);
  }

 private:
  static constexpr size_t kShards = 64;
  struct Shard {
    mutable obs::SharedMutex mu;
    absl::flat_hash_map<std::string, PoolPtr> by_id ABSL_GUARDED_BY(mu);
  };

  static size_t ShardOf(std::string_view id) { return absl::HashOf(id) % kShards; }
  void SetHandle(uint32_t handle, PoolPtr pool) {
    obs::WriterLock lock(&handles_mu_);
    by_handle_[handle] = std::move(pool);
  }

  std::array<Shard, kShards> shards_;
  mutable obs::SharedMutex handles_mu_;
  std::vector<PoolPtr> by_handle_ ABSL_GUARDED_BY(handles_mu_) =
      std::vector<PoolPtr>(keeper::kPoolHandleCount);
};

}  // namespace leaseplane::plane
