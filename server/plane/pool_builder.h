// SPDX-License-Identifier: Apache-2.0
//
// PoolBuilder: from options to a running pool: segments (inherited or new), ledger, engine,
// recovery. Owner: the plane. Threads: one at a time. Errors: absl::Status naming the pool; a pool
// that cannot be built leaves nothing behind that the next attempt stumbles over.
#pragma once

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "server/keeper/holdings.h"
#include "server/plane/pool_runtime.h"
#include "server/store/recovery.h"
#include "server/store/state_store.h"

namespace leaseplane::plane {

struct BuilderContext {
  store::StateStore* store = nullptr;
  keeper::Vault* vault = nullptr;
  std::byte* sess = nullptr;
  std::string ledger_dir;
  ledger::Uuid boot_id;
  std::optional<store::RunMarker> last_run;
  // Processes may hold slots of segments that are gone, and come to say so.
  bool claims_possible = false;
  int64_t restart_grace_ns = 0;
  int64_t redeclare_grace_ns = 0;
  Generation renumber_at = kGrantableGenerationMax;
  std::atomic<int64_t>* recovering_until_ns = nullptr;  // for the next worker, see SharedBlock
  Outlets outlets;
};

class PoolBuilder {
 public:
  explicit PoolBuilder(BuilderContext context) : context_(std::move(context)) {}

  // REQUIRES max_capacity set and `epoch` durable. `held`: what the keeper has under `handle`.
  absl::StatusOr<PoolPtr> Build(const engine::PoolOptions& options, uint32_t handle,
                                const store::PoolEpoch& epoch,
                                std::optional<keeper::HeldPool> held);

 private:
  absl::StatusOr<PoolSegments> GetSegments(const engine::PoolOptions& options, uint32_t handle,
                                           Epoch epoch, std::optional<keeper::HeldPool> held,
                                           bool& is_adopted);
  absl::StatusOr<store::RecoveredPool> GetLedger(const engine::PoolOptions& options,
                                                 const store::PoolEpoch& epoch);
  void Recover(PoolRuntime& pool, const store::RecoveredPool& recovered, bool is_adopted,
               const store::PoolEpoch& epoch, std::optional<std::string> drain_reason);

  const BuilderContext context_;
};

}  // namespace leaseplane::plane
