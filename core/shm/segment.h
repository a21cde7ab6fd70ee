// SPDX-License-Identifier: Apache-2.0
//
// Segments: making them (daemon), and attaching to them after checking everything that can be
// checked (client). A segment is a memfd whose size can never change; the layout is in layout.h
// and LAYOUT.md.
//
// Life on the daemon's side, in this order: Create*, map writable in every process that will ever
// write (worker and keeper), SealReadOnly (CTL, META, SESS), and only then pass the descriptor to
// a client. Once sealed nobody can map it writable again, the daemon included.
//
// Threads: free functions without state. Errors: absl::Status for the daemon (the outside world
// refuses memory), AttachError for the client (which check failed decides what it does next).
// Not promised: the contents of DATA; clients write there.
#pragma once

#include <atomic>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/base/ids.h"
#include "core/base/unique_fd.h"
#include "core/shm/layout.h"
#include "core/shm/mapping.h"

namespace leaseplane::shm {

// -- the daemon's side

// Anonymous file of exactly `bytes` zero bytes, all allocated now (RESOURCE_EXHAUSTED if memory is
// short: never a fault later). `name` is for /proc only.
absl::StatusOr<UniqueFd> CreateSegment(const std::string& name, uint64_t bytes);

// Fixes the size. DATA gets this at once; clients go on mapping it writable.
absl::Status SealSize(int fd);
// Fixes the size and refuses every new writable mapping and every write. Mappings that exist stay
// writable. REQUIRES that all future writers have mapped it.
absl::Status SealReadOnly(int fd);

// The three segments of one pool as mapped by the daemon: addresses without ownership.
struct PoolBase {
  std::byte* data = nullptr;
  std::byte* ctl = nullptr;
  std::byte* meta = nullptr;
  Geometry geometry{};
};

// These fill fresh, zeroed, mapped memory, but for the magic. Generations, grant bits and hot words
// are left zero: core/pool/authority.h writes them.
void FormatCtl(std::byte* ctl, const Geometry& geometry, uint64_t pool_uid, Epoch base_epoch);
// `resources` may be shorter than max_capacity; missing strings are empty.
void FormatMeta(std::byte* meta, const Geometry& geometry, uint64_t pool_uid,
                std::span<const std::string> resources);
void FormatSess(std::byte* sess, uint64_t instance_uid);
// Stores the magic, last of all and with release order: from here on attaching succeeds.
void Publish(std::byte* segment);
bool IsPublished(const std::byte* segment);
uint64_t MetaBytes(const Geometry& geometry, std::span<const std::string> resources);
// The daemon's u32[max_capacity] at the end of META; see LAYOUT.md.
std::atomic<uint32_t>* BaseEpochsOf(std::byte* meta, uint64_t meta_bytes, const Geometry& geometry);

// -- both sides

inline const CtlHeader& CtlOf(const std::byte* ctl) { return *At<CtlHeader>(ctl, 0); }
inline const SessHeader& SessOf(const std::byte* sess) { return *At<SessHeader>(sess, 0); }
// Resource string of a slot; empty if it has none, or if the table does not fit `meta_bytes`.
std::string_view ResourceOf(const std::byte* meta, uint64_t meta_bytes, SlotIndex slot);

// -- the client's side

enum class AttachError : uint8_t {
  kNone = 0,
  kNotSealed,  // a seal that protects us is missing: not made by this daemon
  kSize,       // the file's size is not what header or geometry say
  kMap,        // the kernel refused the mapping
  kNotReady,   // not a segment, or not formatted yet
  kKind,       // another kind of segment
  kAbi,        // made for another ABI version
  kGeometry,   // header fields do not fit max_capacity
  kPoolUid,    // segments of different pools
};
std::string_view AttachErrorText(AttachError error);

// One pool as mapped by a client: DATA read-write, CTL and META read-only; hidden from forked
// children. Owns the mappings; the descriptors may be closed.
struct AttachedPool {
  Mapping data, ctl, meta;
  Geometry geometry{};
  uint64_t pool_uid = 0;

  PoolBase base() const { return {data.base(), ctl.base(), meta.base(), geometry}; }
  std::string_view Resource(SlotIndex slot) const {
    return ResourceOf(meta.base(), meta.bytes(), slot);
  }
};

// Checks in the order of AttachError's values. `out` is untouched unless kNone is returned.
AttachError AttachPool(int data_fd, int ctl_fd, int meta_fd, AttachedPool& out);
// The daemon's session words, read-only.
AttachError AttachSess(int sess_fd, Mapping& out);

}  // namespace leaseplane::shm
