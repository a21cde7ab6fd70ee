// SPDX-License-Identifier: Apache-2.0
//
// PoolRecord: one pool of a session and everything it was attached to, kept for ever because a
// thread may be inside an old attachment at any time. What the same segment needs again is used
// again, so only a daemon that was really replaced costs memory.
//
// Threads: the library's thread makes states; `closed` and `opened` are guarded by the session.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "clients/cpp/local/attach_socket.h"
#include "core/pool/claims.h"
#include "core/shm/segment.h"
#include "leaseplane/internal/local_pool.h"

namespace leaseplane::internal {

// As whom the process is attached.
struct Attached {
  SessionIndex owner = 0;
  uint64_t session_word = 0;
  uint64_t attach_gen = 0;
  std::byte* sess = nullptr;
};

struct PoolRecord {
  PoolRecord(Session& session, ProcessMark mark, ProcessFlags<RealMemory>& flags, std::string name)
      : pool(session, mark, flags, std::move(name)) {}

  // Maps what came with PoolOpened, unless it is mapped already, and makes a state of it that is
  // not published yet.
  absl::StatusOr<LocalState*> MakeState(const Incoming& opened, const Attached& as);

  // The state as it is, for another attach_gen: same segments, same claims.
  LocalState* CopyState(const Attached& as);

  // The one that the daemon calls `handle`: published, or about to be; null: none.
  const LocalState* StateOf(uint32_t handle) const;
  // What says who holds `slot`: while a state with another table is about to be published, the old
  // one, if it is held there. null: the pool has no such slot.
  Claims<RealMemory>* ClaimsOf(SlotIndex slot) const;

  LocalPool pool;
  absl::Status closed;      // why it cannot be reached; OK while it can, or may be tried
  bool recovering = false;  // as of the last opening: claims are being taken
  // The pool moved away from the present segment, so that its words are not to be believed.
  bool is_damaged = false;
  LocalState* next = nullptr;  // made by a re-attachment, not published yet

  std::vector<std::unique_ptr<LocalState>> states;
  std::vector<std::unique_ptr<Claims<RealMemory>>> claims;
  std::vector<std::unique_ptr<shm::AttachedPool>> mappings;
};

}  // namespace leaseplane::internal
