// SPDX-License-Identifier: Apache-2.0
// Pools that moved to other segments while the session goes on, because somebody wrote to the old
// ones.
//
// In this order:
//   1 the pools are opened again: the new segments are mapped, not used yet
//   2 attach_gen += 1: acquisitions under way undo themselves; all other pools go on at once under
//     the new number
//   3 acquisitions that were won before have been noted; waiters are awake
//   4 what is held by the claims is declared; the words of the old segments are not asked
//   5 the new states are published; what was released since 4 is released there too
#include <algorithm>
#include <utility>

#include "clients/cpp/local/session.h"

namespace leaseplane::internal {
// False: the daemon is gone.
bool Session::FollowMoves() {
  std::vector<PoolRecord*> moved;
  for (const auto& [handle, tag] : std::exchange(moved_, {})) {
    PoolRecord* record = ByHandle(handle);
    if (record == nullptr) {
      moved_[handle] = tag;  // it is just being opened
      continue;
    }
    const LocalState* state = record->pool.state();
    if (state == nullptr || !IsCurrent(state->attachment, flags_)) continue;
    record->is_damaged = true;
    moved.push_back(record);
  }
  if (moved.empty()) return true;
  next_as_.attach_gen = attached_as_.attach_gen + Flags::kAttachStep;
  if (Follow(moved)) return true;
  // The daemon went away meanwhile: all pools are declared again, from the segments they are in.
  for (PoolRecord* record : moved) {
    record->next = nullptr;
    if (record->pool.state()->attachment.attach_gen != attached_as_.attach_gen) {
      record->pool.Publish(record->CopyState(attached_as_));
    }
  }
  next_as_ = attached_as_;
  const MutexLock lock(&mu_);
  moving_ = false;
  changed_.Tell();
  return false;
}

bool Session::Follow(const std::vector<PoolRecord*>& moved) {
  if (!Reopen(moved)) return false;
  LeaveOldSegments(moved);
  std::vector<Claimed> claims;
  CollectMoved(moved, claims);
  if (!DeclareClaims(claims)) return false;
  PublishAll(claims);
  ReportLost(claims);
  return true;
}

void Session::LeaveOldSegments(const std::vector<PoolRecord*>& moved) {
  {
    const MutexLock lock(&mu_);
    flags_.BumpAttachGen();
    for (const auto& [name, record] : records_) {
      const LocalState* state = record->pool.state();
      const bool is_current =
          state != nullptr && state->attachment.attach_gen == attached_as_.attach_gen;
      const bool moves = std::find(moved.begin(), moved.end(), record.get()) != moved.end();
      if (is_current && !moves) record->pool.Publish(record->CopyState(next_as_));
    }
    attached_as_ = next_as_;
    moving_ = true;
    changed_.Tell();
  }
  for (PoolRecord* record : moved) LeaveSegments(*record->pool.state());
  tickets_.NudgeAll();
}

void Session::CollectMoved(const std::vector<PoolRecord*>& moved, std::vector<Claimed>& claims) {
  for (PoolRecord* record : moved) {
    const LocalState* state = record->pool.state();
    for (SlotIndex slot = 0; slot < state->claims->max_capacity(); ++slot) {
      const FencingToken token = state->claims->HeldToken(slot);
      if (token == 0) continue;
      Claimed claim{record, state->claims, slot, token};
      claim.declared = true;
      claims.push_back(claim);
    }
  }
}

bool Session::is_moving() {
  const MutexLock lock(&mu_);
  return moving_;
}

}  // namespace leaseplane::internal
