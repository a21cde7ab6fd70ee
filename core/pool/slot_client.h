// SPDX-License-Identifier: Apache-2.0
//
// The client's side of the fast path: take a slot by one compare-and-swap, give it back by one.
//
// Ownership: free functions over borrowed state. Threads: any number, each with a ThreadContext of
// its own. Errors: small enums. Cost: no allocation, no
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

#include <algorithm>
#include <cstdint>

#include "core/base/ids.h"
#include "core/pool/attachment.h"
#include "core/pool/claims.h"
#include "core/pool/finder.h"
#include "core/pool/memory.h"
#include "core/pool/pool_words.h"
#include "core/pool/slot_word.h"
#include "core/pool/thread_context.h"

namespace leaseplane {

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
TryResult CheckTaken(const ThreadContext<M>& t, SlotIndex slot, uint64_t policy,
                     bool gate_void) noexcept {
  if (!t.SessionLives()) [[unlikely]]
    return TryResult::kGone;
  if ((M::Load(*t.process_word) & ~ProcessFlags<M>::kGateVoid) != t.attach_gen) [[unlikely]]
    return TryResult::kMoved;
  if (!t.IsGranted(slot)) [[unlikely]]
    return TryResult::kNone;
  if (!gate_void && shm::GateOf(policy) == shm::Gate::kClosed) [[unlikely]] {
    return TryResult::kGateClosed;
  }
  return TryResult::kOk;
}

// A slot whose CAS is won is the thread's now, or is given back.
template <class M>
[[gnu::noinline]] TryResult FinishTake(ThreadContext<M>& t, SlotIndex slot, Generation gen,
                                       bool gate_void, LocalGrant& out) noexcept {
  const uint64_t policy = M::Load(*t.policy);
  const TryResult result = CheckTaken(t, slot, policy, gate_void);
  if (result != TryResult::kOk) {
    UndoTake(*t.attachment, *t.flags, slot, gen);
    return result;
  }
  out.slot = slot;
  out.token = MakeToken(shm::PolicyEpoch(policy), gen);
  t.claims->NoteAcquired(slot, out.token);
  return result;
}

// Takes slot `slot`, last seen as `seen` (grantable). kNone: not this one.
template <class M>
TryResult TakeSlot(ThreadContext<M>& t, SlotIndex slot, SlotWord seen, bool gate_void,
                   LocalGrant& out) noexcept {
  const Generation gen = GenerationOfWord(seen) + 1;
  M::StoreRelease(*t.pending, ThreadRecord<M>::Pending(slot, gen));
  if (!M::CompareExchange(t.Slot(slot), seen, seen + t.take)) return TryResult::kNone;
  return FinishTake(t, slot, gen, gate_void, out);
}

// As TakeSlot, of a slot that a hint names. The hint may lie.
template <class M>
TryResult TakeHinted(ThreadContext<M>& t, SlotIndex slot, bool gate_void,
                     LocalGrant& out) noexcept {
  const SlotWord seen = M::LoadHint(t.Slot(slot));
  if (!IsGrantable(seen) || !t.IsGranted(slot)) return TryResult::kNone;
  return TakeSlot(t, slot, seen, gate_void, out);
}

// Entries a search uses up before it gives up, whatever DATA holds.
inline constexpr int kSearchTriesMax = 256;

// The search behind an empty hot entry: magazine, bitmap, other threads' records.
template <class M>
[[gnu::noinline]] TryResult Search(ThreadContext<M>& t, bool gate_void, LocalGrant& out) noexcept {
  const PoolWords<M>& p = t.words();
  Magazine<M>& magazine = t.record->magazine;
  for (int tries = 0; tries < kSearchTriesMax && magazine.Refill(t.hot, p); ++tries) {
    t.Aim();
    SlotIndex slot = 0;
    const SlotWord word = t.hot.Pop(slot);
    const TryResult result = TakeSlot(t, slot, word, gate_void, out);
    if (result != TryResult::kNone) return result;
  }
  TryResult result = TryResult::kNone;
  VisitRecords(p, magazine.record(), [&](SlotIndex slot) {
    result = TakeHinted(t, slot, gate_void, out);
    return result != TryResult::kNone;
  });
  if (result != TryResult::kNone) return result;
  return t.SessionLives() ? TryResult::kNone : TryResult::kGone;
}

// A slot that the hints lead to.
template <class M>
TryResult TryHinted(ThreadContext<M>& t, bool gate_void, LocalGrant& out) noexcept {
  SlotIndex slot = 0;
  if (const SlotWord word = t.hot.Pop(slot); word != 0) {
    const TryResult result = TakeSlot(t, slot, word, gate_void, out);
    if (result != TryResult::kNone) return result;
  }
  return Search(t, gate_void, out);
}

// What a try came to. By value: what a call may write through a pointer lives in memory, on the
// fast path too.
struct Tried {
  FencingToken token = 0;
  SlotIndex slot = 0;
  TryResult result = TryResult::kNone;
};

// Whether the thread has to let a waiter go first that is on its way to look.
template <class M>
bool MustStandBack(ThreadContext<M>& t) noexcept {
  Turn& turn = t.record->turn;
  if (!turn.is_over) return false;
  turn.is_over = (M::Load(*t.wcnt) & kWaking) != 0;
  return turn.is_over;
}

// The plain try: a closed gate is honoured unless the daemon's heart stands still.
template <class M>
[[gnu::noinline]] Tried TryAcquireWarily(ThreadContext<M>& t) noexcept {
  if (MustStandBack(t)) {
    t.Untouch();
    return {};
  }
  const uint64_t policy = M::Load(*t.policy);
  t.Learn(policy);
  const bool is_closed = shm::GateOf(policy) == shm::Gate::kClosed;
  const bool gate_void = is_closed && t.flags->Has(ProcessFlags<M>::kGateVoid);
  Tried tried;
  if (is_closed && !gate_void) {
    t.Untouch();
    tried.result = TryResult::kGateClosed;
    return tried;
  }
  LocalGrant grant;
  tried.result = TryHinted(t, gate_void, grant);
  if (tried.result != TryResult::kOk) t.Untouch();
  tried.token = grant.token;
  tried.slot = grant.slot;
  return tried;
}

// The hot entry's slot, last seen as `seen`, is taken, and one of the checks failed.
template <class M>
[[gnu::noinline]] Tried FinishHot(ThreadContext<M>& t, SlotIndex slot, SlotWord seen) noexcept {
  LocalGrant grant;
  TryResult result = FinishTake(t, slot, GenerationOfWord(seen) + 1, /*gate_void=*/false, grant);
  if (result == TryResult::kNone) result = Search(t, /*gate_void=*/false, grant);
  return {grant.token, grant.slot, result};
}

// TryAcquireWarily where nothing is the matter: the policy is plain and the hot entry is right.
// Whatever else it meets, it leaves to the functions above. Each of its steps costs, see
// ThreadContext; a word is compared as a whole where any change of it leads away from here. A
// compare-and-swap waits for the stores before it: they come first here and in Release, and the
// checks behind them.
template <class M>
LEASEPLANE_HOT Tried TryAcquire(ThreadContext<M>& t) noexcept {
  SlotIndex slot = 0;
  const SlotWord word = t.hot.Pop(slot);
  if (word == 0) [[unlikely]]
    return TryAcquireWarily(t);
  M::StoreRelease(*t.pending, word + t.hot_pending);
  if (M::Load(*t.policy) != t.plain_policy) [[unlikely]] {
    t.hot.word = word;
    return TryAcquireWarily(t);
  }
  if (!M::CompareExchange(*t.hot_word, word, word + t.take)) [[unlikely]]
    return TryAcquireWarily(t);
  if (!t.SessionLives() || M::Load(*t.process_word) != t.attach_gen ||
      (M::Load(*t.hot_grant_bits) & t.hot_grant_bit) == 0 || M::Load(*t.policy) != t.plain_policy)
      [[unlikely]] {
    return FinishHot(t, slot, word);
  }
  const auto token = static_cast<FencingToken>(word + t.token_offset);
  M::StoreRelease(t.hot_claim->acquired, static_cast<uint64_t>(token));
  return {token, slot, TryResult::kOk};
}
template <class M>
TryResult TryAcquire(ThreadContext<M>& t, LocalGrant& out) noexcept {
  const Tried tried = TryAcquire(t);
  out = {tried.slot, tried.token};
  return tried.result;
}

// One pass over all slots, from where this thread last was. For a caller that sleeps on kNone: the
// loads take part in the wait protocol.
template <class M>
TryResult TryAcquireExhaustive(ThreadContext<M>& t, bool gate_void, LocalGrant& out) noexcept {
  if (!gate_void && t.words().GateClosed()) return TryResult::kGateClosed;
  const uint32_t count = t.words().max_capacity;
  uint32_t slot = t.record->cursor < count ? t.record->cursor : 0;
  for (uint32_t k = 0; k < count; ++k) {
    const SlotWord seen = M::Load(t.Slot(slot));
    if (IsGrantable(seen) && t.IsGranted(slot)) {
      const TryResult result = TakeSlot(t, slot, seen, gate_void, out);
      if (result == TryResult::kOk) t.record->cursor = slot;
      if (result != TryResult::kNone) return result;
    }
    if (++slot == count) slot = 0;
  }
  t.Untouch();
  return t.SessionLives() ? TryResult::kNone : TryResult::kGone;
}

// The wakes that follow a release's CAS, and whether the segment was being replaced meanwhile.
// Dekker with re-declaration: it bumps attach_gen and then reads the word; a release CASes the word
// and then reads attach_gen. Either that found the slot released, or this sees the bump.
template <class M>
[[gnu::noinline]] ReleaseResult AfterRelease(const PoolWords<M>& p, uint64_t now,
                                             uint64_t attach_gen, SlotWord after) noexcept {
  WakeAfterFree(p, StateOf(after) == SlotState::kLocked, (now & ProcessFlags<M>::kGateVoid) != 0);
  const uint64_t now_gen = now & ~(ProcessFlags<M>::kAttachStep - 1);
  return now_gen == attach_gen ? ReleaseResult::kOk : ReleaseResult::kMoved;
}

// Whoever gives back and takes again at once is faster than any waiter that wakes for the slot, so
// a thread does so only for its share of what a waiter may be overtaken for: max_overtake divided
// by the number of waiters. Then it stands back: its next try takes nothing while a waiter is on
// its way, and a wait sleeps first. So each waiter comes before that time and a hand-over a waiter
// have passed, and one hand-over, a context switch, is paid for one share. A share is never so
// short that hand-overs would cost more than they bring. Fairness only: a thread that does not
// stand back breaks nothing.
inline constexpr int64_t kTurnMinNs = 20'000;
inline constexpr int64_t kTurnMaxNs = 250'000;

template <class M>
void CountTurn(ThreadContext<M>& t) noexcept {
  Turn& turn = t.record->turn;
  if (turn.max_overtake_ns == Turn::kEndless) return;
  const uint32_t waiters = WaiterCount(M::Load(*t.wcnt));
  if (waiters == 0) return;
  const int64_t now_ns = M::NowNs();
  if (turn.ends_ns == 0) {
    const int64_t share_ns = turn.max_overtake_ns / waiters;
    turn.ends_ns = now_ns + std::clamp(share_ns, kTurnMinNs, kTurnMaxNs);
  }
  if (now_ns < turn.ends_ns) return;
  turn.ends_ns = 0;
  turn.is_over = true;
  t.plain_policy = 0;  // leaves its fast path
}

// As AfterRelease, for a thread that takes slots too.
template <class M>
[[gnu::noinline]] ReleaseResult AfterOwnRelease(ThreadContext<M>& t, uint64_t now,
                                                SlotWord after) noexcept {
  CountTurn(t);
  return AfterRelease(t.words(), now, t.attach_gen, after);
}

template <class M>
[[gnu::noinline]] ReleaseResult ReleaseWarily(ThreadContext<M>& t, SlotIndex slot,
                                              FencingToken token) noexcept {
  const Generation gen = GenerationOf(token);
  ThreadRecord<M>::Touch(*t.pending, slot, gen);
  t.claims->NoteReleased(slot, token);
  const SlotWord after = WordAfterBusy(M::Load(*t.policy), gen);
  if (!M::CompareExchange(t.Slot(slot), t.busy | gen, after)) return ReleaseResult::kStale;
  if (IsGrantable(after)) t.Keep(slot, after);
  return AfterOwnRelease(t, M::Load(*t.process_word), after);
}

// Gives a slot back. The thread finds it there next time. Inline is what happens where nothing is
// the matter: the policy is plain, and it is the slot that was taken last.
template <class M>
LEASEPLANE_HOT ReleaseResult Release(ThreadContext<M>& t, SlotIndex slot,
                                     FencingToken token) noexcept {
  // A token of another epoch than the plain policy's, or of any while that is not known, is beyond
  // the limit.
  const Generation gen = static_cast<uint64_t>(token) - t.token_base;
  if (slot + 1 != t.hot.named || gen >= t.generation_limit) [[unlikely]]
    return ReleaseWarily(t, slot, token);
  const SlotWord after = FreeWord(0) + gen;
  ThreadRecord<M>::Touch(*t.pending, after + t.hot_pending - 1);
  t.hot_claim->NoteReleased(static_cast<uint64_t>(token));
  if (M::Load(*t.policy) != t.plain_policy) [[unlikely]]
    return ReleaseWarily(t, slot, token);
  if (!M::CompareExchange(*t.hot_word, t.busy + gen, after)) [[unlikely]] {
    return ReleaseResult::kStale;
  }
  if (t.hot.word == 0) [[likely]] {
    t.hot.word = after;
  } else {
    t.Keep(slot, after);
  }
  const uint64_t now = M::Load(*t.process_word);
  if (now != t.attach_gen || M::Load(*t.policy) != t.plain_policy ||
      WaiterCount(M::Load(*t.wcnt)) != 0) [[unlikely]] {
    return AfterOwnRelease(t, now, after);
  }
  return ReleaseResult::kOk;
}

// As Release, by a thread that takes no slots and so keeps no hints: the library's.
template <class M>
ReleaseResult ReleaseForOthers(const Attachment<M>& a, const ProcessFlags<M>& flags,
                               Claims<M>& claims, SlotIndex slot, FencingToken token) noexcept {
  const Generation gen = GenerationOf(token);
  const SlotWord after = a.words.AfterBusy(gen);
  claims.NoteReleased(slot, token);
  if (!M::CompareExchange(a.words.Slot(slot), BusyWord(a.owner, gen), after)) {
    return ReleaseResult::kStale;
  }
  if (IsGrantable(after)) PublishSlot(a.words, slot);
  return AfterRelease(a.words, M::Load(flags.word), a.attach_gen, after);
}

template <class M>
bool StillHeld(const Attachment<M>& a, const ProcessFlags<M>& flags, SlotIndex slot,
               FencingToken token) noexcept {
  return IsCurrent(a, flags) &&
         M::Load(a.words.Slot(slot)) == BusyWord(a.owner, GenerationOf(token)) && SessionLives(a);
}

}  // namespace leaseplane
