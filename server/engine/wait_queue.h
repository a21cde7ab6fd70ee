// SPDX-License-Identifier: Apache-2.0
//
// WaitQueue: everybody who waits for a slot of one pool, remote calls and local waiters in one
// order. A waiter is present (it would take a slot now) or absent: its call ended, but its request
// id keeps the place for a while. Absent waiters are in no order and are granted nothing.
//
// Bookkeeping only: it decides nothing, keeps no time and tells nobody. Pointers to a Waiter stay
// valid until that waiter is removed. O(log n) a call unless told.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/container/flat_hash_map.h"
#include "server/engine/request_key.h"
#include "server/engine/types.h"
#include "server/engine/wait_order.h"

namespace leaseplane::engine {

struct Waiter {
  uint64_t ticket = 0;  // the engine's number
  Place place;
  bool present = true;
  int64_t timer_at_ns = kNever;  // kWaitEnds while present, kPlaceEnds while absent
  // local
  SessionIndex session = kOwnerNone;  // kOwnerNone: a remote call
  uint64_t session_ticket = 0;        // the session's own number
  // remote
  int64_t received_at_ns = 0;  // of the present call
  AcquireRequest request;      // ttl_ns is the real one, never 0

  bool is_local() const { return session != kOwnerNone; }
};

class WaitQueue {
 public:
  explicit WaitQueue(bool counts_clients) : counts_clients_(counts_clients) {}

  // Adds a present waiter. REQUIRES: its ticket, its place, its request id or (session, number)
  // are not in the queue.
  Waiter& Add(Waiter waiter);
  std::unique_ptr<Waiter> Remove(uint64_t ticket);  // nullptr if unknown
  void SetAbsent(Waiter& waiter);                   // REQUIRES present
  // An absent or present waiter goes on under another ticket, in its old place, present.
  Waiter& Rejoin(uint64_t old_ticket, uint64_t new_ticket);

  Waiter* Find(uint64_t ticket);
  const Waiter* Find(uint64_t ticket) const;
  Waiter* FindRequest(const RequestKey& key);
  Waiter* FindLocal(SessionIndex session, uint64_t session_ticket);
  const Waiter* Head() const;  // the first present one; nullptr if none

  size_t size() const { return waiters_.size(); }
  size_t present_count() const { return order_.size(); }
  size_t local_count() const { return by_session_.size(); }
  size_t Rank(const Waiter& waiter) const;  // present waiters before it
  // 0 unless clients are counted.
  uint32_t CountOf(const std::string& client) const;
  static std::string ClientOf(const Waiter& waiter);

  void AppendTicketsOf(SessionIndex session, std::vector<uint64_t>& tickets) const;
  std::vector<uint64_t> AllTickets() const;                                    // O(n)
  void ForEachInOrder(const std::function<void(const Waiter&)>& visit) const;  // absent ones last

 private:
  const bool counts_clients_;
  WaitOrder order_;
  absl::flat_hash_map<uint64_t, std::unique_ptr<Waiter>> waiters_;
  absl::flat_hash_map<RequestKey, uint64_t> by_request_;
  absl::btree_map<std::pair<SessionIndex, uint64_t>, uint64_t> by_session_;
  absl::flat_hash_map<std::string, uint32_t> clients_;
};

}  // namespace leaseplane::engine
