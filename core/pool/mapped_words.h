// SPDX-License-Identifier: Apache-2.0
//
// From mapped segments to the words of one pool; the same on the daemon's and the client's side.
#pragma once

#include "core/pool/memory.h"
#include "core/pool/pool_words.h"
#include "core/shm/layout.h"
#include "core/shm/segment.h"

namespace leaseplane {

// Where the words of a pool are. `base` and `sess` stay mapped while a copy of the result is in
// use. A client's CTL and SESS are mapped read-only: it must not store through their pointers.
// REQUIRES checked or self-made geometry.
inline PoolWords<RealMemory> WordsOf(const shm::PoolBase& base, std::byte* sess) {
  auto u32 = [](std::byte* from, uint64_t offset) {
    return shm::At<RealMemory::U32>(from, offset);
  };
  auto u64 = [](std::byte* from, uint64_t offset) {
    return shm::At<RealMemory::U64>(from, offset);
  };
  PoolWords<RealMemory> words;
  words.slots = u64(base.data, shm::kSlotsOffset);
  words.slot_shift = base.geometry.slot_stride_bytes == kCacheLineBytes ? 3 : 0;
  words.max_capacity = base.geometry.max_capacity;
  words.wseq = u32(base.data, shm::kWseqOffset);
  words.dseq = u32(base.data, shm::kDseqOffset);
  words.wcnt = u64(base.data, shm::kWcntOffset);
  words.policy = u64(base.ctl, offsetof(shm::CtlHeader, policy));
  words.drained = u32(base.ctl, offsetof(shm::CtlHeader, drained));
  words.heartbeat = u64(base.ctl, offsetof(shm::CtlHeader, heartbeat));
  words.grant_bits = u64(base.ctl, shm::kPageBytes);
  words.sessions = u64(sess, shm::kPageBytes);
  words.finder.records = shm::At<FinderRecord<RealMemory>>(base.data, base.geometry.records_offset);
  words.finder.record_count = base.geometry.record_count;
  words.finder.summary = u64(base.data, shm::kRecordSummaryOffset);
  words.finder.summary_root = u64(base.data, shm::kSummaryRootOffset);
  words.finder.active_records = u32(base.ctl, offsetof(shm::CtlHeader, active_records));
  LayLevels(words.finder, u64(base.data, base.geometry.bitmap_offset), words.max_capacity);
  return words;
}

}  // namespace leaseplane
