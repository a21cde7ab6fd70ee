// SPDX-License-Identifier: Apache-2.0
//
// The client's side of the fast path: take a slot by one compare-and-swap, give it back by one.
//
// Ownership: free functions over borrowed state (see Attachment). Threads: any number, each with a
// ThreadRecord of its own. Errors: small enums. Cost: no allocation, no system call, no clock;
// TryAcquire is wait-free (at most one load and one CAS a slot), Release is wait-free (one CAS and,
// only if somebody waits, one wake). Not promised: TryAcquire's kNone means that each slot was
// taken or withheld at some instant of the call, not at one instant for all of them.
//
// What a SIGKILL between two neighbouring steps leaves behind:
//   TryAcquire, before the CAS          nothing
//   after the CAS, before the return    BUSY|me|g: the end of the session sweeps it
//   inside undo, before its CAS         the same
//   after the undo's or release's CAS,  FREE and perhaps a sleeper nobody woke: the end of the
//     before the wake                   session kicks all waiters
// A process that is revoked between its CAS and its check undoes; one that is killed there after
// the sweep is found by the next scan (an orphan).
#pragma once

#include <cstdint>

#include "core/base/ids.h"
#include "core/pool/claims.h"
#include "core/pool/memory.h"
#include "core/pool/pool_words.h"
#include "core/pool/slot_word.h"

namespace leaseplane {

// One immutable snapshot of how a process is attached to a pool. A new one is made when the
// segment was lost; an old one stays valid memory as long as a thread may be inside it.
template <class M>
struct Attachment {
  PoolWords<M> words;
  SessionIndex owner = 0;
  uint64_t session_word = 0;  // what SESS must read while the session lives
  uint64_t attach_gen = 0;    // ProcessFlags::attach_gen when this was made
};

// Flags of the process, written by its library thread, read by everybody after each CAS.
template <class M>
struct alignas(kCacheLineBytes) ProcessFlags {
  typename M::U64 attach_gen{0};    // bumped (RMW) before claims are read for re-declaration
  typename M::U32 segment_dead{0};  // the daemon that owned the segment is gone
  typename M::U32 gate_void{0};     // the daemon's heart stands still: go on without its gate
};

enum class TryResult : uint8_t {
  kOk,
  kNone,        // no slot could be taken
  kGateClosed,  // only the daemon grants now
  kGone,        // the session has ended
  kMoved,       // the attachment is not the present one any more
};

struct LocalGrant {
  SlotIndex slot = 0;
  FencingToken token = 0;
};

enum class ReleaseResult : uint8_t {
  kOk,
  kStale,  // not held under this token: released, revoked or recovered before
  kMoved,  // released in a segment that was being replaced: release in the new one too
};

template <class M>
bool IsCurrent(const Attachment<M>& a, const ProcessFlags<M>& flags) noexcept {
  return M::Load(flags.attach_gen) == a.attach_gen && M::Load(flags.segment_dead) == 0;
}

template <class M>
bool SessionLives(const Attachment<M>& a) noexcept {
  return M::Load(a.words.sessions[a.owner]) == a.session_word;
}

// Gives back a grant nobody was told of. The slot may have looked BUSY to a waiter that then went
// to sleep, so this wakes like a release.
template <class M>
void UndoTake(const Attachment<M>& a, const ProcessFlags<M>& flags, SlotIndex slot,
              Generation gen) noexcept {
  if (M::CompareExchange(a.words.Slot(slot), BusyWord(a.owner, gen), FreeWord(gen))) {
    WakeAfterFree(a.words, /*wrote_locked=*/false, M::Load(flags.gate_void) != 0);
  }
}

// What may have changed between looking at a slot and owning it. All of it lies in memory that a
// client cannot write, and each daemon store to it comes before the daemon's look at the slot, so
// one of the two sees the other. The order of the checks does not matter.
template <class M>
TryResult CheckTaken(const Attachment<M>& a, const ProcessFlags<M>& flags, SlotIndex slot,
                     bool gate_void) noexcept {
  if (!SessionLives(a)) return TryResult::kGone;
  if (!IsCurrent(a, flags)) return TryResult::kMoved;
  if (!a.words.IsGranted(slot)) return TryResult::kNone;
  if (!gate_void && a.words.GateClosed()) return TryResult::kGateClosed;
  return TryResult::kOk;
}

// Takes slot `slot`, last seen as `seen` (grantable). kNone: not this one.
template <class M>
TryResult TakeSlot(const Attachment<M>& a, const ProcessFlags<M>& flags, Claims<M>& claims,
                   ThreadRecord<M>& record, SlotIndex slot, SlotWord seen, bool gate_void,
                   LocalGrant& out) noexcept {
  const Generation gen = GenerationOfWord(seen) + 1;
  M::StoreRelease(record.pending, ThreadRecord<M>::Pending(slot, gen));
  TryResult result = TryResult::kNone;
  if (M::CompareExchange(a.words.Slot(slot), seen, BusyWord(a.owner, gen))) {
    const auto epoch = static_cast<Epoch>(M::Load(*a.words.epoch));
    result = CheckTaken(a, flags, slot, gate_void);
    if (result == TryResult::kOk) {
      out = {slot, MakeToken(epoch, gen)};
      claims.NoteAcquired(slot, out.token);
    } else {
      UndoTake(a, flags, slot, gen);
    }
  }
  M::StoreRelease(record.pending, 0);
  return result;
}

// One pass over all slots, from where this thread last was. `kWaiting` is for a caller that sleeps
// on kNone: its loads take part in the wait protocol and are seq_cst.
template <class M, bool kWaiting = false>
TryResult TryAcquire(const Attachment<M>& a, const ProcessFlags<M>& flags, Claims<M>& claims,
                     ThreadRecord<M>& record, bool gate_void, LocalGrant& out) noexcept {
  if (!gate_void && a.words.GateClosed()) return TryResult::kGateClosed;
  const uint32_t count = a.words.max_capacity;
  uint32_t slot = record.cursor < count ? record.cursor : 0;
  for (uint32_t k = 0; k < count; ++k) {
    const SlotWord seen = kWaiting ? M::Load(a.words.Slot(slot)) : M::LoadHint(a.words.Slot(slot));
    if (IsGrantable(seen) && a.words.IsGranted(slot)) {
      const TryResult result = TakeSlot(a, flags, claims, record, slot, seen, gate_void, out);
      if (result == TryResult::kOk) record.cursor = slot;
      if (result != TryResult::kNone) return result;
    }
    if (++slot == count) slot = 0;
  }
  return SessionLives(a) ? TryResult::kNone : TryResult::kGone;
}

// The plain try: a closed gate is honoured unless the daemon's heart stands still.
template <class M>
TryResult TryAcquire(const Attachment<M>& a, const ProcessFlags<M>& flags, Claims<M>& claims,
                     ThreadRecord<M>& record, LocalGrant& out) noexcept {
  return TryAcquire<M, false>(a, flags, claims, record, M::Load(flags.gate_void) != 0, out);
}

template <class M>
ReleaseResult Release(const Attachment<M>& a, const ProcessFlags<M>& flags, Claims<M>& claims,
                      SlotIndex slot, FencingToken token) noexcept {
  const Generation gen = GenerationOf(token);
  const SlotWord after = a.words.AfterBusy(gen);
  if (!M::CompareExchange(a.words.Slot(slot), BusyWord(a.owner, gen), after)) {
    return ReleaseResult::kStale;
  }
  claims.NoteReleased(slot, token);
  WakeAfterFree(a.words, StateOf(after) == SlotState::kLocked, M::Load(flags.gate_void) != 0);
  // Dekker with re-declaration: it bumps attach_gen and then reads the word; this CASes the word
  // and then reads attach_gen. Either it found the slot released, or this sees the bump.
  return M::Load(flags.attach_gen) == a.attach_gen ? ReleaseResult::kOk : ReleaseResult::kMoved;
}

template <class M>
bool StillHeld(const Attachment<M>& a, const ProcessFlags<M>& flags, SlotIndex slot,
               FencingToken token) noexcept {
  return IsCurrent(a, flags) &&
         M::Load(a.words.Slot(slot)) == BusyWord(a.owner, GenerationOf(token)) && SessionLives(a);
}

}  // namespace leaseplane
