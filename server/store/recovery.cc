// SPDX-License-Identifier: Apache-2.0
#include "server/store/recovery.h"

#include <algorithm>
#include <utility>

namespace leaseplane::store {
namespace {

using ledger::MappedLedger;

constexpr int64_t kStoredLaterTtlMax = 60 * engine::kSecond;

// The stored instants mean nothing now. A lease gets its whole ttl again, because it may have been
// renewed a moment before the host went down.
void RenewDeadlines(const RecoveryRequest& request, engine::LedgerContents* contents) {
  const engine::Instant now = request.now;
  for (engine::LeaseRecord& lease : contents->leases) {
    lease.deadline_at_ns = now.boot_ns + lease.ttl_ns;
    lease.max_end_at_ns = engine::kNever;
    if (request.max_duration_ns > 0) {
      // Wall time is all there is to know how long it has been held; a clock that went wrong
      // cannot take the ttl away.
      const int64_t held_ns = std::max<int64_t>(0, now.unix_ns - lease.acquired_unix_ns);
      const int64_t left_ns = std::max(lease.ttl_ns, request.max_duration_ns - held_ns);
      lease.max_end_at_ns = now.boot_ns + left_ns;
    }
  }
  // Tombstones are kept their full time again.
  for (engine::Tombstone& tombstone : contents->tombstones) tombstone.ended_at_ns = now.boot_ns;
}

}  // namespace

SourceDecision DecideSource(const absl::Status& ledger, const std::optional<RunMarker>& last_run,
                            bool is_new_pool) {
  SourceDecision decision;
  if (ledger.ok()) {
    decision.source = LedgerSource::kLedgerFile;
    decision.are_deadlines_valid = true;
    decision.reason = "the ledger was written in this boot of the host";
    return decision;
  }
  decision.source = LedgerSource::kStore;
  // Before a clean end everything was stored, and every start withdraws the clean end.
  decision.may_miss_grants = !is_new_pool && last_run.has_value() && !last_run->clean;
  decision.reason = std::string(ledger.message());
  return decision;
}

int64_t HoldOffNs(const engine::PoolOptions& options, int64_t stored_max_ttl_ns) {
  switch (options.durability) {
    case engine::Durability::kSync:
      return 0;
    case engine::Durability::kAsync:
      return std::min(std::max(stored_max_ttl_ns, options.max_ttl_ns), kStoredLaterTtlMax);
    case engine::Durability::kNone:
      break;
  }
  return std::max(stored_max_ttl_ns, options.max_ttl_ns);
}

absl::StatusOr<RecoveredPool> RecoverPool(StateStore* store, const RecoveryRequest& request) {
  absl::StatusOr<std::unique_ptr<MappedLedger>> ledger =
      MappedLedger::Open(request.ledger_dir, request.identity);
  RecoveredPool pool;
  pool.decision = DecideSource(ledger.status(), request.last_run, request.is_new_pool);
  if (!ledger.ok()) {
    absl::StatusOr<engine::LedgerContents> stored = store->LoadPool(request.identity.pool_id);
    if (!stored.ok()) return stored.status();
    RenewDeadlines(request, &*stored);
    const bool holds_off = pool.decision.may_miss_grants && request.hold_off_ns > 0;
    // Deadlines and hold-off are in the file before it has its name: a restart in the middle finds
    // either no ledger or one whose instants hold.
    ledger = MappedLedger::Create(request.ledger_dir, request.identity, *stored,
                                  holds_off ? request.now.boot_ns + request.hold_off_ns : 0);
    if (!ledger.ok()) return ledger.status();
  }
  pool.ledger = *std::move(ledger);
  pool.contents = pool.ledger->Contents();
  pool.hold_off_until_at_ns = pool.ledger->hold_off_until_at_ns();
  return pool;
}

}  // namespace leaseplane::store
