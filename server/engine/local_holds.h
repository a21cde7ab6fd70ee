// SPDX-License-Identifier: Apache-2.0
//
// LocalHolds: what the engine remembers about leases of attached sessions, whose truth is the slot
// word: grants that were sent and not acknowledged yet, revocations whose grace runs, and the whole
// tokens of leases that were declared again, of which the word has the generation only.
// Bookkeeping only.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>

#include "absl/container/btree_map.h"
#include "absl/container/flat_hash_map.h"
#include "core/base/ids.h"
#include "server/engine/types.h"

namespace leaseplane::engine {

struct SentGrant {
  Generation gen = 0;
  uint64_t session_ticket = 0;
  int64_t sent_at_ns = 0;
};

struct LocalRevocation {
  SessionIndex session = kOwnerNone;
  Generation gen = 0;
  FencingToken token = 0;
  int64_t due_ns = 0;
};

class LocalHolds {
 public:
  void AddSent(SessionIndex session, SlotIndex slot, const SentGrant& grant) {
    sent_[{session, slot}] = grant;
  }
  void Acknowledge(SessionIndex session, SlotIndex slot, uint64_t session_ticket);
  void ForgetSent(SessionIndex session, SlotIndex slot) { sent_.erase({session, slot}); }
  bool IsSent(SessionIndex session, SlotIndex slot, Generation gen) const;
  // When the unacknowledged grant was sent; kNever if there is none.
  int64_t SentAtNs(SessionIndex session, SlotIndex slot, Generation gen) const;
  // Time in which nobody could be heard does not count.
  void ExtendSent(int64_t by_ns);
  bool IsTicketSent(SessionIndex session, uint64_t session_ticket) const;
  void ForgetSession(SessionIndex session);
  void ForgetAllSent() { sent_.clear(); }
  size_t sent_count() const { return sent_.size(); }

  void AddRevocation(SlotIndex slot, const LocalRevocation& revocation) {
    revocations_[slot] = revocation;
  }
  std::optional<LocalRevocation> FindRevocation(SlotIndex slot) const;
  void ForgetRevocation(SlotIndex slot) { revocations_.erase(slot); }

  void NoteDeclared(SlotIndex slot, FencingToken token) { declared_[slot] = token; }
  // The token declared for this generation of the slot; 0: none.
  FencingToken DeclaredToken(SlotIndex slot, Generation gen) const;

 private:
  absl::btree_map<std::pair<SessionIndex, SlotIndex>, SentGrant> sent_;
  absl::flat_hash_map<SlotIndex, LocalRevocation> revocations_;
  absl::flat_hash_map<SlotIndex, FencingToken> declared_;  // the last of each slot
};

}  // namespace leaseplane::engine
