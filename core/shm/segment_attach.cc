// SPDX-License-Identifier: Apache-2.0
//
// The client's checks. Every number is compared with what max_capacity implies and with the size
// the kernel reports before an address is formed from it.
#include <fcntl.h>
#include <sys/stat.h>

#include <atomic>
#include <cstring>

#include "core/shm/segment.h"

namespace leaseplane::shm {
namespace {

constexpr int kSizeSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
constexpr int kReadOnlySeals = kSizeSeals | F_SEAL_FUTURE_WRITE;

AttachError CheckSealsAndSize(int fd, int required_seals, uint64_t bytes_min, uint64_t& bytes) {
  const int seals = ::fcntl(fd, F_GET_SEALS);
  if (seals < 0 || (seals & required_seals) != required_seals) return AttachError::kNotSealed;
  struct stat info {};
  if (::fstat(fd, &info) != 0 || info.st_size < 0) return AttachError::kSize;
  bytes = static_cast<uint64_t>(info.st_size);
  return bytes < bytes_min ? AttachError::kSize : AttachError::kNone;
}

AttachError MapChecked(int fd, uint64_t bytes, Access access, Mapping& out) {
  absl::StatusOr<Mapping> mapping = Mapping::Map(fd, bytes, access, InFork::kHidden);
  if (!mapping.ok()) return AttachError::kMap;
  out = *std::move(mapping);
  return AttachError::kNone;
}

// Copies the header once, so that what was checked is what is used.
AttachError ReadHeader(const Mapping& mapping, SegmentKind kind, SegmentHeader& header) {
  // Pairs with the release store of the magic in segment.cc.
  const auto& magic = *At<std::atomic<uint32_t>>(mapping.base(), 0);
  if (magic.load(std::memory_order_acquire) != kMagic) return AttachError::kNotReady;
  std::memcpy(&header, mapping.base(), sizeof(header));
  if (header.kind != static_cast<uint32_t>(kind)) return AttachError::kKind;
  if (header.abi_major != kAbiMajor || header.abi_minor < kAbiMinor) return AttachError::kAbi;
  return header.segment_bytes == mapping.bytes() ? AttachError::kNone : AttachError::kSize;
}

// Seals, size, map read-only, header.
AttachError AttachReadOnly(int fd, SegmentKind kind, Mapping& out, SegmentHeader& header) {
  uint64_t bytes = 0;
  AttachError error = CheckSealsAndSize(fd, kReadOnlySeals, kPageBytes, bytes);
  if (error != AttachError::kNone) return error;
  error = MapChecked(fd, bytes, Access::kReadOnly, out);
  if (error != AttachError::kNone) return error;
  return ReadHeader(out, kind, header);
}

AttachError CheckCtl(const Mapping& ctl, Geometry& geometry) {
  CtlHeader header{};
  std::memcpy(&header, ctl.base(), sizeof(header));
  if (header.segment.header_bytes < sizeof(CtlHeader) || header.max_capacity == 0 ||
      header.max_capacity > kCapacityMax) {
    return AttachError::kGeometry;
  }
  geometry = MakeGeometry(header.max_capacity);
  const bool same =
      header.slot_stride_bytes == geometry.slot_stride_bytes &&
      header.data_bytes == geometry.data_bytes && header.slots_offset == kSlotsOffset &&
      header.records_offset == geometry.records_offset &&
      header.record_count == geometry.record_count && header.record_bytes == kRecordBytes &&
      header.bitmap_offset == geometry.bitmap_offset && header.grant_bits_offset == kPageBytes &&
      header.base_epoch <= kEpochMax;
  if (!same) return AttachError::kGeometry;
  return ctl.bytes() == geometry.ctl_bytes ? AttachError::kNone : AttachError::kSize;
}

AttachError CheckMeta(const Mapping& meta, const Geometry& geometry) {
  MetaHeader header{};
  std::memcpy(&header, meta.base(), sizeof(header));
  const uint64_t table_bytes = (uint64_t{geometry.max_capacity} + 1) * sizeof(uint32_t);
  const bool same = header.segment.header_bytes >= sizeof(MetaHeader) &&
                    header.string_count == geometry.max_capacity &&
                    header.table_offset == sizeof(MetaHeader) &&
                    header.strings_offset == header.table_offset + table_bytes;
  if (!same) return AttachError::kGeometry;
  const bool fits = header.strings_offset <= meta.bytes() &&
                    header.strings_bytes <= meta.bytes() - header.strings_offset;
  return fits ? AttachError::kNone : AttachError::kSize;
}

AttachError AttachData(int fd, const Geometry& geometry, Mapping& out) {
  uint64_t bytes = 0;
  AttachError error = CheckSealsAndSize(fd, kSizeSeals, geometry.data_bytes, bytes);
  if (error != AttachError::kNone) return error;
  if (bytes != geometry.data_bytes) return AttachError::kSize;
  return MapChecked(fd, bytes, Access::kReadWrite, out);
}

}  // namespace

AttachError AttachPool(int data_fd, int ctl_fd, int meta_fd, AttachedPool& out) {
  AttachedPool pool;
  SegmentHeader ctl_header{}, meta_header{};
  AttachError error = AttachReadOnly(ctl_fd, SegmentKind::kCtl, pool.ctl, ctl_header);
  if (error == AttachError::kNone) error = CheckCtl(pool.ctl, pool.geometry);
  if (error == AttachError::kNone) {
    error = AttachReadOnly(meta_fd, SegmentKind::kMeta, pool.meta, meta_header);
  }
  if (error == AttachError::kNone) error = CheckMeta(pool.meta, pool.geometry);
  if (error == AttachError::kNone) error = AttachData(data_fd, pool.geometry, pool.data);
  if (error != AttachError::kNone) return error;
  if (ctl_header.pool_uid != meta_header.pool_uid) return AttachError::kPoolUid;
  pool.pool_uid = ctl_header.pool_uid;
  out = std::move(pool);
  return AttachError::kNone;
}

AttachError AttachSess(int sess_fd, Mapping& out) {
  Mapping sess;
  SegmentHeader header{};
  AttachError error = AttachReadOnly(sess_fd, SegmentKind::kSess, sess, header);
  if (error != AttachError::kNone) return error;
  if (sess.bytes() != kSessBytes) return AttachError::kSize;
  const SessHeader& fields = SessOf(sess.base());
  if (fields.words_offset != kPageBytes || fields.word_count != kOwnerCount) {
    return AttachError::kGeometry;
  }
  out = std::move(sess);
  return AttachError::kNone;
}

std::string_view AttachErrorText(AttachError error) {
  switch (error) {
    case AttachError::kNone:
      return "attached";
    case AttachError::kNotSealed:
      return "a segment lacks a seal that protects the client";
    case AttachError::kSize:
      return "a segment has another size than its header says";
    case AttachError::kMap:
      return "the kernel refused to map a segment";
    case AttachError::kNotReady:
      return "a descriptor is not a segment, or the segment is not ready";
    case AttachError::kKind:
      return "a segment is of another kind than expected";
    case AttachError::kAbi:
      return "the daemon's shared-memory ABI is not the client's";
    case AttachError::kGeometry:
      return "a segment's geometry does not fit its capacity";
    case AttachError::kPoolUid:
      return "the segments belong to different pools";
  }
  return "unknown attach error";
}

}  // namespace leaseplane::shm
