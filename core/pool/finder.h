// SPDX-License-Identifier: Apache-2.0
//
// The finder: where a free slot probably is. All of it is hints. The slot word stays the only
// truth, every hint ends in the CAS of a whole word and the checks after it, so a wrong, stale or
// hostile hint costs time and nothing else; a hint that got lost is found again by the daemon's
// scan (Authority::Scan).
//
//   magazine   a thread's own stack of (slot, exact FREE word seen), process-private. Its top is
//   the
//              hot entry: take and give back the same slot, and no shared line is touched but the
//              slot's own.
//   record     in DATA, one a thread: the slots of its magazine, for thieves. It is written when a
//              place gets another entry or, but for the hot one, none; so the hot one may be used
//              up, and a thief looks at the slot's word anyway. Nobody but the owner writes it, the
//              owner never reads it.
//   bitmap     in DATA, one bit a slot and 64-ary levels above: slots in no magazine.
//
// The order of a search: hot entry, magazine, half a leaf of the bitmap (one fetch_and), the
// records of others. Each step is bounded whatever DATA holds.
//
// Why the cached word must be a FREE word: a word that was BUSY when it was noted could be the
// expected value of a CAS that takes a slot from its living holder.
//
// The shape is that of HikariCP's ConcurrentBag (thread-local list, shared list, theft) over the
// hierarchical bitmap of word-level allocators.
//
// Threads: a Magazine belongs to one thread; bitmap and records are shared, by atomic operations.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>

#include "core/base/ids.h"
#include "core/pool/pool_words.h"
#include "core/pool/slot_word.h"

namespace leaseplane {

// Records a search for theft looks into before it gives up.
inline constexpr uint32_t kTheftRecordsMax = 64;
// Empty words met below a set bit before a search of the bitmap gives up.
inline constexpr int kBitmapTriesMax = 16;

// -- bitmap

// Makes `slot` findable. Also for the daemon: DATA is only written here, nothing read is believed.
template <class M>
void PublishSlot(const PoolWords<M>& p, SlotIndex slot) noexcept {
  uint64_t i = slot;
  for (int level = 0; level < p.finder.level_count; ++level) {
    const uint64_t before = M::FetchOr(p.finder.level[level][i / 64], uint64_t{1} << (i % 64));
    if (before != 0) return;  // the levels above know of this word
    i /= 64;
  }
}

// Says above `level` that its word `i` is empty, and takes that back if it is not any more.
template <class M>
void RetractWord(const PoolWords<M>& p, int level, uint64_t i) noexcept {
  for (int above = level + 1; above < p.finder.level_count; ++above) {
    const uint64_t bit = uint64_t{1} << (i % 64);
    auto& word = p.finder.level[above][i / 64];
    const uint64_t before = M::FetchAnd(word, ~bit);
    if (M::Load(p.finder.level[above - 1][i]) != 0) {
      M::FetchOr(word, bit);
      return;
    }
    if ((before & ~bit) != 0) return;
    i /= 64;
  }
}

struct LeafBits {
  SlotIndex first = 0;  // slot of bit 0
  uint64_t bits = 0;    // taken; 0: nothing found
};

// The first set bit at or after `from`, wrapping round. REQUIRES word != 0.
inline uint32_t BitFrom(uint64_t word, uint32_t from) {
  const uint64_t rotated = std::rotr(word, static_cast<int>(from));
  return (static_cast<uint32_t>(std::countr_zero(rotated)) + from) % 64;
}

// At most `wanted` and at most half (rounded up) of the bits of `word`, from bit `from` on.
inline uint64_t PickBits(uint64_t word, uint32_t from, uint32_t wanted) {
  uint64_t rest = std::rotr(word, static_cast<int>(from));
  const auto half = static_cast<uint32_t>(std::popcount(word) + 1) / 2;
  uint64_t picked = 0;
  for (uint32_t n = std::min(wanted, half); n > 0; --n) {
    picked |= rest & (~rest + 1);
    rest &= rest - 1;
  }
  return std::rotl(picked, static_cast<int>(from));
}

// No word has a bit set, by the word at the top: all that most searches of a full pool see.
template <class M>
bool IsBitmapEmpty(const PoolWords<M>& p) noexcept {
  return M::LoadHint(p.finder.level[p.finder.level_count - 1][0]) == 0;
}

inline constexpr uint64_t kNoLeaf = ~uint64_t{0};

// A leaf that the levels above call not empty: down from the top, at each level the next set bit
// after the way to `home`. `stale` is set if a bit was met that led nowhere, and has been cleared.
template <class M>
uint64_t FindLeaf(const PoolWords<M>& p, SlotIndex home, bool& stale) noexcept {
  stale = false;
  if (p.finder.level_count == 1) return kNoLeaf;  // the only leaf was looked at
  uint64_t index = 0;
  for (int level = p.finder.level_count - 1; level > 0; --level) {
    const uint64_t bits = M::LoadHint(p.finder.level[level][index]);
    if (bits == 0) {
      stale = level != p.finder.level_count - 1;
      if (stale) RetractWord(p, level, index);
      return kNoLeaf;
    }
    const uint64_t way = (home >> (6 * level)) % 64;
    index = index * 64 + BitFrom(bits, static_cast<uint32_t>(way));
    if (index >= p.finder.level_words[level - 1]) return kNoLeaf;  // a hostile bit
  }
  return index;
}

// Takes bits out of one leaf, near `home`.
template <class M>
LeafBits TakeBits(const PoolWords<M>& p, SlotIndex home, uint32_t wanted) noexcept {
  uint64_t leaf = home / 64;
  for (int tries = 0; tries < kBitmapTriesMax; ++tries) {
    auto& word = p.finder.level[0][leaf];
    const uint64_t seen = M::LoadHint(word);
    if (seen != 0) {
      const uint64_t picked = PickBits(seen, home % 64, wanted);
      const uint64_t before = M::FetchAnd(word, ~picked);
      if ((before & ~picked) == 0) RetractWord(p, 0, leaf);
      if ((before & picked) != 0) return {static_cast<SlotIndex>(leaf * 64), before & picked};
      continue;
    }
    if (tries != 0) RetractWord(p, 0, leaf);  // the level above had a bit for it
    bool stale = false;
    do {
      leaf = FindLeaf(p, home, stale);
    } while (stale && ++tries < kBitmapTriesMax);
    if (leaf == kNoLeaf) return {};
  }
  return {};
}

// -- records

// Claims a record for a thread of session `owner`; record_count if none is free.
template <class M>
uint32_t ClaimRecord(const PoolWords<M>& p, SessionIndex owner) noexcept {
  for (uint32_t r = 0; r < p.finder.record_count; ++r) {
    auto& record = p.finder.records[r];
    if (M::LoadHint(record.claim) != 0 || !M::CompareExchange(record.claim, 0, owner)) continue;
    M::FetchOr(p.finder.summary[r / 64], uint64_t{1} << (r % 64));
    M::FetchOr(*p.finder.summary_root, uint64_t{1} << (r / 64));
    return r;
  }
  return p.finder.record_count;
}

// Gives record `r` back; its entries are worthless from here on. The daemon does it for the dead.
template <class M>
void FreeRecord(const PoolWords<M>& p, uint32_t r) noexcept {
  auto& record = p.finder.records[r];
  for (auto& entry : record.entries) M::StoreHint(entry, 0);
  M::FetchAnd(p.finder.summary[r / 64], ~(uint64_t{1} << (r % 64)));
  if (M::Load(p.finder.summary[r / 64]) == 0) {
    M::FetchAnd(*p.finder.summary_root, ~(uint64_t{1} << (r / 64)));
    if (M::Load(p.finder.summary[r / 64]) != 0) {
      M::FetchOr(*p.finder.summary_root, uint64_t{1} << (r / 64));
    }
  }
  M::Store(record.claim, 0);
}

// Calls `visit(slot)` with what those records of a group of 64 name that `bits` says, until it
// returns true or `budget` records were looked into. The slots are in range and otherwise unproved.
template <class M, class Visit>
bool VisitGroup(const PoolWords<M>& p, uint32_t group, uint64_t bits, uint32_t& budget,
                const Visit& visit) noexcept {
  for (; bits != 0 && budget != 0; bits &= bits - 1) {
    const uint32_t r = group * 64 + static_cast<uint32_t>(std::countr_zero(bits));
    if (r >= p.finder.record_count) return false;  // a hostile bit, and so are those above
    --budget;
    for (const auto& entry : p.finder.records[r].entries) {
      const uint32_t named = M::LoadHint(entry);
      if (named == 0) break;
      if (named <= p.max_capacity && visit(SlotIndex{named - 1})) return true;
    }
  }
  return false;
}

// The same with the groups in `groups`, from the one after `home` on and round.
template <class M, class Visit>
bool VisitFarGroups(const PoolWords<M>& p, uint32_t home, uint64_t groups, uint32_t& budget,
                    const Visit& visit) noexcept {
  for (const uint64_t side : {~uint64_t{0} << home, ~(~uint64_t{0} << home)}) {
    for (uint64_t rest = groups & side; rest != 0 && budget != 0; rest &= rest - 1) {
      const auto group = static_cast<uint32_t>(std::countr_zero(rest));
      if (VisitGroup(p, group, M::LoadHint(p.finder.summary[group]), budget, visit)) return true;
    }
  }
  return false;
}

// The same with all records but `self`, from the one after it on and round, so that thieves do not
// all begin at the same victim. `self` may be record_count: none.
template <class M, class Visit>
bool VisitRecords(const PoolWords<M>& p, uint32_t self, const Visit& visit) noexcept {
  const uint32_t start = self < p.finder.record_count ? self : 0;
  const uint32_t home = start / 64;
  const uint64_t behind = ~uint64_t{0} << (start % 64);
  uint64_t near = M::LoadHint(p.finder.summary[home]);
  if (start == self) near &= ~(uint64_t{1} << (start % 64));
  uint32_t budget = kTheftRecordsMax;
  if ((near & behind) != 0 && VisitGroup(p, home, near & behind, budget, visit)) return true;
  const uint64_t far = M::LoadHint(*p.finder.summary_root) & ~(uint64_t{1} << home);
  if (far != 0 && VisitFarGroups(p, home, far, budget, visit)) return true;
  return (near & ~behind) != 0 && VisitGroup(p, home, near & ~behind, budget, visit);
}

}  // namespace leaseplane
