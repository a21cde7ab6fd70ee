// SPDX-License-Identifier: Apache-2.0
//
// Lease: the right to one slot, as a value whose destruction gives the slot back.
//
// Between a holder that was paused (stopped, swapped out, its machine suspended) and its successor
// only the fencing token decides, checked at what the slot guards: no library can take back a write
// that is already on its way. Hand token() along, and let the guarded resource refuse smaller ones.
//
// Ownership: move-only; whoever has it, holds the slot. It keeps no client alive: when the last
// copy of the Client and of its Pools is gone, leases that are left have ended (still_held() is
// false), and may be destroyed at any later time. resource() and pool() are valid while the lease
// lives. Threads: as a plain value: reading members may run concurrently, changing ones may not. A
// lease may be moved to and released by another thread than the one that acquired it. Errors:
// Release() returns a status; the destructor swallows it. Cost: 32 bytes, no heap, on the local
// path. Local release: one compare-and-swap, and a system call only if somebody sleeps waiting for
// a slot. still_held() and remaining() never block. Not promised: that a lease which is
// still_held() now is so one instant later.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "core/base/ids.h"
#include "leaseplane/internal/local_pool.h"
#include "leaseplane/internal/remote_lease.h"
#include "leaseplane/lost_lease.h"

namespace leaseplane {

class [[nodiscard]] Lease {
 public:
  // Holds nothing; false.
  Lease() noexcept = default;
  Lease(Lease&& other) noexcept
      : local_(std::exchange(other.local_, nullptr)),
        remote_(std::exchange(other.remote_, nullptr)),
        token_(std::exchange(other.token_, 0)),
        slot_(other.slot_),
        serial_(other.serial_) {}
  Lease& operator=(Lease&& other) noexcept {
    Lease old(std::move(other));
    swap(old);
    return *this;
  }
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;
  LEASEPLANE_HOT ~Lease() {
    if (token_ != 0) Drop();
  }

  // Whether there is a lease in it: it was granted and has been neither moved from nor released.
  // Says nothing about whether it still holds; see still_held().
  explicit operator bool() const noexcept { return token_ != 0; }

  // The following REQUIRE a lease in it, unless said otherwise.

  SlotIndex slot() const noexcept { return slot_; }
  // Positive, below 2^53, larger than every token given out for this slot before. 0 if empty.
  FencingToken token() const noexcept { return token_; }
  // What the slot stands for, as the pool's definition says; often empty.
  std::string_view resource() const noexcept;
  // The pool's id.
  std::string_view pool() const noexcept;
  // The resource name, as operators and other clients see it: pools/P/leases/L.
  std::string name() const;
  Path path() const noexcept {
    if (token_ == 0) return Path::kNone;
    return remote_ == nullptr ? Path::kLocal : Path::kRemote;
  }

  // False once the lease is known to have ended: released, revoked, its safe deadline passed, the
  // daemon gone with the segment, or in the child of a fork(). False if empty.
  bool still_held() const noexcept;
  // Until the safe deadline if no renewal came through: the daemon cannot have given the slot to
  // anybody before. absl::InfiniteDuration() on the local path while held; zero if not held.
  absl::Duration remaining() const noexcept;

  // Gives the slot back and says how that went; empty afterwards in any case. Remotely waits for
  // the daemon's answer (at most about 10 s; the ttl is the net), unless the client keeps the lease
  // for its next acquire (ClientOptions::prefetch). OK also means that the lease had
  // not been lost before. kLeaseReleased if empty.
  absl::Status Release() &&;

  void swap(Lease& other) noexcept {
    std::swap(local_, other.local_);
    std::swap(remote_, other.remote_);
    std::swap(token_, other.token_);
    std::swap(slot_, other.slot_);
    std::swap(serial_, other.serial_);
  }
  friend void swap(Lease& a, Lease& b) noexcept { a.swap(b); }

 private:
  friend class Pool;

  Lease(internal::LocalPool* local, SlotIndex slot, FencingToken token, uint32_t serial) noexcept
      : local_(local), token_(token), slot_(slot), serial_(serial) {}
  // Takes over one reference. Null: empty.
  explicit Lease(internal::RemoteLease* remote) noexcept : remote_(remote) {
    if (remote == nullptr) return;
    token_ = remote->token();
    slot_ = remote->slot();
  }

  // The destructor's release.
  LEASEPLANE_HOT void Drop() noexcept {
    if (remote_ == nullptr) [[likely]] {
      local_->Release(slot_, token_, serial_);
    } else {
      remote_->Drop();
    }
  }

  internal::LocalPool* local_ = nullptr;     // lives as long as the process
  internal::RemoteLease* remote_ = nullptr;  // one reference is ours
  FencingToken token_ = 0;                   // 0: empty
  SlotIndex slot_ = 0;
  uint32_t serial_ = 0;  // of the attachment it was taken through
};
static_assert(sizeof(Lease) <= 32);

}  // namespace leaseplane
