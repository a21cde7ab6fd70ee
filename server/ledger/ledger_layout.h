// SPDX-License-Identifier: Apache-2.0
//
// Layout of a ledger file. Private to this folder; a file never leaves its host, so integers are
// in host byte order.
//
//   0      header (one page)
//   4096   lease words      u64[max_capacity]       then lease bodies      [max_capacity]
//          tombstone words  u64[tombstone_count+1]  then tombstone bodies  [tombstone_count+1]
//          lock words       u64[max_capacity+1]     then lock bodies       [max_capacity+1]
//
// Invariants (a record is its word and its body):
//   I1  A record with word 0 is empty; its body means nothing.
//   I2  A body is only written while nobody believes it: its word is 0, its tombstone is no longer
//       in force (I4), or it is the one of a lease's two terms that the word does not select.
//   I3  Lease word = token | selected term << 63. At most one word a slot, at index slot.
//   I4  Tombstone word = number n, at index n mod (count+1). Numbers rise by one; those above
//       newest - count are in force. The place of the next one therefore holds none in force.
//   I5  Lock word = version, rising with every lock. Of two records of one slot the higher one is
//   in
//       force; the other is left over from a kill.
//   I6  A live lease whose token is also in the newest tombstone has ended.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "server/engine/types.h"

namespace leaseplane::ledger {

inline constexpr uint64_t kLedgerMagic = 0x31524544474C504CULL;  // "LPLGDER1" as stored
inline constexpr uint32_t kLedgerVersion = 3;
inline constexpr uint32_t kHeaderBytes = 4096;
inline constexpr uint64_t kTermBit = uint64_t{1} << 63;

struct LedgerHeader {
  uint64_t magic;
  uint32_t version;
  uint32_t header_bytes;
  uint32_t lease_body_bytes;
  uint32_t tombstone_body_bytes;
  uint32_t lock_body_bytes;
  uint32_t max_capacity;
  uint32_t tombstone_count;
  uint32_t pool_id_bytes;
  uint64_t pool_uid[2];
  uint64_t boot_id[2];
  char pool_id[64];
  uint32_t checksum;  // of everything above
  uint32_t reserved;
  uint64_t clean;  // 1: the last process stopped in good order
  uint64_t hold_off_until_at_ns;
};
static_assert(sizeof(LedgerHeader) == 160 && offsetof(LedgerHeader, checksum) == 136);
static_assert(sizeof(LedgerHeader) <= kHeaderBytes);

struct LeaseTerm {
  int64_t ttl_ns;
  int64_t deadline_at_ns;
  int64_t revoke_at_ns;
  uint32_t checksum;  // of the token and what is above
  uint32_t reserved;
};
static_assert(sizeof(LeaseTerm) == 32);

// Encoded metadata: a byte count of two bytes before each key and each value.
inline constexpr size_t kMetadataEncodedMax =
    engine::kMetadataBytesMax + 2 * engine::kMetadataEntriesMax;

struct LeaseBody {
  LeaseTerm terms[2];
  uint32_t checksum;  // of the token and of everything below that is in use
  uint32_t slot;
  uint64_t id[2];
  uint64_t request_id[2];
  uint64_t body_hash;
  int64_t max_end_at_ns;
  int64_t acquired_unix_ns;
  uint16_t metadata_bytes;
  uint8_t principal_bytes;
  uint8_t client_id_bytes;
  // principal, client id, metadata, without gaps
  char text[engine::kPrincipalBytesMax + engine::kClientIdBytesMax + kMetadataEncodedMax];
};
static_assert(sizeof(LeaseBody) == 808 && alignof(LeaseBody) == 8);
static_assert(offsetof(LeaseBody, slot) == 68 && offsetof(LeaseBody, text) == 132);

struct TombstoneBody {
  uint32_t checksum;  // of the number and of everything below that is in use
  uint32_t slot;
  int64_t token;
  uint64_t id[2];
  uint64_t request_id[2];
  uint64_t body_hash;
  int64_t ended_unix_ns;
  int64_t ended_at_ns;
  uint8_t ended_as;
  uint8_t principal_bytes;
  uint8_t client_id_bytes;
  char text[engine::kPrincipalBytesMax + engine::kClientIdBytesMax];
};
static_assert(sizeof(TombstoneBody) == 208 && offsetof(TombstoneBody, text) == 75);

struct LockBody {
  uint32_t checksum;  // of the version and of everything below that is in use
  uint32_t slot;
  uint8_t reason_bytes;
  char reason[engine::kReasonTextBytesMax];
};
static_assert(sizeof(LockBody) == 264 && offsetof(LockBody, reason) == 9);

static_assert(std::is_trivially_copyable_v<LeaseBody> && std::is_standard_layout_v<LeaseBody>);
static_assert(engine::kPrincipalBytesMax <= 255 && engine::kClientIdBytesMax <= 255 &&
              engine::kReasonTextBytesMax <= 255 && kMetadataEncodedMax <= 65535);

// Where the parts of a file begin. `max_capacity` in 1..kCapacityMax.
struct LedgerGeometry {
  uint64_t lease_words, lease_bodies;
  uint64_t tombstone_words, tombstone_bodies;
  uint64_t lock_words, lock_bodies;
  uint64_t file_bytes;

  static constexpr LedgerGeometry Of(uint32_t max_capacity, uint32_t tombstone_count) {
    const uint64_t leases = max_capacity;
    const uint64_t tombstones = uint64_t{tombstone_count} + 1;
    const uint64_t locks = uint64_t{max_capacity} + 1;
    LedgerGeometry g{};
    g.lease_words = kHeaderBytes;
    g.lease_bodies = g.lease_words + leases * sizeof(uint64_t);
    g.tombstone_words = g.lease_bodies + leases * sizeof(LeaseBody);
    g.tombstone_bodies = g.tombstone_words + tombstones * sizeof(uint64_t);
    g.lock_words = g.tombstone_bodies + tombstones * sizeof(TombstoneBody);
    g.lock_bodies = g.lock_words + locks * sizeof(uint64_t);
    g.file_bytes = g.lock_bodies + locks * sizeof(LockBody);
    return g;
  }
};

}  // namespace leaseplane::ledger
