// SPDX-License-Identifier: Apache-2.0
//
// Claims: what one process knows it holds in one pool, in its private memory. It answers the
// daemon's audit ("do you hold slot i at generation g?") and is what a process declares again when
// the shared segment was lost. It is never consulted on the fast path, only written.
//
// Two tables and a record a thread:
//   acquired[i]   token of this process's last grant of slot i, written after the won CAS
//   released[i]   token of its last release of slot i, written before the release CAS
//   ThreadRecord  the (slot, generation) a thread took or gave back last, or is about to, written
//                 before that
//   revoked[i]    newest token of slot i that the daemon said it took back from this process
// A slot is held iff acquired[i] > revoked[i] and released[i] != acquired[i].
//
// Why two tables and not one that is cleared: clearing after the release CAS could wipe the entry
// of the next holder in the same process, unless it were a CAS itself, which would cost the fast
// path half of its whole budget. Two monotonic entries need plain stores only.
//
// Why a release is noted before its CAS: a thread that stood still in between could otherwise write
// its note over that of a later release of the same slot, and the tables would name a hold that
// nobody has. While the CAS is still to come the record answers for it: held.
//
// Why only of the grant noted last: a lease that was taken back may be given back much later, when
// the slot has been taken and given back again; noted then, its release would bring the later hold
// back to life. Who holds the slot finds its own grant in acquired[i], unless a late note of a
// lease that was taken back lies there, which is no hold anyway.
//
// Why plain (release) stores are enough: the audit's question exists only after the daemon has read
// BUSY|me|g, which reads-from the CAS; the thread record is written before that CAS, so it
// happens-before the question. A reader that finds another entry in the record finds acquired[i],
// which was written before that entry (release), too. And a slot whose release CAS is done
// is no longer BUSY|me|g, so the daemon's CAS of the word it saw fails whatever the answer was.
//
// Why revoked[]: a thread may stand still between its CAS and its note while the daemon takes that
// one lease back and another thread of the process is granted the slot. The late note then hides
// the newer one. So an entry that is not newer than revoked[i] says nothing about what is held, and
// the audit is answered with yes. The daemon tells of a lease it took back before it asks again.
//
// Why such an entry is cleared (ForgetRevoked): else it would vouch for every later grant of the
// slot, also for one that the process never heard of. It may go only where it hides nothing: it is
// read first and the word then, and a word that is not the process's says that what it may have
// been written over is no hold any more. A note that comes after that stays.
//
// Threads: the owner of a record writes it; the library thread reads everything at any time, and
// it alone calls NoteRevoked and what forgets.
// Cost: 32 bytes a slot (a cache line in pools of at most 64), about 600 bytes a thread.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>

#include "core/base/ids.h"
#include "core/pool/magazine.h"
#include "core/pool/memory.h"
#include "core/pool/pool_words.h"

namespace leaseplane {

// How long a thread goes on taking slots in front of those who wait; see slot_client.h.
struct Turn {
  static constexpr int64_t kEndless = std::numeric_limits<int64_t>::max();
  int64_t max_overtake_ns = kEndless;  // by all threads together
  int64_t ends_ns = 0;                 // 0: it has not begun
  bool is_over = false;                // those who wait come first
};

// One thread's place in one pool. Owned by Claims, lent to a thread until it ends.
template <class M>
struct alignas(kCacheLineBytes) ThreadRecord {
  typename M::U64 pending{0};  // 0, or slot + 1 << 36 | generation: the last one touched
  typename M::U32 lent{0};     // 1 while a thread owns it
  uint32_t cursor = 0;         // private to the owner: where its next full scan starts
  ThreadRecord* next = nullptr;
  Magazine<M> magazine;  // private to the owner

  // The owner works in the segment of `words` from here on, for session `owner`. `words` stay
  // valid until the next Bind or Claims::Return. REQUIRES that no ThreadContext uses it.
  void Bind(const PoolWords<M>& words, SessionIndex owner) {
    if (bound != nullptr) magazine.Unbind(*bound);
    bound = &words;
    magazine.Bind(words, owner);
  }
  const PoolWords<M>* bound = nullptr;
  Turn turn;

  static constexpr uint64_t Pending(SlotIndex slot, Generation gen) {
    return (uint64_t{slot} + 1) << kGenerationBits | gen;
  }
  // Before the CAS that gives back: see Claims. Seldom a store: mostly it is the slot taken last.
  static void Touch(typename M::U64& pending, SlotIndex slot, Generation gen) {
    Touch(pending, Pending(slot, gen));
  }
  LEASEPLANE_HOT static void Touch(typename M::U64& pending, uint64_t touched) {
    if (M::LoadHint(pending) != touched) M::StoreRelease(pending, touched);
  }
};

// What is noted of one slot.
template <class M>
struct alignas(kCacheLineBytes / 2) ClaimEntry {
  typename M::U64 acquired{0};
  typename M::U64 released{0};
  typename M::U64 revoked{0};

  // Before the CAS that gives back: see Claims.
  LEASEPLANE_HOT void NoteReleased(uint64_t token) {
    if (M::LoadHint(acquired) == token) [[likely]]
      M::StoreRelease(released, token);
  }
};

template <class M>
class Claims {
 public:
  explicit Claims(uint32_t max_capacity)
      : max_capacity_(max_capacity),
        shift_(max_capacity <= shm::kPaddedCapacityMax ? 1 : 0),
        entries_(new ClaimEntry<M>[uint64_t{max_capacity} << shift_]) {}
  ~Claims() {
    for (ThreadRecord<M>* r = First(); r != nullptr;) {
      ThreadRecord<M>* next = r->next;
      delete r;
      r = next;
    }
  }
  Claims(const Claims&) = delete;
  Claims& operator=(const Claims&) = delete;

  // A record for the calling thread; give it back with Return when the thread ends. Allocates.
  ThreadRecord<M>& Borrow() {
    for (ThreadRecord<M>* r = First(); r != nullptr; r = r->next) {
      if (M::Load(r->lent) == 0 && M::CompareExchange(r->lent, 0, 1)) return *r;
    }
    auto* record = new ThreadRecord<M>;
    M::Store(record->lent, 1);
    for (;;) {
      const uint64_t head = M::Load(head_);
      record->next = reinterpret_cast<ThreadRecord<M>*>(static_cast<uintptr_t>(head));
      if (M::CompareExchange(head_, head, reinterpret_cast<uintptr_t>(record))) return *record;
    }
  }
  // REQUIRES the segment it was bound to still mapped, and that no ThreadContext uses it.
  static void Return(ThreadRecord<M>& record) {
    if (record.bound != nullptr) record.magazine.Unbind(*record.bound);
    record.bound = nullptr;
    M::StoreRelease(record.pending, 0);
    M::Store(record.lent, 0);
  }

  void NoteAcquired(SlotIndex slot, FencingToken token) {
    M::StoreRelease(At(slot).acquired, static_cast<uint64_t>(token));
  }
  void NoteReleased(SlotIndex slot, FencingToken token) {
    At(slot).NoteReleased(static_cast<uint64_t>(token));
  }

  // The daemon took this one lease back while the session goes on.
  void NoteRevoked(SlotIndex slot, FencingToken token) {
    const auto value = static_cast<uint64_t>(token);
    if (value > M::Load(At(slot).revoked)) M::Store(At(slot).revoked, value);
  }

  // After it: what was noted of the leases that were taken back is forgotten, unless the word, of
  // the segment they were in, says that it may hide another one of this process. See above.
  void ForgetRevoked(const PoolWords<M>& p, SessionIndex owner, SlotIndex slot) {
    Entry& entry = At(slot);
    const uint64_t acquired = M::Load(entry.acquired);
    if (acquired == 0 || acquired > M::Load(entry.revoked)) return;
    const SlotWord word = M::Load(p.Slot(slot));
    if (!IsWellFormed(word) || OwnerOf(word) == owner) return;
    M::CompareExchange(entry.acquired, acquired, 0);
  }

  // This lease ended with its session or its segment, and so did whatever it may hide.
  void Forget(SlotIndex slot, FencingToken token) {
    NoteRevoked(slot, token);
    M::CompareExchange(At(slot).acquired, static_cast<uint64_t>(token), 0);
  }
  // The session ended.
  void ForgetAll() {
    for (SlotIndex slot = 0; slot < max_capacity_; ++slot) {
      const uint64_t acquired = M::Load(At(slot).acquired);
      if (const FencingToken held = HeldToken(slot); held != 0) NoteRevoked(slot, held);
      M::CompareExchange(At(slot).acquired, acquired, 0);
    }
  }

  // Token of the release that was noted last, 0: none.
  FencingToken LastReleased(SlotIndex slot) const {
    return static_cast<FencingToken>(M::Load(At(slot).released));
  }
  // Token under which this process holds `slot`, 0 if it does not.
  FencingToken HeldToken(SlotIndex slot) const {
    const uint64_t acquired = M::Load(At(slot).acquired);
    if (acquired <= M::Load(At(slot).revoked)) return 0;  // never held, too
    if (M::Load(At(slot).released) == acquired) return 0;
    return static_cast<FencingToken>(acquired);
  }

  // The audit. `asked` != 0: returns it if this process holds or is just taking that generation,
  // else 0. `asked` == 0: the generation held, if any. Records are read before the tables, for what
  // is being taken, and after them, for what is being given back.
  Generation Audit(SlotIndex slot, Generation asked) const {
    if (asked != 0 && IsTouched(slot, asked)) return asked;
    const Generation held = GenerationOf(HeldToken(slot));
    if (asked == 0 || held == asked) return held;
    // A release enters its record first and the tables then; what was noted meanwhile is seen here,
    // unless its CAS is done.
    if (IsTouched(slot, asked)) return asked;
    const uint64_t acquired = M::Load(At(slot).acquired);
    return acquired != 0 && acquired <= M::Load(At(slot).revoked) ? asked : 0;
  }

  // Returns when every acquisition that was won at the call has been noted or undone. For
  // re-declaration, after attach_gen was bumped: acquisitions won later undo themselves. `p` and
  // `owner` are of the segment that was lost. `yield` is called while one is under way, which is
  // for no longer than its thread is off the processor, and returns false to wait no longer (a late
  // note, see above, looks like one for ever).
  template <class Yield>
  void AwaitPending(const PoolWords<M>& p, SessionIndex owner, Yield&& yield) const {
    for (ThreadRecord<M>* r = First(); r != nullptr; r = r->next) {
      const uint64_t pending = M::Load(r->pending);
      while (pending != 0 && M::Load(r->pending) == pending &&
             IsWonButNotNoted(p, owner, pending)) {
        if (!yield()) return;
      }
    }
  }

  uint32_t max_capacity() const { return max_capacity_; }
  // For ThreadContext: the entry of slot i is entries()[i << shift()].
  ClaimEntry<M>* entries() const { return entries_.get(); }
  uint32_t shift() const { return shift_; }

 private:
  using Entry = ClaimEntry<M>;

  Entry& At(SlotIndex slot) const { return entries_[uint64_t{slot} << shift_]; }

  bool IsTouched(SlotIndex slot, Generation gen) const {
    const uint64_t touched = ThreadRecord<M>::Pending(slot, gen);
    for (ThreadRecord<M>* r = First(); r != nullptr; r = r->next) {
      if (M::Load(r->pending) == touched) return true;
    }
    return false;
  }

  bool IsWonButNotNoted(const PoolWords<M>& p, SessionIndex owner, uint64_t pending) const {
    const auto slot = static_cast<SlotIndex>((pending >> kGenerationBits) - 1);
    const Generation gen = pending & kGenerationMax;
    if (slot >= max_capacity_) return false;
    if (M::Load(p.Slot(slot)) != BusyWord(owner, gen)) return false;
    // Not by what was acquired last: a segment before may have had the same generation.
    return GenerationOf(HeldToken(slot)) != gen;
  }

  ThreadRecord<M>* First() const {
    return reinterpret_cast<ThreadRecord<M>*>(static_cast<uintptr_t>(M::Load(head_)));
  }

  const uint32_t max_capacity_;
  // Small pools: an entry a line, as in DATA, so that two threads with a slot each do not meet.
  const uint32_t shift_;
  std::unique_ptr<Entry[]> entries_;
  typename M::U64 head_{0};  // push-only list of records
};

}  // namespace leaseplane
