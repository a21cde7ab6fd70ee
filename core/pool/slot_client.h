// SPDX-License-Identifier: Apache-2.0
//
// The client's side of the fast path: take a slot by one compare-and-swap, give it back by one.
//
// Ownership: free functions over borrowed state (see Attachment). Threads: any number, each with a
// ThreadRecord of its own, bound to the attachment. Errors: small enums. Cost: no allocation, no
// system call, no clock; TryAcquire is wait-free: one CAS if the thread's last slot is free, else a
// bounded search of the hints (finder.h); Release is wait-free: one CAS and, only if somebody
// waits, one wake. Not promised: TryAcquire's kNone means that no hint led to a free slot. A slot
// whose hint is with a thread that stands still inside a call, or was lost with one, is missed
// until the daemon's third scan from then on (150 ms). TryAcquireExhaustive looks at every word:
// its kNone means that each slot was taken or withheld at some instant of the call, not at one
// instant for all of them.
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
#include "core/pool/finder.h"
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
  uint64_t attach_gen = 0;    // ProcessFlags's when this was made, a multiple of kAttachStep
  // Derived, for the fast path.
  const typename M::U64* session = nullptr;  // the word of SESS
  uint64_t take = 0;                         // FREE|g + take == BUSY|owner|g+1
  SlotWord busy = 0;                         // BUSY|owner|0

  Attachment() = default;
  Attachment(const PoolWords<M>& w, SessionIndex o, uint64_t word, uint64_t gen)
      : words(w),
        owner(o),
        session_word(word),
        attach_gen(gen),
        session(&w.sessions[o]),
        take(BusyWord(o, 1) - FreeWord(0)),
        busy(BusyWord(o, 0)) {}
};

// Flags of the process, written by its library thread, read by everybody after each CAS. One word,
// so that the fast path makes one comparison: it equals Attachment::attach_gen unless something is
// the matter.
template <class M>
struct alignas(kCacheLineBytes) ProcessFlags {
  static constexpr uint64_t kSegmentDead = 1;  // the daemon that owned the segment is gone
  static constexpr uint64_t kGateVoid = 2;  // the daemon's heart stands still: on without its gate
  static constexpr uint64_t kAttachStep = 4;

  typename M::U64 word{0};  // attach_gen, and the flags above

  // RMW, before claims are read for re-declaration.
  void BumpAttachGen() { M::FetchAdd(word, kAttachStep); }
  void Set(uint64_t flag, bool value) {
    if (value) {
      M::FetchOr(word, flag);
    } else {
      M::FetchAnd(word, ~flag);
    }
  }
  bool Has(uint64_t flag) const { return (M::Load(word) & flag) != 0; }
  uint64_t attach_gen() const { return M::Load(word) & ~(kAttachStep - 1); }
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
  return (M::Load(flags.word) & ~ProcessFlags<M>::kGateVoid) == a.attach_gen;
}

template <class M>
bool SessionLives(const Attachment<M>& a) noexcept {
  return M::Load(*a.session) == a.session_word;
}

// Gives back a grant nobody was told of. The slot may have looked BUSY to a waiter that then went
// to sleep, so this wakes like a release; and to a thread that dropped its hint, so it is
// published.
template <class M>
[[gnu::noinline]] void UndoTake(const Attachment<M>& a, const ProcessFlags<M>& flags,
                                SlotIndex slot, Generation gen) noexcept {
  if (!M::CompareExchange(a.words.Slot(slot), BusyWord(a.owner, gen), FreeWord(gen))) return;
  PublishSlot(a.words, slot);
  WakeAfterFree(a.words, /*wrote_locked=*/false, flags.Has(ProcessFlags<M>::kGateVoid));
}

// What may have changed between looking at a slot and owning it. All of it lies in memory that a
// client cannot write, and each daemon store to it comes before the daemon's look at the slot, so
// one of the two sees the other. The order of the checks does not matter.
template <class M>
LEASEPLANE_HOT TryResult CheckTaken(const Attachment<M>& a, const ProcessFlags<M>& flags,
                                    SlotIndex slot, uint64_t policy, bool gate_void) noexcept {
  if (!SessionLives(a)) [[unlikely]]
    return TryResult::kGone;
  if (!IsCurrent(a, flags)) [[unlikely]]
    return TryResult::kMoved;
  if (!a.words.IsGranted(slot)) [[unlikely]]
    return TryResult::kNone;
  if (!gate_void && shm::GateOf(policy) == shm::Gate::kClosed) [[unlikely]] {
    return TryResult::kGateClosed;
  }
  return TryResult::kOk;
}

// Takes slot `slot`, last seen as `seen` (grantable). kNone: not this one.
template <class M>
LEASEPLANE_HOT TryResult TakeSlot(const Attachment<M>& a, const ProcessFlags<M>& flags,
                                  Claims<M>& claims, ThreadRecord<M>& record, SlotIndex slot,
                                  SlotWord seen, bool gate_void, LocalGrant& out) noexcept {
  const Generation gen = GenerationOfWord(seen) + 1;
  M::StoreRelease(record.pending, ThreadRecord<M>::Pending(slot, gen));
  TryResult result = TryResult::kNone;
  if (M::CompareExchange(a.words.Slot(slot), seen, seen + a.take)) [[likely]] {
    const uint64_t policy = M::Load(*a.words.policy);
    result = CheckTaken(a, flags, slot, policy, gate_void);
    if (result == TryResult::kOk) [[likely]] {
      out.slot = slot;
      out.token = MakeToken(shm::PolicyEpoch(policy), gen);
      claims.NoteAcquired(slot, out.token);
    } else {
      UndoTake(a, flags, slot, gen);
    }
  }
  return result;
}

// As TakeSlot, of a slot that a hint names. The hint may lie.
template <class M>
TryResult TakeHinted(const Attachment<M>& a, const ProcessFlags<M>& flags, Claims<M>& claims,
                     ThreadRecord<M>& record, SlotIndex slot, bool gate_void,
                     LocalGrant& out) noexcept {
  const SlotWord seen = M::LoadHint(a.words.Slot(slot));
  if (!IsGrantable(seen) || !a.words.IsGranted(slot)) return TryResult::kNone;
  return TakeSlot(a, flags, claims, record, slot, seen, gate_void, out);
}

// Entries a search uses up before it gives up, whatever DATA holds.
inline constexpr int kSearchTriesMax = 256;

// The search behind an empty hot entry: magazine, bitmap, other threads' records.
template <class M>
[[gnu::noinline]] TryResult Search(const Attachment<M>& a, const ProcessFlags<M>& flags,
                                   Claims<M>& claims, ThreadRecord<M>& record, bool gate_void,
                                   LocalGrant& out) noexcept {
  for (int tries = 0; tries < kSearchTriesMax && record.magazine.Refill(a.words); ++tries) {
    SlotIndex slot = 0;
    const SlotWord word = record.magazine.PopHot(slot);
    const TryResult result = TakeSlot(a, flags, claims, record, slot, word, gate_void, out);
    if (result != TryResult::kNone) return result;
  }
  TryResult result = TryResult::kNone;
  VisitRecords(a.words, record.magazine.record(), [&](SlotIndex slot) {
    result = TakeHinted(a, flags, claims, record, slot, gate_void, out);
    return result != TryResult::kNone;
  });
  if (result != TryResult::kNone) return result;
  return SessionLives(a) ? TryResult::kNone : TryResult::kGone;
}

// A slot that the hints lead to.
template <class M>
LEASEPLANE_HOT TryResult TryHinted(const Attachment<M>& a, const ProcessFlags<M>& flags,
                                   Claims<M>& claims, ThreadRecord<M>& record, bool gate_void,
                                   LocalGrant& out) noexcept {
  SlotIndex slot = 0;
  if (const SlotWord word = record.magazine.PopHot(slot); word != 0) [[likely]] {
    const TryResult result = TakeSlot(a, flags, claims, record, slot, word, gate_void, out);
    if (result != TryResult::kNone) [[likely]]
      return result;
  }
  LocalGrant found;  // not `out`: what a call may write lives in memory, on the fast path too
  const TryResult result = Search(a, flags, claims, record, gate_void, found);
  out = found;
  return result;
}

// The plain try: a closed gate is honoured unless the daemon's heart stands still.
template <class M>
LEASEPLANE_HOT TryResult TryAcquire(const Attachment<M>& a, const ProcessFlags<M>& flags,
                                    Claims<M>& claims, ThreadRecord<M>& record,
                                    LocalGrant& out) noexcept {
  if (a.words.GateClosed()) [[unlikely]] {
    if (!flags.Has(ProcessFlags<M>::kGateVoid)) return TryResult::kGateClosed;
    return TryHinted(a, flags, claims, record, /*gate_void=*/true, out);
  }
  return TryHinted(a, flags, claims, record, /*gate_void=*/false, out);
}

// One pass over all slots, from where this thread last was. For a caller that sleeps on kNone: the
// loads take part in the wait protocol.
template <class M>
TryResult TryAcquireExhaustive(const Attachment<M>& a, const ProcessFlags<M>& flags,
                               Claims<M>& claims, ThreadRecord<M>& record, bool gate_void,
                               LocalGrant& out) noexcept {
  if (!gate_void && a.words.GateClosed()) return TryResult::kGateClosed;
  const uint32_t count = a.words.max_capacity;
  uint32_t slot = record.cursor < count ? record.cursor : 0;
  for (uint32_t k = 0; k < count; ++k) {
    const SlotWord seen = M::Load(a.words.Slot(slot));
    if (IsGrantable(seen) && a.words.IsGranted(slot)) {
      const TryResult result = TakeSlot(a, flags, claims, record, slot, seen, gate_void, out);
      if (result == TryResult::kOk) record.cursor = slot;
      if (result != TryResult::kNone) return result;
    }
    if (++slot == count) slot = 0;
  }
  return SessionLives(a) ? TryResult::kNone : TryResult::kGone;
}

// `record`: of the calling thread, which finds the slot there next time; null for a thread that
// takes no slots, as the library's.
template <class M>
LEASEPLANE_HOT ReleaseResult Release(const Attachment<M>& a, const ProcessFlags<M>& flags,
                                     Claims<M>& claims, ThreadRecord<M>* record, SlotIndex slot,
                                     FencingToken token) noexcept {
  const Generation gen = GenerationOf(token);
  const SlotWord after = a.words.AfterBusy(gen);
  if (record != nullptr) record->Touch(slot, gen);
  claims.NoteReleased(slot, token);
  if (!M::CompareExchange(a.words.Slot(slot), a.busy | gen, after)) [[unlikely]] {
    return ReleaseResult::kStale;
  }
  if (IsGrantable(after)) [[likely]] {
    if (record != nullptr) {
      record->magazine.Push(a.words, slot, after);
    } else {
      PublishSlot(a.words, slot);
    }
  }
  // Dekker with re-declaration: it bumps attach_gen and then reads the word; this CASes the word
  // and then reads attach_gen. Either it found the slot released, or this sees the bump.
  const uint64_t now = M::Load(flags.word);
  WakeAfterFree(a.words, StateOf(after) == SlotState::kLocked,
                (now & ProcessFlags<M>::kGateVoid) != 0);
  const uint64_t now_gen = now & ~(ProcessFlags<M>::kAttachStep - 1);
  return now_gen == a.attach_gen ? ReleaseResult::kOk : ReleaseResult::kMoved;
}

template <class M>
bool StillHeld(const Attachment<M>& a, const ProcessFlags<M>& flags, SlotIndex slot,
               FencingToken token) noexcept {
  return IsCurrent(a, flags) &&
         M::Load(a.words.Slot(slot)) == BusyWord(a.owner, GenerationOf(token)) && SessionLives(a);
}

}  // namespace leaseplane
