// SPDX-License-Identifier: Apache-2.0
//
// What a starting worker believes about one pool: its ledger file if it was written in this boot of
// the host and is sound, else the store.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/engine/ledger_port.h"
#include "server/engine/types.h"
#include "server/ledger/mapped_ledger.h"
#include "server/store/state_store.h"

namespace leaseplane::store {

enum class LedgerSource { kLedgerFile, kStore };

struct SourceDecision {
  LedgerSource source = LedgerSource::kStore;
  // False: the instants in the source are of another boot, or older than the last renewals.
  bool are_deadlines_valid = false;
  // True: grants may exist that the contents do not show, because the last instants before an
  // unclean stop were not stored.
  bool may_miss_grants = false;
  std::string reason;  // for the log
};

// `ledger` is what MappedLedger::Open said; `last_run` what StateStore::BeginRun returned.
// `is_new_pool`: no grant of the pool can exist (PoolEpoch::is_first, or made by the API just now).
SourceDecision DecideSource(const absl::Status& ledger, const std::optional<RunMarker>& last_run,
                            bool is_new_pool);

// How long a pool that may miss grants has to grant nothing, so that those have expired. What it
// stands on: in an ASYNC pool a reply that gives a ttl above 60 s waits until the grant is durable;
// shorter ones are answered at once. The stored ttl counts where the pool's limit was lowered.
int64_t HoldOffNs(const engine::PoolOptions& options, int64_t stored_max_ttl_ns);

struct RecoveryRequest {
  std::string ledger_dir;  // exists
  ledger::LedgerIdentity identity;
  std::optional<RunMarker> last_run;
  bool is_new_pool = false;
  engine::Instant now;
  int64_t hold_off_ns = 0;      // HoldOffNs
  int64_t max_duration_ns = 0;  // PoolOptions
};

struct RecoveredPool {
  SourceDecision decision;
  // With deadlines that hold in this boot: where those of the source do not, each lease has its
  // full ttl from `now` on, and what is left of max_duration by wall time.
  engine::LedgerContents contents;
  // Nothing may be granted before this instant; 0 = at once. It outlives restarts of the daemon.
  int64_t hold_off_until_at_ns = 0;
  std::unique_ptr<ledger::MappedLedger> ledger;  // holds `contents`, ready for writes
};

// Opens the ledger of a pool, or makes it anew from the store.
absl::StatusOr<RecoveredPool> RecoverPool(StateStore* store, const RecoveryRequest& request);

}  // namespace leaseplane::store
