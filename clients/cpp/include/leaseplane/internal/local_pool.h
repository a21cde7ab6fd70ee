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
#include "core/pool/thread_context.h"
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
  uint32_t serial = 0;  // another one for each state of the process, never 0
  int64_t max_overtake_ns = 0;
};

class LocalPool;

// What a thread needs for one of the pools it used last. Trivially destroyed, and constant before
// its first use, so that access to it costs no initialisation check.
struct ThreadCache {
  const LocalState* state = nullptr;  // of which `context` is; null: the entry is empty
  uint32_t serial = 0;                // the state's
  const LocalPool* pool = nullptr;
  ThreadContext<RealMemory> context;
};
// Of the first pool that the thread used. Its address is a constant, so that nothing waits for a
// load of an index or a pointer; that is worth half a compare-and-swap.
extern constinit thread_local ThreadCache thread_first;
// Of the others.
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
  // By the pool that the thread used first, where nothing is the matter. Unless it says kOk,
  // TryAcquireElsewhere goes on.
  LEASEPLANE_HOT TryResult TryAcquireHere(Taken& out) noexcept {
    if (!IsPlainlyCurrent(thread_first)) [[unlikely]]
      return TryResult::kMoved;
    const Tried tried = leaseplane::TryAcquire(thread_first.context);
    if (tried.result != TryResult::kOk) [[unlikely]]
      return tried.result;
    if (tried.token == 0) __builtin_unreachable();  // spares the caller a check
    out = {tried.token, tried.slot, thread_first.serial};
    return TryResult::kOk;
  }
  Taken TryAcquireElsewhere(TryResult so_far) noexcept;

  // Waits until `deadline_ns` (CLOCK_BOOTTIME; 0: does not wait). kNone on success.
  Reason Acquire(int64_t deadline_ns, LocalGrant& grant, uint32_t& serial);

  // kNone if it was held and is given back now. `serial`: of the state it was taken in.
  LEASEPLANE_HOT Reason Release(SlotIndex slot, FencingToken token, uint32_t serial) noexcept {
    if (thread_first.serial != serial || !IsUndisturbed(thread_first)) [[unlikely]]
      return ReleaseElsewhere(slot, token, serial);
    return GiveBackBy(thread_first, slot, token);
  }

  bool StillHeld(SlotIndex slot, FencingToken token) const noexcept {
    if (!mark_.IsCurrent()) return false;
    const LocalState& s = *state();
    if (RealMemory::Load(flags_.word) != s.attachment.attach_gen) [[unlikely]]
      return StillHeldSlowly(slot, token);
    return IsClaimed(s, slot, token) && leaseplane::StillHeld(s.attachment, flags_, slot, token);
  }

  std::string_view Resource(SlotIndex slot) const noexcept;
  const std::string& name() const noexcept { return name_; }
  uint32_t capacity() const noexcept { return state()->capacity; }
  Session& session() const noexcept { return session_; }
  static uint32_t NextSerial() noexcept;
  const ProcessMark& mark() const noexcept { return mark_; }

  // -- for the session
  // Never null after the first Publish.
  LEASEPLANE_HOT const LocalState* state() const noexcept {
    return state_.load(std::memory_order_acquire);
  }
  void Publish(const LocalState* s) { state_.store(s, std::memory_order_release); }

 private:
  // Nothing is the matter with what `mine` is attached to. In a child of fork() it reads false, so
  // that the segments, which the child has not got, are not touched.
  LEASEPLANE_HOT static bool IsUndisturbed(const ThreadCache& mine) noexcept {
    return RealMemory::Load(*mine.context.process_word) == mine.context.attach_gen;
  }
  LEASEPLANE_HOT bool IsPlainlyCurrent(const ThreadCache& mine) const noexcept {
    return mine.pool == this && IsUndisturbed(mine);
  }
  LEASEPLANE_HOT Reason GiveBackBy(ThreadCache& mine, SlotIndex slot, FencingToken token) noexcept {
    const ReleaseResult result = leaseplane::Release(mine.context, slot, token);
    if (result == ReleaseResult::kOk) [[likely]]
      return Reason::kNone;
    return FinishRelease(*mine.state, result, slot, token);
  }
  Reason ReleaseElsewhere(SlotIndex slot, FencingToken token, uint32_t serial) noexcept;
  bool StillHeldSlowly(SlotIndex slot, FencingToken token) const noexcept;
  Reason ReleaseSlowly(SlotIndex slot, FencingToken token) noexcept;

  // The calling thread's. REQUIRES the process that attached.
  ThreadContext<RealMemory>& ContextOf(const LocalState& s) const noexcept {
    if (thread_first.state == &s) return thread_first.context;
    ThreadCache& mine = thread_caches[cache_index_];
    return mine.state == &s ? mine.context : LoadContext(s);
  }
  static uint32_t NextCacheIndex() noexcept;
  ThreadContext<RealMemory>& LoadContext(const LocalState& s) const;

  static bool IsClaimed(const LocalState& s, SlotIndex slot, FencingToken token) noexcept {
    return slot < s.claims->max_capacity() && s.claims->HeldToken(slot) == token;
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
  const uint32_t cache_index_;  // this pool's in thread_caches
  uint32_t states_made_ = 0;    // the library thread's
};

}  // namespace internal
}  // namespace leaseplane
