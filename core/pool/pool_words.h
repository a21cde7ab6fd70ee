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

// The waiter count: `round:32 << 32 | count:32`. The count is a hint that is rebuilt by
// re-registration; the round says which rebuild an enlisted waiter belongs to.
constexpr uint32_t WaiterCount(uint64_t wcnt) { return static_cast<uint32_t>(wcnt); }
constexpr uint32_t WaiterRound(uint64_t wcnt) { return static_cast<uint32_t>(wcnt >> 32); }

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

// Wakes one enlisted local waiter, if there is any. One call per slot that became free.
template <class M>
void WakePart(const PoolWords<M>& p) noexcept {
  if (WaiterCount(M::Load(*p.wcnt)) == 0) return;
  M::FetchAdd(*p.wseq, 1);
  M::FutexWake(*p.wseq, 1);
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
