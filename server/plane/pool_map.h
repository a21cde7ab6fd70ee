// SPDX-License-Identifier: Apache-2.0
//
// PoolMap: the running pools by name and by handle. Readers copy a reference and go on without the
// lock; nothing waits inside it.
// Threads: any. Cost: Find is a shared lock and a hash look-up.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "server/keeper/shared_block.h"
#include "server/obs/mutex.h"
#include "server/plane/pool_runtime.h"

namespace leaseplane::plane {

class PoolMap {
 public:
  PoolPtr Find(const std::string& id) const {
    obs::ReaderLock lock(&mu_);
    auto it = by_id_.find(id);
    return it == by_id_.end() ? nullptr : it->second;
  }
  PoolPtr FindHandle(uint32_t handle) const {
    obs::ReaderLock lock(&mu_);
    return handle < by_handle_.size() ? by_handle_[handle] : nullptr;
  }
  // In no order.
  std::vector<PoolPtr> All() const {
    std::vector<PoolPtr> all;
    obs::ReaderLock lock(&mu_);
    all.reserve(by_id_.size());
    for (const auto& [id, pool] : by_id_) all.push_back(pool);
    return all;
  }
  std::vector<PoolPtr> AllById() const {
    std::vector<PoolPtr> all = All();
    std::sort(all.begin(), all.end(),
              [](const PoolPtr& a, const PoolPtr& b) { return a->id() < b->id(); });
    return all;
  }
  void Add(PoolPtr pool) {
    obs::WriterLock lock(&mu_);
    by_handle_[pool->handle()] = pool;
    by_id_[pool->id()] = std::move(pool);
  }
  void Remove(const PoolPtr& pool) {
    obs::WriterLock lock(&mu_);
    by_handle_[pool->handle()] = nullptr;
    by_id_.erase(pool->id());
  }
  void Clear() {
    obs::WriterLock lock(&mu_);
    by_handle_.assign(by_handle_.size(), nullptr);
    by_id_.clear();
  }

 private:
  mutable obs::SharedMutex mu_;
  absl::flat_hash_map<std::string, PoolPtr> by_id_ ABSL_GUARDED_BY(mu_);
  std::vector<PoolPtr> by_handle_ ABSL_GUARDED_BY(mu_) =
      std::vector<PoolPtr>(keeper::kPoolHandleCount);
};

}  // namespace leaseplane::plane
