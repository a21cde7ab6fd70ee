// SPDX-License-Identifier: Apache-2.0
//
// LocalPool: one pool as this process reaches it through shared memory; the part that is inlined
// into the application. Not for users: see pool.h.
//
// Ownership: made by a Session, never destroyed, so a Lease may point to it without counting. The
// states it went through (one per attachment) stay valid too: a thread may be inside an old one.
// Their number is bounded by the restarts of the whole daemon and by how often the process
// connected anew.
// Threads: any, unless said otherwise. Errors: no token, or a Reason. Cost: TryAcquire and Release
// are wait-free, without allocation, lock, clock or system call (but for waking a sleeper).
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "core/base/ids.h"
#include "core/pool/claims.h"
#include "core/pool/memory.h"
#include "core/pool/slot_client.h"
#include "leaseplane/internal/process_mark.h"
#include "leaseplane/status.h"

namespace leaseplane {

enum class WaitResult : uint8_t;

namespace internal {

class Session;

// How the process is attached to a pool: immutable once published. `claims` outlives it.
struct LocalState {
  Attachment<RealMemory> attachment;
  Claims<RealMemory>* claims = nullptr;
  const std::byte* meta = nullptr;
  uint64_t meta_bytes = 0;
  uint64_t pool_uid = 0;
  uint32_t handle = 0;  // the pool's number in messages
  uint32_t capacity = 0;
  bool fifo = false;
  uint32_t serial = 0;  // another one for each state of the process; see LocalPool::CacheOf
  int64_t max_overtake_ns = 0;
};

// The states a thread used last, and its record for each, bound to it. Trivial, so that access to
// it costs no initialisation check.
struct ThreadCache {
  const LocalState* state;
  ThreadRecord<RealMemory>* record;
};
inline constexpr uint32_t kThreadCaches = 8;
extern constinit thread_local ThreadCache thread_caches[kThreadCaches];

class LocalPool {
 public:
  // `flags` lie on a page that the kernel empties in a child made by fork().
  LocalPool(Session& session, ProcessMark mark, ProcessFlags<RealMemory>& flags, std::string name)
      : flags_(flags),
        mark_(mark),
        session_(session),
        name_(std::move(name)),
        cache_index_(NextCacheIndex()) {}
  LocalPool(const LocalPool&) = delete;
  LocalPool& operator=(const LocalPool&) = delete;

  struct Taken {
    FencingToken token = 0;  // 0: there was none to be had
    SlotIndex slot = 0;
    uint32_t serial = 0;  // of the state it was taken in
  };
  // `cache`: cache_index(), which callers keep because its load would be the first of a chain.
  LEASEPLANE_HOT Taken TryAcquire(uint32_t cache) noexcept {
    const LocalState& s = *state();
    if (!IsPlainlyCurrent(s)) [[unlikely]]
      return TryAcquireSlowly();
    LocalGrant grant;
    if (TryOnce(s, RecordOf(s, cache), grant) != TryResult::kOk) [[unlikely]]
      return {};
    return {grant.token, grant.slot, s.serial};
  }

  // Waits until `deadline_ns` (CLOCK_BOOTTIME; 0: does not wait). kNone on success.
  Reason Acquire(int64_t deadline_ns, LocalGrant& grant, uint32_t& serial);

  // kNone if it was held and is given back now. `serial`: of the state it was taken in.
  LEASEPLANE_HOT Reason Release(SlotIndex slot, FencingToken token, uint32_t serial) noexcept {
    const LocalState& s = *state();
    // The word knows the generation only, which another segment may repeat: a lease of an earlier
    // state is looked up by its whole token.
    if (!IsPlainlyCurrent(s) || s.serial != serial) [[unlikely]]
      return ReleaseSlowly(slot, token);
    const ReleaseResult result = leaseplane::Release(s.attachment, flags_, *s.claims,
                                                     &RecordOf(s, CacheOf(serial)), slot, token);
    if (result == ReleaseResult::kOk) [[likely]]
      return Reason::kNone;
    return FinishRelease(s, result, slot, token);
  }

  bool StillHeld(SlotIndex slot, FencingToken token) const noexcept {
    if (!mark_.IsCurrent()) return false;
    const LocalState& s = *state();
    if (!IsPlainlyCurrent(s)) [[unlikely]]
      return StillHeldSlowly(slot, token);
    return IsClaimed(s, slot, token) && leaseplane::StillHeld(s.attachment, flags_, slot, token);
  }

  std::string_view Resource(SlotIndex slot) const noexcept;
  const std::string& name() const noexcept { return name_; }
  uint32_t capacity() const noexcept { return state()->capacity; }
  Session& session() const noexcept { return session_; }
  // Where this pool's entry is in thread_caches. The serials of its states carry it, too.
  uint32_t cache_index() const noexcept { return cache_index_; }
  static uint32_t CacheOf(uint32_t serial) noexcept { return serial % kThreadCaches; }
  uint32_t NextSerial() noexcept { return ++states_made_ * kThreadCaches + cache_index_; }
  const ProcessMark& mark() const noexcept { return mark_; }

  // -- for the session
  // Never null after the first Publish.
  const LocalState* state() const noexcept { return state_.load(std::memory_order_acquire); }
  void Publish(const LocalState* s) { state_.store(s, std::memory_order_release); }

 private:
  // Attached as `s` says, in this process, and nothing is the matter. In a child of fork() it reads
  // false, so that the segments, which the child has not got, are not touched.
  bool IsPlainlyCurrent(const LocalState& s) const noexcept {
    return RealMemory::Load(flags_.word) == s.attachment.attach_gen;
  }
  Taken TryAcquireSlowly() noexcept;
  bool StillHeldSlowly(SlotIndex slot, FencingToken token) const noexcept;
  Reason ReleaseSlowly(SlotIndex slot, FencingToken token) noexcept;

  LEASEPLANE_HOT ThreadRecord<RealMemory>& RecordOf(const LocalState& s,
                                                    uint32_t cache) const noexcept {
    const ThreadCache& cached = thread_caches[cache];
    if (cached.state == &s) [[likely]]
      return *cached.record;
    return BorrowRecord(s);
  }
  ThreadRecord<RealMemory>& RecordOf(const LocalState& s) const noexcept {
    return RecordOf(s, cache_index_);
  }
  static uint32_t NextCacheIndex() noexcept;
  ThreadRecord<RealMemory>& BorrowRecord(const LocalState& s) const;

  static bool IsClaimed(const LocalState& s, SlotIndex slot, FencingToken token) noexcept {
    return slot < s.claims->max_capacity() && s.claims->HeldToken(slot) == token;
  }

  LEASEPLANE_HOT TryResult TryOnce(const LocalState& s, ThreadRecord<RealMemory>& record,
                                   LocalGrant& grant) noexcept {
    return leaseplane::TryAcquire(s.attachment, flags_, *s.claims, record, grant);
  }
  Reason TryEverySlot(const LocalState& s, LocalGrant& grant);
  WaitResult WaitOn(const LocalState& s, int64_t started_ns, int64_t deadline_ns,
                    LocalGrant& grant);
  Reason FinishRelease(const LocalState& s, ReleaseResult result, SlotIndex slot,
                       FencingToken token) noexcept;
  Reason ReasonOfLoss(const LocalState& s) const noexcept;

  ProcessFlags<RealMemory>& flags_;
  // Release to acquire: who sees a state sees what it points to. That a thread may still use the
  // one before is what ProcessFlags::attach_gen is for.
  std::atomic<const LocalState*> state_{nullptr};
  const ProcessMark mark_;
  Session& session_;
  const std::string name_;
  const uint32_t cache_index_;
  uint32_t states_made_ = 0;  // the library thread's
};

}  // namespace internal
}  // namespace leaseplane
