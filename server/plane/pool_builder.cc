// SPDX-License-Identifier: Apache-2.0
#include "server/plane/pool_builder.h"

#include <algorithm>
#include <utility>

#include "core/pool/mapped_words.h"
#include "server/obs/log.h"

namespace leaseplane::plane {

absl::StatusOr<PoolSegments> PoolBuilder::GetSegments(const engine::PoolOptions& options,
                                                      uint32_t handle, Epoch epoch,
                                                      std::optional<keeper::HeldPool> held,
                                                      bool& is_adopted) {
  is_adopted = false;
  if (held) {
    absl::StatusOr<PoolSegments> adopted =
        PoolSegments::Adopt(*std::move(held), options.max_capacity);
    if (adopted.ok()) {
      is_adopted = true;
      return adopted;
    }
    obs::Log(obs::Level::kWarning, "inherited segments are not used",
             {{"pool", options.id}, {"why", adopted.status().ToString()}});
    absl::Status dropped = context_.vault->DropPool(handle);
    if (!dropped.ok()) return dropped;
  }
  return PoolSegments::Create(options, handle, epoch, *context_.vault);
}

absl::StatusOr<store::RecoveredPool> PoolBuilder::GetLedger(const engine::PoolOptions& options,
                                                            const store::PoolEpoch& epoch) {
  store::RecoveryRequest request;
  request.ledger_dir = context_.ledger_dir;
  request.identity = {options.id, epoch.pool_uid, context_.boot_id, options.max_capacity};
  request.last_run = context_.last_run;
  request.is_new_pool = epoch.is_first;
  request.now = NowInstant();
  request.hold_off_ns = store::HoldOffNs(options, epoch.max_ttl_ns);
  request.max_duration_ns = options.max_duration_ns;
  return store::RecoverPool(context_.store, request);
}

absl::StatusOr<PoolPtr> PoolBuilder::Build(const engine::PoolOptions& options, uint32_t handle,
                                           const store::PoolEpoch& epoch,
                                           std::optional<keeper::HeldPool> held) {
  absl::StatusOr<store::RecoveredPool> recovered = GetLedger(options, epoch);
  if (!recovered.ok()) return recovered.status();
  absl::StatusOr<std::optional<std::string>> drain_reason = context_.store->LoadDrain(options.id);
  if (!drain_reason.ok()) return drain_reason.status();
  bool is_adopted = false;
  absl::StatusOr<PoolSegments> segments =
      GetSegments(options, handle, epoch.epoch, std::move(held), is_adopted);
  if (!segments.ok()) return segments.status();
  const PoolWords<RealMemory> words = DaemonWordsOf(*segments, context_.sess);
  auto pool = std::make_shared<PoolRuntime>(options, handle, epoch.epoch, *std::move(segments),
                                            words, context_.renumber_at,
                                            std::move(recovered->ledger), context_.outlets);
  Recover(*pool, *recovered, is_adopted, epoch, *std::move(drain_reason));
  if (!is_adopted) shm::Publish(pool->memory()->segments.base().ctl);
  return pool;
}

void PoolBuilder::Recover(PoolRuntime& pool, const store::RecoveredPool& recovered, bool is_adopted,
                          const store::PoolEpoch& epoch, std::optional<std::string> drain_reason) {
  const int64_t now_ns = obs::BootNowNs();
  const bool has_claims =
      context_.claims_possible && pool.options().local_enabled && !epoch.is_first;
  const bool is_held_off = recovered.hold_off_until_at_ns > now_ns;
  engine::RecoverOptions how;
  how.origin = is_adopted ? engine::SegmentOrigin::kAdopted : engine::SegmentOrigin::kFresh;
  how.same_boot = recovered.decision.are_deadlines_valid;
  how.await_claims = !is_adopted && (has_claims || is_held_off);
  how.first_gen = epoch.base_generation;
  how.drain_reason = std::move(drain_reason);
  how.restart_grace_ns = context_.restart_grace_ns;
  if (how.await_claims) {
    const int64_t claims_until_ns = has_claims ? now_ns + context_.redeclare_grace_ns : now_ns;
    pool.recover_until_ns = std::max(claims_until_ns, recovered.hold_off_until_at_ns);
    pool.is_recovering = true;
    if (context_.recovering_until_ns->load() < pool.recover_until_ns) {
      context_.recovering_until_ns->store(pool.recover_until_ns);
    }
  }
  const engine::RecoverReport report =
      pool.Step([&](engine::PoolEngine& engine, engine::Instant now, engine::Actions& actions) {
        return engine.Recover(now, recovered.contents, how, actions);
      });
  obs::Log(obs::Level::kInfo, "pool started",
           {{"pool", pool.id()},
            {"epoch", pool.epoch()},
            {"segment", is_adopted ? "adopted" : "new"},
            {"source", recovered.decision.reason},
            {"leases_restored", report.leases_restored},
            {"leases_dropped", report.leases_dropped},
            {"words_freed", report.words_freed},
            {"integrity_violations", report.integrity_violations},
            {"recovering", how.await_claims},
            {"draining", how.drain_reason.has_value()}});
}

}  // namespace leaseplane::plane
