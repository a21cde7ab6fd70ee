// SPDX-License-Identifier: Apache-2.0
//
// PoolWords: where the shared words of one pool are, for either side of the mapping. A bundle of
// pointers without ownership; whoever maps the segments keeps them mapped while a copy is in use.
#pragma once

#include <cstdint>

#include "core/base/ids.h"
#include "core/pool/memory.h"
#include "core/pool/slot_word.h"
#include "core/shm/layout.h"

namespace leaseplane {

// The waiter count: `round:22 | more:1 | waking:1 | starved:20 | count:20`. The counts are hints
// that are rebuilt by re-registration; the round says which rebuild an enlisted waiter belongs to.
// `starved`: was woken and found nothing, and is the next to be woken; one of `count`. `waking`: a
// waiter was woken and has not looked yet; it clears the bit and then looks, so no other one need
// be woken. `more`: one would have been, and if the first one finds a slot it wakes the next.
inline constexpr int kWaiterCountBits = 20;
inline constexpr uint64_t kOneStarved = uint64_t{1} << kWaiterCountBits;
inline constexpr uint64_t kWaking = uint64_t{1} << 2 * kWaiterCountBits;
inline constexpr uint64_t kMoreToWake = kWaking << 1;
inline constexpr int kWaiterRoundShift = 2 * kWaiterCountBits + 2;
constexpr uint32_t WaiterCount(uint64_t wcnt) {
  return static_cast<uint32_t>(wcnt & (kOneStarved - 1));
}
constexpr uint32_t StarvedCount(uint64_t wcnt) { return WaiterCount(wcnt >> kWaiterCountBits); }
constexpr uint32_t WaiterRound(uint64_t wcnt) {
  return static_cast<uint32_t>(wcnt >> kWaiterRoundShift);
}
constexpr uint64_t EmptyWaiterCount(uint32_t round) { return uint64_t{round} << kWaiterRoundShift; }

// after(BUSY): what every path out of BUSY writes, but for the undo of a grant that nobody was told
// of.
constexpr SlotWord WordAfterBusy(uint64_t policy, Generation gen) {
  return shm::ReleaseWordOf(policy) == shm::ReleaseWord::kFree ? FreeWord(gen) : LockedWord(gen);
}

// One thread's record of the finder, as shm::FinderRecord has it.
template <class M>
struct FinderRecord {
  typename M::U64 claim;
  uint64_t reserved0[7];
  typename M::U32 entries[shm::kRecordEntryCount];
  uint64_t reserved1[8];
};
static_assert(sizeof(FinderRecord<RealMemory>) == shm::kRecordBytes);

// Where the hints are (see finder.h). DATA, but for `active_records`.
template <class M>
struct FinderWords {
  FinderRecord<M>* records = nullptr;
  uint32_t record_count = 0;
  int level_count = 0;
  typename M::U64* summary = nullptr;
  typename M::U64* summary_root = nullptr;
  typename M::U64* level[shm::kBitmapLevelsMax] = {};  // 0: one bit a slot
  uint64_t level_words[shm::kBitmapLevelsMax] = {};
  typename M::U32* active_records = nullptr;  // CTL
};

template <class M>
struct PoolWords {
  using U32 = typename M::U32;
  using U64 = typename M::U64;

  // DATA: clients and daemon write.
  U64* slots = nullptr;
  uint32_t slot_shift = 0;  // log2 of the words from one slot to the next: 0 or 3
  uint32_t max_capacity = 0;
  U32* wseq = nullptr;
  U32* dseq = nullptr;
  U64* wcnt = nullptr;
  // CTL and SESS: the daemon writes, clients have a read-only mapping.
  U64* policy = nullptr;  // epoch, shm::Gate and shm::ReleaseWord
  U32* drained = nullptr;
  U64* heartbeat = nullptr;
  U64* grant_bits = nullptr;
  U64* sessions = nullptr;
  FinderWords<M> finder;
  // META, the daemon's alone; clients have none: SlotShadow::base_epoch over a worker's death.
  U32* base_epochs = nullptr;

  U64& Slot(SlotIndex i) const { return slots[uint64_t{i} << slot_shift]; }
  bool IsGranted(SlotIndex i) const { return (M::Load(grant_bits[i / 64]) >> (i % 64) & 1) != 0; }
  shm::Gate gate() const { return shm::GateOf(M::Load(*policy)); }
  bool GateClosed() const { return gate() == shm::Gate::kClosed; }
  // An operator lets nobody in. Meant for who finds the gate closed, or no slot.
  bool Drained() const { return M::Load(*drained) != 0; }
  SlotWord AfterBusy(Generation gen) const { return WordAfterBusy(M::Load(*policy), gen); }
};

// Lays the levels of the bitmap over `words`, leaves first. REQUIRES as many words as the geometry
// of `max_capacity` says.
template <class M>
void LayLevels(FinderWords<M>& finder, typename M::U64* words, uint32_t max_capacity) {
  uint64_t count = max_capacity;
  finder.level_count = 0;
  do {
    count = (count + 63) / 64;
    finder.level[finder.level_count] = words;
    finder.level_words[finder.level_count++] = count;
    words += count;
  } while (count > 1);
}

// Whoever looks next clears the two bits first. What they were.
template <class M>
uint64_t EndWaking(const PoolWords<M>& p) noexcept {
  const uint64_t bits = kWaking | kMoreToWake;
  if ((M::Load(*p.wcnt) & bits) == 0) return 0;
  return M::FetchAnd(*p.wcnt, ~bits) & bits;
}

// One sleeper; false: nobody sleeps. A starved waiter that is awake looks once more before it
// sleeps, because the bits are set, or does not fall asleep, because wseq has changed.
template <class M>
bool WakeOne(const PoolWords<M>& p, uint64_t wcnt) noexcept {
  M::FetchAdd(*p.wseq, 1);
  const bool is_starved = StarvedCount(wcnt) != 0;
  const int woken = M::FutexWake(*p.wseq, 1, is_starved ? kStarvedSleeper : kAnySleeper);
  return is_starved || woken != 0;
}

// Sees to it that an enlisted local waiter looks, if there is any. One call per slot that became
// free. `more`: the one that is woken is to go on with it.
template <class M>
void WakePart(const PoolWords<M>& p, bool more = false) noexcept {
  constexpr int kTriesMax = 1000;  // a hostile writer can make each of them fail
  for (int tries = 0; tries < kTriesMax; ++tries) {
    const uint64_t wcnt = M::Load(*p.wcnt);
    if (WaiterCount(wcnt) == 0) return;
    const bool is_waking = (wcnt & kWaking) != 0;
    const uint64_t next = wcnt | kWaking | (is_waking || more ? kMoreToWake : 0);
    if (is_waking && next == wcnt) return;
    if (!M::CompareExchange(*p.wcnt, wcnt, next)) continue;
    // Nobody sleeps: whoever is about to sees that wseq has changed. The bits must not stay, and
    // who relied on them is not to be forgotten.
    if (is_waking || WakeOne(p, wcnt) || (EndWaking(p) & kMoreToWake) == 0) return;
  }
}

// The wake that follows a word that left BUSY. The gate is loaded here, after that CAS: either
// this load sees a closed gate, or the daemon's scan after closing it sees the free slot.
// The gate alone decides about the daemon; `gate_void` (the daemon's heart stands still) adds the
// wake of a local waiter and takes nothing away.
template <class M>
[[gnu::noinline]] void WakeWhoeverWaits(const PoolWords<M>& p, shm::Gate gate, bool wrote_locked,
                                        bool gate_void) noexcept {
  if (wrote_locked || gate != shm::Gate::kOpen) {
    M::FetchAdd(*p.dseq, 1);
    M::FutexWake(*p.dseq, 1);
  }
  if (wrote_locked) return;
  if (gate != shm::Gate::kClosed || gate_void) WakePart(p);
}

template <class M>
LEASEPLANE_HOT void WakeAfterFree(const PoolWords<M>& p, bool wrote_locked,
                                  bool gate_void) noexcept {
  const shm::Gate gate = p.gate();
  const bool nobody = gate == shm::Gate::kOpen && WaiterCount(M::Load(*p.wcnt)) == 0;
  if (!nobody || wrote_locked) [[unlikely]]
    WakeWhoeverWaits(p, gate, wrote_locked, gate_void);
}

}  // namespace leaseplane
