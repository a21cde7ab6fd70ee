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

template <class M>
struct PoolWords {
  using U32 = typename M::U32;
  using U64 = typename M::U64;

  // DATA: clients and daemon write.
  U64* slots = nullptr;
  uint32_t slot_stride = 1;  // in words: 1 or 8
  uint32_t max_capacity = 0;
  U32* wseq = nullptr;
  U32* dseq = nullptr;
  U64* wcnt = nullptr;
  // CTL and SESS: the daemon writes, clients have a read-only mapping.
  U64* epoch = nullptr;
  U32* gate = nullptr;
  U32* release_word = nullptr;
  U64* heartbeat = nullptr;
  U64* grant_bits = nullptr;
  U64* sessions = nullptr;

  U64& Slot(SlotIndex i) const { return slots[uint64_t{i} * slot_stride]; }
  bool IsGranted(SlotIndex i) const { return (M::Load(grant_bits[i / 64]) >> (i % 64) & 1) != 0; }
  bool GateClosed() const { return M::Load(*gate) == static_cast<uint32_t>(shm::Gate::kClosed); }
  // after(BUSY): what every path out of BUSY writes, but for the undo of a grant that nobody was
  // told of.
  SlotWord AfterBusy(Generation gen) const {
    return M::Load(*release_word) == static_cast<uint32_t>(shm::ReleaseWord::kFree)
               ? FreeWord(gen)
               : LockedWord(gen);
  }
};

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
void WakeAfterFree(const PoolWords<M>& p, bool wrote_locked, bool gate_void) noexcept {
  const uint32_t gate = M::Load(*p.gate);
  if (wrote_locked || gate != static_cast<uint32_t>(shm::Gate::kOpen)) {
    M::FetchAdd(*p.dseq, 1);
    M::FutexWake(*p.dseq, 1);
  }
  if (wrote_locked) return;
  if (gate != static_cast<uint32_t>(shm::Gate::kClosed) || gate_void) WakePart(p);
}

}  // namespace leaseplane
