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
  uint32_t cache_index = 0;  // of thread_caches
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
  LocalPool(Session& session, ProcessMark mark, ProcessFlags<RealMemory>& flags, std::string name)
      : mark_(mark), flags_(flags), session_(session), name_(std::move(name)) {}
  LocalPool(const LocalPool&) = delete;
  LocalPool& operator=(const LocalPool&) = delete;

  // A token, and the slot it is for; 0 if there is none to be had now.
  FencingToken TryAcquire(SlotIndex& slot) noexcept {
    LocalGrant grant;
    if (!mark_.IsCurrent()) return 0;
    if (TryOnce(*state(), grant) != TryResult::kOk) return 0;
    slot = grant.slot;
    return grant.token;
  }

  // Waits until `deadline_ns` (CLOCK_BOOTTIME; 0: does not wait). kNone on success.
  Reason Acquire(int64_t deadline_ns, LocalGrant& grant);

  // kNone if it was held and is given back now.
  Reason Release(SlotIndex slot, FencingToken token) noexcept {
    if (!mark_.IsCurrent()) return Reason::kOtherProcess;
    const LocalState& s = *state();
    // The whole token: the words know the generation only, which another segment may repeat.
    if (!IsClaimed(s, slot, token)) return ReasonOfLoss(s);
    const ReleaseResult result =
        leaseplane::Release(s.attachment, flags_, *s.claims, &RecordOf(s), slot, token);
    if (result == ReleaseResult::kOk) [[likely]] return Reason::kNone;
    return FinishRelease(s, result, slot, token);
  }

  bool StillHeld(SlotIndex slot, FencingToken token) const noexcept {
    if (!mark_.IsCurrent()) return false;
    const LocalState& s = *state();
    return IsClaimed(s, slot, token) && leaseplane::StillHeld(s.attachment, flags_, slot, token);
  }

  std::string_view Resource(SlotIndex slot) const noexcept;
  const std::string& name() const noexcept { return name_; }
  uint32_t capacity() const noexcept { return state()->capacity; }
  Session& session() const noexcept { return session_; }
  const ProcessMark& mark() const noexcept { return mark_; }

  // -- for the session
  // Never null after the first Publish.
  const LocalState* state() const noexcept { return state_.load(std::memory_order_acquire); }
  void Publish(const LocalState* s) { state_.store(s, std::memory_order_release); }

 private:
  ThreadRecord<RealMemory>& RecordOf(const LocalState& s) const noexcept {
    const ThreadCache& cache = thread_caches[s.cache_index];
    if (cache.state == &s) [[likely]] return *cache.record;
    return BorrowRecord(s);
  }
  ThreadRecord<RealMemory>& BorrowRecord(const LocalState& s) const;

  static bool IsClaimed(const LocalState& s, SlotIndex slot, FencingToken token) noexcept {
    return slot < s.claims->max_capacity() && s.claims->HeldToken(slot) == token;
  }

  TryResult TryOnce(const LocalState& s, LocalGrant& grant) noexcept {
    return leaseplane::TryAcquire(s.attachment, flags_, *s.claims, RecordOf(s), grant);
  }
  Reason TryEverySlot(const LocalState& s, LocalGrant& grant);
  WaitResult WaitOn(const LocalState& s, int64_t started_ns, int64_t deadline_ns,
                    LocalGrant& grant);
  Reason FinishRelease(const LocalState& s, ReleaseResult result, SlotIndex slot,
                       FencingToken token) noexcept;
  Reason ReasonOfLoss(const LocalState& s) const noexcept;

  const ProcessMark mark_;
  ProcessFlags<RealMemory>& flags_;
  // Release to acquire: who sees a state sees what it points to. That a thread may still use the
  // one before is what ProcessFlags::attach_gen is for.
  std::atomic<const LocalState*> state_{nullptr};
  Session& session_;
  const std::string name_;
};

}  // namespace internal
}  // namespace leaseplane
