// SPDX-License-Identifier: Apache-2.0
//
// Changes: what a pool's ledger holds that its store does not know yet. Plain values, coalesced by
// slot: of many writes to one slot only the last state is here. A lease that was put and ended in
// between is absent from `live_leases`, but its tombstone is there.
#pragma once

#include <cstdint>
#include <vector>

#include "server/engine/ledger_port.h"

namespace leaseplane::ledger {

// `number` counts the tombstones of the pool from 1 on and never repeats within one ledger file.
struct NumberedTombstone {
  uint64_t number = 0;
  engine::Tombstone tombstone;
};

struct Changes {
  // Everything the store knows about the pool is to be replaced, in one transaction.
  bool replaces_all = false;
  // Sequence number (LedgerPort) up to which writes are contained.
  uint64_t through_seq = 0;
  std::vector<engine::LeaseRecord> live_leases;  // put or renewed with another ttl
  std::vector<SlotIndex> ended_slots;            // no live lease any more
  std::vector<NumberedTombstone> tombstones;     // ascending numbers
  uint64_t first_tombstone_kept = 0;             // smaller numbers are forgotten
  std::vector<engine::LockRecord> locks;
  std::vector<SlotIndex> unlocked_slots;

  bool empty() const {
    return !replaces_all && live_leases.empty() && ended_slots.empty() && tombstones.empty() &&
           locks.empty() && unlocked_slots.empty();
  }
};

}  // namespace leaseplane::ledger
