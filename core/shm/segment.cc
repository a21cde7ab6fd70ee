// SPDX-License-Identifier: Apache-2.0
#include "core/shm/segment.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <atomic>
#include <cstring>

namespace leaseplane::shm {
namespace {

#ifndef MFD_NOEXEC_SEAL
constexpr unsigned kMfdNoexecSeal = 0x0008U;
#else
constexpr unsigned kMfdNoexecSeal = MFD_NOEXEC_SEAL;
#endif

absl::Status AddSeals(int fd, int seals) {
  if (::fcntl(fd, F_ADD_SEALS, seals) != 0) return absl::ErrnoToStatus(errno, "cannot seal");
  return absl::OkStatus();
}

SegmentHeader MakeHeader(SegmentKind kind, uint32_t header_bytes, uint64_t segment_bytes,
                         uint64_t pool_uid) {
  SegmentHeader header{};
  header.abi_major = kAbiMajor;
  header.abi_minor = kAbiMinor;
  header.kind = static_cast<uint32_t>(kind);
  header.header_bytes = header_bytes;
  header.segment_bytes = segment_bytes;
  header.pool_uid = pool_uid;
  return header;
}

uint64_t BaseEpochsBytes(const Geometry& geometry) {
  return RoundUpToPage(uint64_t{geometry.max_capacity} * sizeof(uint32_t));
}

}  // namespace

absl::StatusOr<UniqueFd> CreateSegment(const std::string& name, uint64_t bytes) {
  constexpr unsigned kFlags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
  UniqueFd fd(::memfd_create(name.c_str(), kFlags | kMfdNoexecSeal));
  if (!fd && errno == EINVAL) fd.reset(::memfd_create(name.c_str(), kFlags));  // older kernel
  if (!fd) return absl::ErrnoToStatus(errno, "cannot create segment " + name);
  if (::fchmod(fd.get(), S_IRUSR | S_IWUSR) != 0) {
    return absl::ErrnoToStatus(errno, "cannot set the mode of segment " + name);
  }
  if (int error = ::posix_fallocate(fd.get(), 0, static_cast<off_t>(bytes)); error != 0) {
    return absl::ErrnoToStatus(error, "cannot allocate segment " + name);
  }
  return fd;
}

absl::Status SealSize(int fd) { return AddSeals(fd, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL); }

absl::Status SealReadOnly(int fd) {
  return AddSeals(fd, F_SEAL_FUTURE_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
}

void FormatCtl(std::byte* ctl, const Geometry& geometry, uint64_t pool_uid, Epoch base_epoch) {
  CtlHeader header{};
  header.segment = MakeHeader(SegmentKind::kCtl, sizeof(CtlHeader), geometry.ctl_bytes, pool_uid);
  header.max_capacity = geometry.max_capacity;
  header.slot_stride_bytes = geometry.slot_stride_bytes;
  header.data_bytes = geometry.data_bytes;
  header.slots_offset = kSlotsOffset;
  header.records_offset = geometry.records_offset;
  header.record_count = geometry.record_count;
  header.record_bytes = kRecordBytes;
  header.bitmap_offset = geometry.bitmap_offset;
  header.grant_bits_offset = kPageBytes;
  header.base_epoch = base_epoch;
  header.policy = MakePolicy(base_epoch, Gate::kOpen, ReleaseWord::kFree);
  std::memcpy(ctl, &header, sizeof(header));
}

uint64_t MetaBytes(const Geometry& geometry, std::span<const std::string> resources) {
  uint64_t bytes = sizeof(MetaHeader) + (uint64_t{geometry.max_capacity} + 1) * sizeof(uint32_t);
  for (const std::string& resource : resources) bytes += resource.size();
  return RoundUpToPage(bytes) + BaseEpochsBytes(geometry);
}

std::atomic<uint32_t>* BaseEpochsOf(std::byte* meta, uint64_t meta_bytes,
                                    const Geometry& geometry) {
  return At<std::atomic<uint32_t>>(meta, meta_bytes - BaseEpochsBytes(geometry));
}

void FormatMeta(std::byte* meta, const Geometry& geometry, uint64_t pool_uid,
                std::span<const std::string> resources) {
  MetaHeader header{};
  header.segment =
      MakeHeader(SegmentKind::kMeta, sizeof(MetaHeader), MetaBytes(geometry, resources), pool_uid);
  header.string_count = geometry.max_capacity;
  header.table_offset = sizeof(MetaHeader);
  header.strings_offset =
      header.table_offset + (uint64_t{geometry.max_capacity} + 1) * sizeof(uint32_t);
  auto* table = At<uint32_t>(meta, header.table_offset);
  std::byte* strings = meta + header.strings_offset;
  uint32_t end = 0;
  for (uint32_t i = 0; i < geometry.max_capacity; ++i) {
    table[i] = end;
    if (i >= resources.size()) continue;
    std::memcpy(strings + end, resources[i].data(), resources[i].size());
    end += static_cast<uint32_t>(resources[i].size());
  }
  table[geometry.max_capacity] = end;
  header.strings_bytes = end;
  std::memcpy(meta, &header, sizeof(header));
}

void FormatSess(std::byte* sess, uint64_t instance_uid) {
  SessHeader header{};
  header.segment = MakeHeader(SegmentKind::kSess, sizeof(SessHeader), kSessBytes, 0);
  header.words_offset = kPageBytes;
  header.word_count = kOwnerCount;
  header.instance_uid = instance_uid;
  std::memcpy(sess, &header, sizeof(header));
}

// Pairs with the acquire loads of the magic here and in segment_attach.cc.
void Publish(std::byte* segment) {
  At<std::atomic<uint32_t>>(segment, 0)->store(kMagic, std::memory_order_release);
}

bool IsPublished(const std::byte* segment) {
  return At<std::atomic<uint32_t>>(segment, 0)->load(std::memory_order_acquire) == kMagic;
}

std::string_view ResourceOf(const std::byte* meta, uint64_t meta_bytes, SlotIndex slot) {
  const MetaHeader& header = *At<MetaHeader>(meta, 0);
  if (slot >= header.string_count) return {};
  const auto* table = At<uint32_t>(meta, header.table_offset);
  const uint64_t begin = header.strings_offset + table[slot];
  const uint64_t end = header.strings_offset + table[slot + 1];
  if (begin > end || end > meta_bytes) return {};
  return {At<char>(meta, begin), static_cast<size_t>(end - begin)};
}

}  // namespace leaseplane::shm
