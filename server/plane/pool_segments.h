// SPDX-License-Identifier: Apache-2.0
//
// PoolSegments: the three mapped segments of one pool in the worker, new or inherited. Owns the
// descriptors and mappings; whoever uses the words keeps this alive.
// Threads: none; immutable after it is made. Errors: absl::Status when memory or the keeper refuse.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "core/base/unique_fd.h"
#include "core/shm/fault_guard.h"
#include "core/shm/mapping.h"
#include "core/shm/segment.h"
#include "server/engine/types.h"
#include "server/keeper/channel.h"
#include "server/keeper/holdings.h"

namespace leaseplane::plane {

class PoolSegments {
 public:
  // New segments: allocated, mapped by worker and keeper, sealed, formatted, but not published:
  // clients cannot attach until Publish, and a worker that dies before leaves nothing to adopt.
  static absl::StatusOr<PoolSegments> Create(const engine::PoolOptions& options, uint32_t handle,
                                             Epoch epoch, keeper::Vault& vault);
  // As Create, in the place of what the keeper has under `handle`. On failure that stays.
  static absl::StatusOr<PoolSegments> Replace(const engine::PoolOptions& options, uint32_t handle,
                                              Epoch epoch, keeper::Vault& vault);
  // What a worker before made and published. FAILED_PRECONDITION if it cannot be used for a pool
  // of this capacity; the caller drops it then.
  static absl::StatusOr<PoolSegments> Adopt(keeper::HeldPool held, uint32_t max_capacity);

  void Publish();

  // Memory of the pool was lost; this process does not see any more what the clients see.
  bool has_faulted() const {
    return data_guard_.has_faulted() || ctl_guard_.has_faulted() || meta_guard_.has_faulted();
  }

  shm::PoolBase base() const { return {data_.base(), ctl_.base(), meta_.base(), geometry_}; }
  const shm::Geometry& geometry() const { return geometry_; }
  uint64_t uid() const { return uid_; }
  uint64_t meta_bytes() const { return meta_.bytes(); }
  int data_fd() const { return data_fd_.get(); }
  int ctl_fd() const { return ctl_fd_.get(); }
  int meta_fd() const { return meta_fd_.get(); }

 private:
  PoolSegments() = default;
  static absl::StatusOr<PoolSegments> Make(const engine::PoolOptions& options, uint32_t handle,
                                           Epoch epoch, keeper::Vault& vault, bool replaces);
  absl::Status Seal() const;
  void Guard();

  shm::Geometry geometry_{};
  uint64_t uid_ = 0;
  UniqueFd data_fd_, ctl_fd_, meta_fd_;
  shm::Mapping data_, ctl_, meta_;
  shm::FaultGuard data_guard_, ctl_guard_, meta_guard_;  // go before the mappings
};

// 64 random bits, never 0. Any thread; a system call now and then.
uint64_t RandomWord();

}  // namespace leaseplane::plane
