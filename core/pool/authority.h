// SPDX-License-Identifier: Apache-2.0
//
// Authority: the daemon's side of one pool's shared words. It grants and takes back slots, keeps
// the grant bits, opens and closes the gate, recovers what dead sessions held, and reconciles the
// words with what it remembers privately (the shadow). It decides nothing about leases, queues or
// time to live: server/engine does, and calls this.
//
// Ownership: borrows the mapped words. Threads: one caller at a time (the pool's lock); clients
// touch the same words concurrently by the protocol. Errors: small results; nothing throws.
// Trust: DATA is a proposal. A word is loaded once into a local, judged, and then used; geometry
// and owners come from private memory; every repair is one bounded compare-and-swap.
// Cost: O(1) per operation, O(capacity) for Scan, Grant's worst case and EndSessions.
//
// Invariants (tests and comments cite them):
//  I1  A slot changes hands only by CAS of its whole word; FREE|g is left for ever by the one CAS
//      that wins it.
//  I2  Every path out of BUSY writes after(BUSY); only the undo of a grant nobody heard of writes
//      FREE directly.
//  I3  A slot held by the daemon or locked has grant bit 0 before the CAS that takes it.
//  I4  A session word is revoked before its slots are swept, and swept before it is reused.
//  I5  Every FREE written, and every grant bit set, is followed by a wake of a local waiter unless
//      the gate is closed. Whoever calls this class serves its own queue after such a call: the
//      daemon does not wake itself through dseq.
//  I6  The daemon never sleeps on wseq, and never grants while it believes the gate protects it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "core/base/ids.h"
#include "core/pool/finder.h"
#include "core/pool/memory.h"
#include "core/pool/pool_words.h"
#include "core/pool/slot_bits.h"
#include "core/pool/slot_word.h"
#include "core/shm/layout.h"

namespace leaseplane {

struct SlotGrant {
  SlotIndex slot = 0;
  Generation gen = 0;
};

// What Scan found that the engine has to act on. One entry a slot at most.
enum class SlotFinding : uint8_t {
  kReleasedLocked,  // left BUSY into LOCKED (release_word): cool or clean it, then Reopen
  kOrphan,          // was BUSY by a session that is not active; taken back
  kInvalid,         // damaged word: grant bit cleared, slot quarantined; Repair when known
  kDrainDone,       // grant bit was 0 for a lock and the holder has gone: now LOCKED
};
struct SlotEvent {
  SlotIndex slot;
  SlotFinding finding;
  Generation gen;
  SessionIndex owner;  // of the BUSY word that was taken back
};

struct ScanReport {
  uint32_t free = 0, busy_local = 0, busy_daemon = 0, locked = 0, invalid = 0;
  uint64_t acquired_delta = 0;  // grants since the last scan, from clamped generation steps
  uint32_t violations = 0;
  std::vector<SlotEvent> events;  // reused by the caller between scans
};

// Private memory of the daemon about one slot.
struct SlotShadow {
  Generation gen_max = 0;     // highest generation ever believed
  SlotWord last_word = 0;     // as seen by the last scan
  int64_t first_seen_ns = 0;  // when the present hold was first seen, or granted
  Generation held_gen = 0;    // daemon_held: the generation it is held under
  Epoch base_epoch = 0;       // tokens of this slot's present numbering are not older; see SetBase
  bool daemon_held = false;   // BUSY|1 by a grant of ours; any other word is damage
  bool grantable = true;      // clients may take it when it is FREE (false: recovering, shrunk)
  bool lock_wanted = false;   // operator lock: drain, then LOCKED
  bool locked_known = false;  // LOCKED, and the engine has been told why or knows
  bool quarantined = false;   // damaged word; nobody is granted it until Repair or Restore
  bool bump_next = false;     // after damage: the next daemon grant skips generations
  bool pristine = false;      // never granted since Initialize
  bool republished = false;   // the scan put it into the bitmap under the generation of last_word
  bool is_spent = false;      // its generations are used up: withheld until Renumber
};

template <class M>
class Authority {
 public:
  // REQUIRES capacity <= words.max_capacity.
  Authority(const PoolWords<M>& words, uint32_t capacity);

  // -- life of the segment
  // Fresh segment: every slot FREE|first_gen; grant bits set for slots below capacity if
  // `grantable`, else all clear (a pool that does not know yet who holds what).
  void Initialize(Generation first_gen, bool grantable, int64_t now_ns);
  // Segment inherited from a worker that ended: believes well-formed words, rebuilds the grant
  // bits (0 for daemon-held and locked slots), and kicks. `withheld`: slots that have a lease in
  // the ledger or an operator's lock, whatever their words say; their bits stay 0 until Restore,
  // Lock, TakeBack or Repair.
  void Adopt(int64_t now_ns, std::span<const SlotIndex> withheld = {});
  // The words move to other segments (fresh, zeroed memory of the same capacity), under a new
  // epoch. Nothing of the old ones counts from here on: their grant bits are cleared and their gate
  // is closed first, their sleepers woken. Returns what was believed about them. Initialize is
  // next.
  std::vector<SlotShadow> MoveTo(const PoolWords<M>& words, Epoch epoch);
  void SetEpoch(Epoch epoch) {
    epoch_ = epoch;
    StorePolicy(epoch, gate(), release_word());
  }
  Epoch epoch() const { return epoch_; }
  void SetReleaseWord(shm::ReleaseWord value) { StorePolicy(epoch_, gate(), value); }
  void Beat() { M::Store(*words_.heartbeat, M::Load(*words_.heartbeat) + 1); }

  // -- grants
  // Takes a free grantable slot for `owner` (kOwnerDaemon: the grant bit goes first, I3). The
  // search starts behind the last grant, follows the finder's hints and then looks at every word.
  // nullopt: none was grantable when looked at.
  std::optional<SlotGrant> Grant(SessionIndex owner, int64_t now_ns);
  // As Grant(kOwnerDaemon) for one slot.
  std::optional<SlotGrant> GrantSlot(SlotIndex slot, SessionIndex owner, int64_t now_ns);
  // BUSY|owner|gen -> after(BUSY), wake. False: the word is not that any more; nothing changed.
  bool TakeBack(SlotIndex slot, SessionIndex owner, Generation gen);
  // BUSY|owner|gen -> FREE|gen, for a grant that could not be told to anybody (I2).
  bool UndoGrant(SlotIndex slot, SessionIndex owner, Generation gen);
  // LOCKED|1|gen -> FREE, grant bit set, wake. False if the word is not LOCKED by the daemon.
  bool Reopen(SlotIndex slot);
  // Makes the word BUSY|owner|gen(token) for a lease that is known otherwise (a ledger entry, a
  // re-declared or audited hold): confirms it if it reads so already, writes it over FREE or over
  // a damaged word. Grant bit as Grant would leave it. False if another holder's word is there.
  bool Restore(SlotIndex slot, SessionIndex owner, FencingToken token, int64_t now_ns);
  // Ends quarantine or recovery of a slot nobody claims: grantable again, and after damage FREE
  // with a generation far above everything seen; wake. Nothing happens to a slot that is held.
  void Repair(SlotIndex slot);

  // true: nobody is granted a slot, by a client or by the daemon, until it is called with false.
  // What is held is left alone. The caller closes the gate after it, and opens it after the end;
  // whoever sleeps on wseq is woken to see it. May come before Initialize or Adopt.
  void SetDrained(bool is_drained);
  // No slot is granted directly any more, to nobody, for the life of this object.
  void Withdraw();

  // -- generations that run out
  // The generation at which a slot is withheld until it is renumbered; at most
  // kGrantableGenerationMax, the default. Lower for tests.
  void SetRenumberAt(Generation gen) { renumber_at_ = gen; }
  // Slots that Scan has withheld for it, held ones included.
  uint32_t spent_count() const { return spent_count_; }
  // True: Renumber would do something now. O(capacity) while there are spent slots.
  bool CanRenumber() const;
  // Begins the generations of spent slots that are FREE again at 0, under `next`, and offers them.
  // Appends them to `renumbered`: what is remembered about a generation of theirs, an answer under
  // way included, means nothing any more. REQUIRES next > epoch() and durable.
  void Renumber(Epoch next, std::vector<SlotIndex>& renumbered);
  // false: clients take no slot themselves, only the daemon grants, spent slots too (up to the last
  // generation there is); until it is called with true.
  void SetDirect(bool allowed);

  // -- operator locks
  // True: LOCKED now. False: busy; Scan reports kDrainDone when it is done.
  bool Lock(SlotIndex slot);
  void Unlock(SlotIndex slot);

  // -- gate and waiters
  shm::Gate gate() const { return words_.gate(); }
  // Closing wakes everybody off wseq; opening wakes one waiter per free slot. The caller scans
  // (calls Grant) after closing and before it sleeps on dseq.
  void SetGate(shm::Gate gate);
  uint32_t LoadDseq() const { return M::Load(*words_.dseq); }
  uint32_t enlisted_waiters() const { return WaiterCount(M::Load(*words_.wcnt)); }
  // Rebuilds the waiter count from nothing: new round, count 0, everybody wakes and enlists again.
  // Without `force` only if somebody is enlisted.
  void Kick(bool force);

  // -- sessions (the session words are written by the caller, before: I4)
  // Takes back every slot of the given owners, then kicks. Appends what was taken.
  void EndSessions(std::span<const SessionIndex> owners, std::vector<SlotEvent>& taken);

  // -- reconciliation: one pass over all words
  // `is_active(owner)` tells whether a session index is attached and not revoked.
  template <class IsActive>
  void Scan(int64_t now_ns, int64_t since_last_ns, IsActive&& is_active, ScanReport& report);

  // The part of Scan that finds slots released into LOCKED, for pools whose release_word says so:
  // appends a kReleasedLocked for each one not reported yet. One pass of loads.
  void CollectReleased(std::vector<SlotEvent>& events);

  // -- views
  SlotWord LoadWord(SlotIndex slot) const { return M::Load(words_.Slot(slot)); }
  const SlotShadow& shadow(SlotIndex slot) const { return shadow_[slot]; }
  uint32_t capacity() const { return capacity_; }
  const PoolWords<M>& words() const { return words_; }

 private:
  bool CanGrant(const SlotShadow& s) const {
    const bool is_withheld = s.is_spent && is_direct_;
    return !is_drained_ && s.grantable && !s.daemon_held && !s.lock_wanted && !s.quarantined &&
           !is_withheld;
  }
  bool TryGrantAt(SlotIndex slot, SessionIndex owner, int64_t now_ns, SlotGrant& grant);
  bool IsPlausible(SlotIndex slot, Generation gen) const;  // since the last scan
  // Clients granted `gen` on a slot that is about to change under the daemon's hand.
  void CountGrantsUpTo(const SlotShadow& s, Generation gen) {
    if (gen > s.gen_max) seen_by_grants_ += std::min(gen - s.gen_max, Generation{1} << 26);
  }
  // The daemon is the only writer.
  void StorePolicy(Epoch epoch, shm::Gate gate, shm::ReleaseWord release_word) {
    M::Store(*words_.policy, shm::MakePolicy(epoch, gate, release_word));
  }
  shm::ReleaseWord release_word() const { return shm::ReleaseWordOf(M::Load(*words_.policy)); }
  // In shared memory too, where the next worker finds it: words do not tell.
  void SetBase(SlotIndex slot, Epoch base) {
    if (words_.base_epochs != nullptr && shadow_[slot].base_epoch != base) {
      M::Store(words_.base_epochs[slot], base);
    }
    shadow_[slot].base_epoch = base;
  }
  void StoreGrantBit(SlotIndex slot, bool value);
  void PublishGrantBit(SlotIndex slot);  // as the shadow wants it
  void WakeAfterDaemonFree();            // I5
  void OfferSlot(SlotIndex slot);        // grant bit, then the finder's, then a wake
  std::optional<SlotGrant> GrantHinted(SessionIndex owner, int64_t now_ns);
  void Quarantine(SlotIndex slot, SlotWord word, ScanReport& report);
  bool CheckGeneration(SlotIndex slot, SlotWord word, Generation step_max, ScanReport& report);
  void ScanHeld(SlotIndex slot, SlotWord word, ScanReport& report);
  void ScanBusy(SlotIndex slot, SlotWord word, int64_t now_ns, bool active, ScanReport& report);
  bool ScanFree(SlotIndex slot, SlotWord word, ScanReport& report);
  void ScanLocked(SlotIndex slot, SlotWord word, ScanReport& report);
  void WakeForgottenWaiters(bool free_seen_twice);
  // -- authority_renumber.inl
  bool IsUsedUp(const SlotShadow& s) const;
  void WithholdIfSpent(SlotIndex slot);
  bool CanRenumberAt(SlotIndex slot, SlotWord word) const;
  // -- authority_finder.inl
  void PublishWhatRecordNames(uint32_t record);
  template <class IsDead>
  void FreeRecordsOf(const IsDead& is_dead);
  void RepublishFree(SlotIndex slot);
  template <class IsActive>
  void TendRecords(const IsActive& is_active);
  void TendBitmap();

  PoolWords<M> words_;
  uint32_t capacity_;
  uint32_t cursor_ = 0;
  Epoch epoch_;         // as shared memory had it at first; private, so that it cannot be lost
  SlotBits grantable_;  // the grant bits, as we stored them
  uint32_t round_;      // private: a hostile count or round cannot prolong Kick
  uint64_t seen_by_grants_ = 0;  // clients' grants noticed between scans, for the next report
  Generation renumber_at_ = kGrantableGenerationMax;
  uint32_t spent_count_ = 0;
  bool is_direct_ = true;
  bool is_drained_ = false;
  int ticks_with_free_ = 0;  // scans in a row that saw a free slot beside waiters
  std::vector<SlotShadow> shadow_;
};

}  // namespace leaseplane

#include "core/pool/authority.inl"  // IWYU pragma: export
