// SPDX-License-Identifier: Apache-2.0
//
// TicketBook: the waits of this process that stand in the daemon's queue.
//
// Ownership: borrows tickets, which live on their waiters' stacks; an entry is gone when Forget
// returns. Threads: any; answers come from the library thread. The lock is held while a ticket is
// answered and woken, so a waiter cannot leave under the answer. Errors: none.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "clients/cpp/mutex.h"
#include "core/pool/memory.h"
#include "core/pool/waiter.h"

namespace leaseplane::internal {

class LocalPool;

class TicketBook {
 public:
  // What is told to the daemon about a waiting ticket.
  struct Waiting {
    uint64_t id = 0;
    const LocalPool* pool = nullptr;
    int64_t started_ns = 0;
    int64_t deadline_ns = 0;
  };

  // Gives the ticket an id, unique in this book for ever.
  uint64_t Add(Ticket<RealMemory>& ticket, const LocalPool* pool, int64_t started_ns,
               int64_t deadline_ns);
  void Forget(const Ticket<RealMemory>& ticket);

  // False: nobody waits under that id in `pool` (any more); the slot is the caller's to give back.
  // The id alone does not say it: a waiter that stood still while its session was renewed has asked
  // under the number that another pool has now.
  bool Grant(uint64_t id, const LocalPool* pool, const LocalGrant& grant);
  // `answer`: kRefused or kDrained.
  void Refuse(uint64_t id, TicketState answer);

  std::vector<Waiting> AllWaiting() const;
  // Makes every waiter look around.
  void NudgeAll();

 private:
  struct Entry {
    Ticket<RealMemory>* ticket = nullptr;
    Waiting waiting;
  };

  mutable Mutex mu_;
  uint64_t last_id_ ABSL_GUARDED_BY(mu_) = 0;
  absl::flat_hash_map<uint64_t, Entry> entries_ ABSL_GUARDED_BY(mu_);
};

}  // namespace leaseplane::internal
