// SPDX-License-Identifier: Apache-2.0
//
// Epochs spent while the pool runs: slots whose generations are used up begin again, and a pool
// that is written to moves to other memory.
#include "server/engine/pool_engine.h"

namespace leaseplane::engine {

void PoolEngine::Renumber(Instant now, Epoch epoch, Actions& actions) {
  if (is_damaged_) return;
  std::vector<SlotIndex> renumbered;
  authority_.Renumber(epoch, renumbered);
  stats_.renumberings += renumbered.size();
  for (const SlotIndex slot : renumbered) {
    audits_.Forget(slot);
    locals_.ForgetRevocation(slot);
  }
  Settle(now, actions);
}

void PoolEngine::Rotate(Instant now, const PoolWords<RealMemory>& words, Epoch epoch,
                        Generation first_gen, Actions& actions) {
  believed_ = authority_.MoveTo(words, epoch);
  audits_.ForgetAll();
  locals_.ForgetAllSent();
  unfreed_.clear();
  claims_.clear();
  damage_.Reset();
  for (const uint64_t ticket : queue_.AllTickets()) {
    const Waiter* waiter = queue_.Find(ticket);
    if (waiter != nullptr && waiter->is_local()) RemoveWaiter(ticket);
  }
  is_fresh_ = true;
  state_ = PoolState::kRecovering;
  gate_hold_until_ns_ = 0;
  authority_.SetReleaseWord(release_locked_ ? shm::ReleaseWord::kLocked : shm::ReleaseWord::kFree);
  authority_.Initialize(first_gen, /*grantable=*/false, now.boot_ns);
  for (SlotIndex slot = 0; slot < authority_.capacity(); ++slot) {
    if (const LiveLease* lease = leases_.At(slot)) {
      authority_.Restore(slot, kOwnerDaemon, lease->record.token, now.boot_ns);
    } else if (slots_.is_cooling(slot)) {
      ApplyLock(slot);  // until the cooling ends
    } else if (slots_.Find(slot) != nullptr) {
      slots_.Get(slot).authority_locked = false;  // EndRecovery locks it
    }
  }
  ++stats_.rotations;
  actions.pool_moved = true;
  AdjustGate(now, actions);
}

// As far as the daemon could know: of the numbering that was in force, and not further ahead than
// honest grants could have come since the last look.
bool PoolEngine::IsBelievable(SlotIndex slot, FencingToken token) const {
  if (believed_.empty()) return true;
  const SlotShadow& s = believed_[slot];
  return EpochOf(token) >= s.base_epoch && EpochOf(token) < authority_.epoch() &&
         GenerationOf(token) <= s.gen_max + kGrantsPerSecondMax;
}

bool PoolEngine::WasBelieved(SessionIndex session, SlotIndex slot, FencingToken token) const {
  return !believed_.empty() && believed_[slot].last_word == BusyWord(session, GenerationOf(token));
}

void PoolEngine::SetBrokered(Instant now, bool is_brokered, Actions& actions) {
  if (is_brokered_ == is_brokered || is_damaged_) return;
  is_brokered_ = is_brokered;
  authority_.SetDirect(!is_brokered);
  Settle(now, actions);
}

}  // namespace leaseplane::engine
