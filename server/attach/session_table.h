// SPDX-License-Identifier: Apache-2.0
//
// SessionTable: who is attached. The session words (shared with clients, read-only for them) and
// the records that outlive the worker, behind one set of rules.
//
// Ownership: borrows both memories, which live as long as the process. Threads: queries from any;
// changes from the attach thread alone. Errors: none. Cost: O(1), queries are one or two loads.
#pragma once

#include <cstdint>

#include "core/base/ids.h"
#include "core/shm/layout.h"
#include "server/keeper/shared_block.h"

namespace leaseplane::attach {

class SessionTable {
 public:
  // `sess` is the mapped, published SESS segment.
  SessionTable(keeper::SharedBlock* shared, std::byte* sess);

  // -- queries. An index out of range is nobody.
  bool IsActive(SessionIndex index) const;
  uint64_t WordOf(SessionIndex index) const;  // as clients see it; another one for every session
  uint32_t UidOf(SessionIndex index) const;
  int64_t AttachedAtNs(SessionIndex index) const;
  // When a message of the session was read last.
  int64_t HeardAtNs(SessionIndex index) const;
  bool IsTree(SessionIndex index) const;
  bool HasOpened(SessionIndex index, uint32_t pool_handle) const;
  keeper::SessionRecord& record(SessionIndex index) { return shared_->sessions[index]; }
  const keeper::SessionRecord& record(SessionIndex index) const { return shared_->sessions[index]; }

  // -- life of one index
  // Stage kAttaching with a fresh word that no client has yet.
  void Begin(SessionIndex index, uint32_t uid, uint32_t liveness, int64_t now_ns);
  void PublishWord(SessionIndex index);  // from here on IsActive
  // The word becomes REVOKED: every grant its holder wins after this is undone by the holder.
  void Revoke(SessionIndex index);
  void SetStage(SessionIndex index, keeper::SessionStage stage);
  void NoteHeard(SessionIndex index, int64_t now_ns) {
    record(index).heard_at_ns.store(now_ns, std::memory_order_relaxed);
  }

  // Returns whether it had.
  bool TakeOpened(SessionIndex index, uint32_t pool_handle);
  void SetOpened(SessionIndex index, uint32_t pool_handle);
  // A pool has gone; its handle may come back for another.
  void ForgetPool(uint32_t pool_handle);

 private:
  std::atomic<uint64_t>& Word(SessionIndex index) const;
  static bool IsSession(SessionIndex index) {
    return index >= kOwnerSessionFirst && index < kOwnerCount;
  }

  keeper::SharedBlock* const shared_;
  std::byte* const sess_;
};

}  // namespace leaseplane::attach
