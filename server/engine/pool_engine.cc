// SPDX-License-Identifier: Apache-2.0
#include "server/engine/pool_engine.h"

#include <algorithm>
#include <utility>

namespace leaseplane::engine {
namespace {

bool CountsLeases(const PoolOptions& options) { return options.max_leases_per_client != 0; }
bool CountsWaiters(const PoolOptions& options) {
  return options.max_waiters_per_client != 0 || CountsLeases(options);
}

}  // namespace

PoolEngine::PoolEngine(PoolOptions options, Authority<RealMemory>& authority, LedgerPort& ledger,
                       IdSource& ids, const SessionsPort& sessions)
    : options_(std::move(options)),
      authority_(authority),
      ledger_(ledger),
      ids_(ids),
      sessions_(sessions),
      release_locked_(options_.reuse_delay_ns > 0 || options_.lock_delay_ns > 0),
      leases_(authority.capacity(), ledger.tombstone_count_max(), CountsLeases(options_)),
      queue_(CountsWaiters(options_)),
      // A new worker's tickets should not be taken for the old one's: 47 random bits, never 0.
      next_ticket_((ids.NextRandom() >> 17) | 1) {}

int64_t PoolEngine::NextDeadlineNs() const {
  int64_t next = std::min(timers_.next_ns(), leases_.next_end_ns());
  const shm::Gate gate = authority_.gate();
  if (gate == shm::Gate::kNotify) {
    next = std::min(next, ClosesAtNs(options_, Facts(), holds_.mean_ns()));
  }
  if (gate != shm::Gate::kOpen && gate_hold_until_ns_ != 0) {
    next = std::min(next, gate_hold_until_ns_);
  }
  return next;
}

bool PoolEngine::wants_release_wakeups() const {
  return release_locked_ || authority_.gate() != shm::Gate::kOpen;
}

}  // namespace leaseplane::engine
