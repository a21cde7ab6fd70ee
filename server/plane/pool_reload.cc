// SPDX-License-Identifier: Apache-2.0
//
// A configuration that was read again, applied to the pools. What can fail comes first, and is
// taken back if something after it fails; other rules cannot fail.
#include "absl/strings/str_cat.h"
#include "server/obs/log.h"
#include "server/plane/daemon_plane.h"

namespace leaseplane::plane {

using engine::PoolOptions;

absl::Status DaemonPlane::ApplyPools(const std::vector<PoolOptions>& added,
                                     const std::vector<PoolOptions>& changed) {
  obs::MutexLock admin(&admin_mu_);
  for (const PoolOptions& options : changed) {
    const PoolPtr pool = pools_.Find(options.id);
    if (!pool || pool->options().from_api) {
      return absl::FailedPreconditionError(
          absl::StrCat("pool ", options.id, " did not start, so it cannot be given other rules"));
    }
  }
  std::vector<PoolPtr> made;
  absl::Status status;
  for (PoolOptions options : added) {
    if (options.max_capacity == 0) options.max_capacity = options.capacity;
    if (const std::optional<engine::Refusal> refusal = CheckNewPool(options)) {
      status = absl::FailedPreconditionError(refusal->text);
      break;
    }
    absl::StatusOr<PoolPtr> pool = BuildPool(options);
    if (!pool.ok()) {
      status = absl::Status(pool.status().code(),
                            absl::StrCat("pool ", options.id, ": ", pool.status().message()));
      break;
    }
    AddPool(*pool);
    made.push_back(*std::move(pool));
  }
  if (!status.ok()) {
    for (const PoolPtr& pool : made) {
      EmptyPool(*pool, /*force=*/true);
      RemovePool(pool).IgnoreError();
    }
    return status;
  }
  for (PoolOptions options : changed) {
    if (options.max_capacity == 0) options.max_capacity = options.capacity;
    pools_.Find(options.id)->ChangeRules(std::move(options));
  }
  return absl::OkStatus();
}

void DaemonPlane::SetSessionLimits(uint32_t per_process_max, uint32_t per_uid_max) {
  attach_->SetSessionLimits(per_process_max, per_uid_max);
}

}  // namespace leaseplane::plane
