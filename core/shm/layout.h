// SPDX-License-Identifier: Apache-2.0
//
// The binary layout of the four kinds of shared segment, version 1. The same facts stand in three
// forms that check each other: LAYOUT.md (prose), the structs and offsets here (static_asserts),
// and tests/unit/core/shm/layout_test.cc (golden bytes).
//
// Offsets only, never pointers; fixed-width little-endian integers; every shared word is 4 or 8
// bytes and naturally aligned. Nothing here reads or writes memory.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/base/ids.h"

namespace leaseplane::shm {

inline constexpr uint32_t kMagic = 0xBEEFC0DE;
inline constexpr uint16_t kAbiMajor = 1;  // must match exactly
inline constexpr uint16_t kAbiMinor = 0;  // the client's may be lower than the daemon's
inline constexpr size_t kPageBytes = 4096;

enum class SegmentKind : uint32_t { kData = 1, kCtl = 2, kMeta = 3, kSess = 4 };

// Part of CtlHeader::policy.
enum class Gate : uint32_t {
  kOpen = 0,    // slots may be granted by direct CAS
  kNotify = 1,  // as open, but every release also bumps dseq: the daemon waits for a slot too
  kClosed = 2,  // only the daemon grants, in the order of its queue
};

// Part of CtlHeader::policy: what every path out of BUSY writes.
enum class ReleaseWord : uint32_t { kFree = 0, kLocked = 1 };

// CtlHeader::policy: what the fast path has to know, in one word, so that it loads one.
//
//   63                 32 31           8 7     0
//  +---------------------+--------------+-------+
//  |        epoch        | release word |  gate |
//  +---------------------+--------------+-------+
constexpr uint64_t MakePolicy(Epoch epoch, Gate gate, ReleaseWord release_word) {
  return uint64_t{epoch} << 32 | uint64_t{static_cast<uint32_t>(release_word)} << 8 |
         uint64_t{static_cast<uint32_t>(gate)};
}
constexpr Gate GateOf(uint64_t policy) { return static_cast<Gate>(policy & 0xff); }
constexpr ReleaseWord ReleaseWordOf(uint64_t policy) {
  return static_cast<ReleaseWord>(policy >> 8 & 0xffffff);
}
constexpr Epoch PolicyEpoch(uint64_t policy) { return static_cast<Epoch>(policy >> 32); }

// First bytes of CTL, META and SESS (DATA has no header: clients write there, so nothing in it is
// believed). `magic` is stored last, with release order; zero means "not ready".
struct SegmentHeader {
  uint32_t magic;
  uint16_t abi_major;
  uint16_t abi_minor;
  uint32_t kind;          // SegmentKind
  uint32_t header_bytes;  // length of this struct and what follows it in the header page
  uint64_t segment_bytes;
  uint64_t pool_uid;  // random, the same in DATA's, CTL's and META's pool; 0 in SESS
};
static_assert(sizeof(SegmentHeader) == 32);

// Page 0 of CTL. The daemon writes, clients map it read-only. Geometry is written once, before
// `magic`; the hot words change and are read by clients after each CAS.
struct CtlHeader {
  SegmentHeader segment;       //   0
  uint32_t max_capacity;       //  32  slots the segment has room for
  uint32_t slot_stride_bytes;  //  36  64 iff max_capacity <= 64, else 8
  uint64_t data_bytes;         //  40
  uint64_t slots_offset;       //  48  in DATA
  uint64_t records_offset;     //  56  in DATA: finder records
  uint32_t record_count;       //  64
  uint32_t record_bytes;       //  68
  uint64_t bitmap_offset;      //  72  in DATA: finder bitmap
  uint64_t grant_bits_offset;  //  80  in CTL
  uint32_t base_epoch;         //  88  epoch in which this segment's generations started
  uint32_t reserved0;          //  92
  uint64_t reserved1[4];       //  96
  // -- hot words, own cache line
  uint64_t policy;          // 128  epoch, Gate and ReleaseWord; read after each won CAS
  uint32_t drained;         // 136  not 0: an operator lets nobody in; the gate is closed too
  uint32_t reserved5;       // 140
  uint32_t active_records;  // 144  finder records in use, counted by the tick
  uint32_t reserved2;       // 148
  uint64_t reserved3[5];    // 152
  // -- heartbeat, own cache line: it changes all the time
  uint64_t heartbeat;     // 192  counter; observers time its changes by their own clock
  uint64_t reserved4[7];  // 200
};
static_assert(sizeof(CtlHeader) == 256);
static_assert(offsetof(CtlHeader, max_capacity) == 32);
static_assert(offsetof(CtlHeader, slots_offset) == 48);
static_assert(offsetof(CtlHeader, grant_bits_offset) == 80);
static_assert(offsetof(CtlHeader, base_epoch) == 88);
static_assert(offsetof(CtlHeader, policy) == 128);
static_assert(offsetof(CtlHeader, drained) == 136);
static_assert(offsetof(CtlHeader, active_records) == 144);
static_assert(offsetof(CtlHeader, heartbeat) == 192);

// Page 0 of META: resource strings. The table of max_capacity+1 offsets follows the header; string
// i is the bytes [offset[i], offset[i+1]) from strings_offset.
struct MetaHeader {
  SegmentHeader segment;    //  0
  uint32_t string_count;    // 32
  uint32_t reserved0;       // 36
  uint64_t table_offset;    // 40  u32[string_count + 1]
  uint64_t strings_offset;  // 48
  uint64_t strings_bytes;   // 56
};
static_assert(sizeof(MetaHeader) == 64);

// SESS: page 0 is the header, then u64 session_word[kOwnerCount].
struct SessHeader {
  SegmentHeader segment;  //  0
  uint64_t words_offset;  // 32
  uint32_t word_count;    // 40
  uint32_t reserved0;     // 44
  uint64_t instance_uid;  // 48  random per daemon start that created the segment
  uint64_t reserved1;     // 56
};
static_assert(sizeof(SessHeader) == 64);

// Session word: `state:2 << 62 | value:62`. Unique per registration; compared for equality only.
enum class SessionState : uint64_t { kNone = 0, kActive = 1, kRevoked = 2 };
inline constexpr int kSessionStateShift = 62;
constexpr uint64_t MakeSessionWord(SessionState state, uint64_t value) {
  return (static_cast<uint64_t>(state) << kSessionStateShift) |
         (value & ((uint64_t{1} << kSessionStateShift) - 1));
}
constexpr SessionState SessionStateOf(uint64_t word) {
  return static_cast<SessionState>(word >> kSessionStateShift);
}

// DATA: fixed words first, each on a cache line of its own.
inline constexpr size_t kWseqOffset = 0;             // u32 futex word of local waiters
inline constexpr size_t kDseqOffset = 64;            // u32 futex word of the daemon
inline constexpr size_t kWcntOffset = 128;           // u64, see pool_words.h: who waits
inline constexpr size_t kRecordSummaryOffset = 512;  // u64[64]: which finder records are claimed
inline constexpr size_t kSummaryRootOffset = 1024;   // u64: which words of the summary are not 0
inline constexpr size_t kSlotsOffset = kPageBytes;
inline constexpr uint32_t kPaddedCapacityMax = 64;  // up to here one slot a cache line
inline constexpr uint32_t kRecordCountMax = 4096;
inline constexpr uint32_t kRecordEntryCount = 32;
inline constexpr int kBitmapLevelsMax = 4;

// One thread's record of the finder.
struct FinderRecord {
  uint64_t claim;                       //   0  session index of the process, 0: nobody's
  uint64_t reserved0[7];                //   8
  uint32_t entries[kRecordEntryCount];  //  64  slot + 1, 0: nothing; written by its thread
  uint64_t reserved1[8];                // 192
};
static_assert(sizeof(FinderRecord) == 256);
static_assert(offsetof(FinderRecord, entries) == 64);
inline constexpr uint32_t kRecordBytes = sizeof(FinderRecord);

// Sizes and offsets of one pool's segments, a pure function of max_capacity.
struct Geometry {
  uint32_t max_capacity;
  uint32_t slot_stride_bytes;
  uint32_t record_count;
  uint32_t grant_word_count;
  uint64_t records_offset;
  uint64_t bitmap_offset;
  uint64_t bitmap_word_count;  // all levels, leaves first
  uint64_t data_bytes;
  uint64_t ctl_bytes;
};

constexpr uint64_t RoundUpToPage(uint64_t bytes) {
  return (bytes + kPageBytes - 1) & ~uint64_t{kPageBytes - 1};
}

// REQUIRES 1 <= max_capacity <= kCapacityMax.
constexpr Geometry MakeGeometry(uint32_t max_capacity) {
  Geometry g{};
  g.max_capacity = max_capacity;
  g.slot_stride_bytes = max_capacity <= kPaddedCapacityMax ? kCacheLineBytes : 8;
  g.record_count = max_capacity < kRecordCountMax / 4 ? 4 * max_capacity : kRecordCountMax;
  g.grant_word_count = (max_capacity + 63) / 64;
  g.records_offset = kSlotsOffset + RoundUpToPage(uint64_t{max_capacity} * g.slot_stride_bytes);
  g.bitmap_offset = g.records_offset + RoundUpToPage(uint64_t{g.record_count} * kRecordBytes);
  uint64_t level = max_capacity;
  do {
    level = (level + 63) / 64;
    g.bitmap_word_count += level;
  } while (level > 1);
  g.data_bytes = g.bitmap_offset + RoundUpToPage(g.bitmap_word_count * 8);
  g.ctl_bytes = kPageBytes + RoundUpToPage(uint64_t{g.grant_word_count} * 8);
  return g;
}

inline constexpr uint64_t kSessBytes = kPageBytes + uint64_t{kOwnerCount} * 8;

}  // namespace leaseplane::shm
