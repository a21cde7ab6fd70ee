// SPDX-License-Identifier: Apache-2.0
//
// LeaseTable: the live remote leases of one pool, and for a while those that ended. Found by slot,
// by lease id and by request id. Beside them, packed in one array, the instant at which each slot's
// lease is to be ended, and for each leaf of 64 slots an instant that none of them is before:
// looking for due ones is a linear pass over the leaves, and over the slots of those that may have
// one.
//
// Bookkeeping only. A LiveLease stays where it is until End. No allocation on Add and End once the
// table has been as full before, but for strings that do not fit into themselves.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "server/engine/ledger_port.h"
#include "server/engine/request_key.h"
#include "server/engine/types.h"

namespace leaseplane::engine {

struct LiveLease {
  LeaseRecord record;
  int64_t granted_at_ns = 0;  // of this life of the engine
  // Of the grant, and of the last write that raised the ttl, if their answers have to wait for the
  // disk; else 0.
  uint64_t commit_seq = 0;
  uint64_t term_seq = 0;
};

// The end of a lease is acted on this much after its deadline.
constexpr int64_t AgeOutGuardNs(int64_t ttl_ns) { return kAgeOutGuard + ttl_ns / 1000; }

class LeaseTable {
 public:
  LeaseTable(uint32_t capacity, uint32_t tombstone_count_max, bool counts_clients);

  // Takes the record; the lease is to be ended at its deadline plus the guard.
  // REQUIRES: no live lease on the slot.
  LiveLease& Add(LeaseRecord record);
  // A lease of this id is about to be added: what that will touch is loaded meanwhile.
  void Announce(const LeaseId& id) const { by_id_.prefetch(id); }
  // The live lease of `slot` becomes a tombstone. REQUIRES there is one.
  void End(SlotIndex slot, LeaseState ended_as, Instant now);
  // The live lease of `slot` is found by its request id no more. REQUIRES there is one.
  void ForgetRequest(SlotIndex slot);
  void AddTombstone(Tombstone tombstone);

  LiveLease* At(SlotIndex slot) { return by_slot_[slot].get(); }
  const LiveLease* At(SlotIndex slot) const { return by_slot_[slot].get(); }
  LiveLease* Find(const LeaseId& id);
  const LiveLease* Find(const LeaseId& id) const;
  const Tombstone* FindEnded(const LeaseId& id) const;
  const LeaseId* FindRequest(const RequestKey& key) const;

  // -- when leases end
  // Deadline moved, or ttl: the lease is to be ended at `at_ns` (never earlier than before).
  void SetEndAt(SlotIndex slot, int64_t at_ns);
  int64_t EndAt(SlotIndex slot) const { return end_at_ns_[slot]; }
  // What the holder is promised, extensions included.
  int64_t EffectiveDeadline(const LiveLease& lease) const {
    return end_at_ns_[lease.record.slot] - AgeOutGuardNs(lease.record.ttl_ns);
  }
  void ExtendAll(int64_t by_ns);
  // Appends the slots whose leases are to be ended. O(1) before next_end_ns(), else O(capacity /
  // 64) and 64 for each leaf whose instant has come; a renewal leaves its leaf's as it is, so that
  // is about once in a ttl. The caller ends them all.
  void CollectDue(int64_t now_ns, std::vector<SlotIndex>& due);
  // When the next pass is worth while: about the first end. May come early; comes late only by the
  // spacing that keeps passes over large pools cheap.
  int64_t next_end_ns() const { return next_end_ns_; }

  // Drops tombstones older than kTombstoneKeep, a bounded number a call.
  void PurgeTombstones(int64_t now_ns);

  uint32_t live_count() const { return live_count_; }
  size_t tombstone_count() const { return static_cast<size_t>(next_tombstone_ - first_tombstone_); }
  uint32_t CountOf(const std::string& client) const;  // 0 unless clients are counted

 private:
  static constexpr uint64_t kEnded = uint64_t{1} << 63;

  static constexpr size_t kLeafSlots = 64;

  int64_t CollectDueInLeaf(size_t leaf, int64_t now_ns, std::vector<SlotIndex>& due) const;
  void DropOldestTombstone();
  void LoadNextOldest() const;
  Tombstone& TombstoneAt(uint64_t number) { return tombstones_[number % tombstone_max_]; }
  const Tombstone& TombstoneAt(uint64_t number) const {
    return tombstones_[number % tombstone_max_];
  }

  const uint32_t tombstone_max_;
  const bool counts_clients_;
  std::vector<std::unique_ptr<LiveLease>> by_slot_;
  std::vector<std::unique_ptr<LiveLease>> spare_;
  std::vector<int64_t> end_at_ns_;       // kNever: no lease
  std::vector<int64_t> leaf_end_at_ns_;  // not later than any of the leaf's
  int64_t next_end_ns_ = kNever;
  uint32_t live_count_ = 0;
  // value: slot of a live lease, or kEnded | number of a tombstone
  absl::flat_hash_map<LeaseId, uint64_t, LeaseIdHash> by_id_;
  absl::flat_hash_map<RequestKey, LeaseId> by_request_;
  absl::flat_hash_map<std::string, uint32_t> clients_;
  std::vector<Tombstone> tombstones_;  // ring
  uint64_t first_tombstone_ = 0, next_tombstone_ = 0;
};

}  // namespace leaseplane::engine
