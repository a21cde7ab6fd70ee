// SPDX-License-Identifier: Apache-2.0
//
// What the engine writes down about one pool before anybody is told: leases, their ends, operator
// locks. The engine sees only this interface; the daemon gives it a mapped file (server/ledger),
// tests and the simulator give it memory that can fail.
//
// Each write returns a sequence number of the pool's commit order. A reply that must survive a
// crash of the host waits until the store has made that number durable; a reply that only has to
// survive the death of processes may go out at once, because the write itself is already outside
// the process's private memory. What the ledger held when the engine was made counts as one write,
// of number kInheritedSeq; the numbers of the engine's own are larger.
//
// Called under the pool's lock; implementations need no lock of their own against the engine.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "server/engine/types.h"

namespace leaseplane::engine {

inline constexpr uint64_t kInheritedSeq = 1;

struct LeaseRecord {
  LeaseId id;
  SlotIndex slot = 0;
  FencingToken token = 0;
  std::string principal, client_id;
  Metadata metadata;
  RequestId request_id;
  uint64_t body_hash = 0;
  int64_t ttl_ns = 0;
  int64_t deadline_at_ns = 0;      // the promise; acted on later, never earlier
  int64_t max_end_at_ns = kNever;  // renewals do not go beyond
  int64_t revoke_at_ns = kNever;   // a revocation with grace is under way; for this boot only
  int64_t acquired_unix_ns = 0;
};

// What renewals and revocations change in a lease.
struct LeaseTerm {
  int64_t ttl_ns = 0;
  int64_t deadline_at_ns = 0;
  int64_t revoke_at_ns = kNever;
};

inline LeaseTerm TermOf(const LeaseRecord& lease) {
  return {lease.ttl_ns, lease.deadline_at_ns, lease.revoke_at_ns};
}

struct Tombstone {
  LeaseId id;
  SlotIndex slot = 0;
  FencingToken token = 0;
  std::string principal, client_id;
  RequestId request_id;
  uint64_t body_hash = 0;
  LeaseState ended_as = LeaseState::kReleased;
  int64_t ended_unix_ns = 0;
  int64_t ended_at_ns = 0;
};

struct LockRecord {
  SlotIndex slot = 0;
  std::string reason;
};

struct LedgerContents {
  std::vector<LeaseRecord> leases;
  std::vector<Tombstone> tombstones;  // oldest first
  std::vector<LockRecord> locks;
};

class LedgerPort {
 public:
  virtual ~LedgerPort() = default;
  // At most one live lease a slot. REQUIRES no live lease on record.slot.
  virtual uint64_t PutLease(const LeaseRecord& record) = 0;
  // 0: the ttl is the one it was, and so there is nothing that has to survive the host.
  virtual uint64_t RenewLease(SlotIndex slot, const LeaseTerm& term) = 0;
  // Moves the live lease of `slot` to the tombstones. The oldest tombstone goes when they are full.
  virtual uint64_t EndLease(SlotIndex slot, LeaseState ended_as, Instant now) = 0;
  virtual uint64_t PutLock(SlotIndex slot, const std::string& reason) = 0;
  virtual uint64_t EraseLock(SlotIndex slot) = 0;
  virtual uint32_t tombstone_count_max() const = 0;
};

}  // namespace leaseplane::engine
