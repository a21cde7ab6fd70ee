// SPDX-License-Identifier: Apache-2.0
//
// ThreadContext: what one thread needs to take and give back slots of one pool, laid flat.
//
// A load that starts behind a compare-and-swap takes its whole latency, and the next one waits for
// it. So everything the fast path touches is a member here or one step away from one: copies of
// pointers and constants that never change while the thread is attached, and the hot entry of its
// magazine.
//
// Ownership: borrows attachment, flags, claims and record, which outlive it; the record is lent to
// the thread and bound to the attachment's segment. The hot entry is here between the constructor
// and Park, and in the record's magazine otherwise. Threads: belongs to one. Errors: none.
#pragma once

#include <cstdint>

#include "core/base/ids.h"
#include "core/pool/attachment.h"
#include "core/pool/claims.h"
#include "core/pool/magazine.h"
#include "core/pool/pool_words.h"

namespace leaseplane {

template <class M>
struct ThreadContext {
  using U32 = typename M::U32;
  using U64 = typename M::U64;

  ThreadContext() = default;
  // REQUIRES `r` bound to `a.words`.
  ThreadContext(const Attachment<M>& a, const ProcessFlags<M>& f, Claims<M>& c, ThreadRecord<M>& r)
      : attach_gen(a.attach_gen),
        session_word(a.session_word),
        take(BusyWord(a.owner, 1) - FreeWord(0)),
        busy(BusyWord(a.owner, 0)),
        slots(a.words.slots),
        slot_shift(a.words.slot_shift),
        claim_shift(c.shift()),
        claim_entries(c.entries()),
        process_word(&f.word),
        session(a.session),
        policy(a.words.policy),
        grant_bits(a.words.grant_bits),
        wcnt(a.words.wcnt),
        pending(&r.pending),
        hot(r.magazine.TakeHot()),
        attachment(&a),
        flags(&f),
        claims(&c),
        record(&r) {
    Aim();
  }

  // Keeps a slot that was given back, where this thread looks first.
  void Keep(SlotIndex slot, SlotWord word) {
    if (hot.PushSame(slot, word)) return;
    record->magazine.Push(hot, words(), slot, word);
    Aim();
  }

  // After hot.slot has changed.
  void Aim() {
    hot_word = &Slot(hot.slot);
    hot_claim = &Claim(hot.slot);
    hot_grant_bits = &grant_bits[hot.slot / 64];
    hot_grant_bit = uint64_t{1} << (hot.slot % 64);
    hot_pending = ThreadRecord<M>::Pending(hot.slot, 1) - FreeWord(0);
  }
  // The fast path is for the plain policy: gate open, releases write FREE.
  void Learn(uint64_t seen) {
    const bool is_plain = shm::GateOf(seen) == shm::Gate::kOpen &&
                          shm::ReleaseWordOf(seen) == shm::ReleaseWord::kFree;
    if (!is_plain || seen == plain_policy) return;
    plain_policy = seen;
    token_base = static_cast<uint64_t>(MakeToken(shm::PolicyEpoch(seen), 0));
    token_offset = token_base + 1 - FreeWord(0);
  }

  // After a try that came to nothing: what it touched is not being taken, so the audit need not
  // hear of it for as long as the thread does nothing else.
  void Untouch() { M::StoreRelease(*pending, 0); }

  // Puts the hot entry where the next context of this record finds it, or the segment if there is
  // none. The context is not used afterwards.
  void Park() { record->magazine.PutHot(hot); }

  LEASEPLANE_HOT U64& Slot(SlotIndex i) const { return slots[uint64_t{i} << slot_shift]; }
  LEASEPLANE_HOT ClaimEntry<M>& Claim(SlotIndex i) const {
    return claim_entries[uint64_t{i} << claim_shift];
  }
  LEASEPLANE_HOT bool IsGranted(SlotIndex i) const {
    return (M::Load(grant_bits[i / 64]) >> (i % 64) & 1) != 0;
  }
  LEASEPLANE_HOT bool SessionLives() const { return M::Load(*session) == session_word; }
  const PoolWords<M>& words() const { return attachment->words; }

  // Constants of the attachment. FREE|g + take == BUSY|owner|g+1, and busy == BUSY|owner|0.
  uint64_t attach_gen = 0;
  uint64_t session_word = 0;
  uint64_t take = 0;
  SlotWord busy = 0;
  U64* slots = nullptr;
  uint32_t slot_shift = 0;
  uint32_t claim_shift = 0;
  ClaimEntry<M>* claim_entries = nullptr;
  // Shared words.
  const U64* process_word = nullptr;  // ProcessFlags::word
  const U64* session = nullptr;
  const U64* policy = nullptr;
  const U64* grant_bits = nullptr;
  U64* wcnt = nullptr;
  U64* pending = nullptr;  // the record's

  // What the policy read when it was plain, 0: not known; the token of its epoch's generation 0,
  // and by what a token is larger than the FREE word it came from.
  uint64_t plain_policy = 0;
  uint64_t token_base = 0;
  uint64_t token_offset = 0;
  // Of what is given back on the fast path. A member, for it is no operand of a comparison else.
  Generation generation_limit = kGrantableGenerationMax;

  HotEntry hot;
  // Of hot.slot.
  U64* hot_word = nullptr;
  ClaimEntry<M>* hot_claim = nullptr;
  const U64* hot_grant_bits = nullptr;
  uint64_t hot_grant_bit = 0;
  uint64_t hot_pending = 0;  // Pending(slot, g+1) == FREE|g + hot_pending

  // For what is not on the fast path.
  const Attachment<M>* attachment = nullptr;
  const ProcessFlags<M>* flags = nullptr;
  Claims<M>* claims = nullptr;
  ThreadRecord<M>* record = nullptr;
};

}  // namespace leaseplane
