// SPDX-License-Identifier: Apache-2.0
// The parts of LocalPool that are not inlined: waiting, what is rare about releasing, and the
// records of threads.
#include "leaseplane/internal/local_pool.h"

#include <vector>

#include "clients/cpp/boot_clock.h"
#include "clients/cpp/local/session.h"
#include "core/pool/waiter.h"
#include "core/shm/segment.h"

namespace leaseplane::internal {

constinit thread_local ThreadCache thread_first = {};
constinit thread_local ThreadCache thread_caches[kThreadCaches] = {};

namespace {

void Empty(ThreadCache& cache) {
  if (cache.state != nullptr) cache.context.Park();
  cache = {};
}

// The records of one thread, given back when it ends.
class ThreadRecords {
 public:
  ~ThreadRecords() {
    Empty(thread_first);
    for (ThreadCache& cache : thread_caches) Empty(cache);
    ended_ = true;
    for (const Entry& entry : entries_) {
      // A child made by fork() has not got the segments.
      if (entry.mark.IsCurrent()) Claims<RealMemory>::Return(*entry.record);
    }
    entries_.clear();  // leases that are released later in the thread's end look here
  }

  // The thread's record, bound to `s`; after the thread's end one that keeps no slots. REQUIRES
  // that no context uses it.
  ThreadRecord<RealMemory>& Of(const LocalState& s, const ProcessMark& mark) {
    ThreadRecord<RealMemory>& record = RecordFor(*s.claims, mark);
    if (!ended_ && record.bound != &s.attachment.words) {
      record.Bind(s.attachment.words, s.attachment.owner);
    }
    record.turn = {.max_overtake_ns = s.fifo ? Turn::kEndless : s.max_overtake_ns};
    return record;
  }

 private:
  struct Entry {
    const Claims<RealMemory>* claims;
    ThreadRecord<RealMemory>* record;
    ProcessMark mark;
  };

  ThreadRecord<RealMemory>& RecordFor(Claims<RealMemory>& claims, const ProcessMark& mark) {
    for (const Entry& entry : entries_) {
      if (entry.claims == &claims) return *entry.record;
    }
    ThreadRecord<RealMemory>& record = claims.Borrow();
    if (!ended_) entries_.push_back({&claims, &record, mark});
    return record;
  }

  std::vector<Entry> entries_;
  bool ended_ = false;
};

// How core/pool's wait reaches the session.
class SessionPort {
 public:
  SessionPort(Session& session, const LocalPool& pool, uint32_t handle)
      : session_(session), pool_(pool), handle_(handle) {}

  int64_t NowNs() const { return BootNowNs(); }

  void Enqueue(Ticket<RealMemory>& ticket, int64_t waited_ns, int64_t rest_ns) {
    const int64_t now_ns = BootNowNs();
    const bool endless = rest_ns > kNeverNs - now_ns;
    const uint64_t id = session_.tickets().Add(ticket, &pool_, now_ns - waited_ns,
                                               endless ? kNeverNs : now_ns + rest_ns);
    attach::Message message = MakeMessage(attach::Kind::kEnqueue);
    message.enqueue.pool = handle_;
    message.enqueue.ticket = id;
    message.enqueue.waited_ns = waited_ns;
    message.enqueue.rest_ns = endless ? kNeverNs : rest_ns;
    if (!session_.Send(message)) session_.tickets().Refuse(id, TicketState::kRefused);
  }

  void Forget(const Ticket<RealMemory>& ticket) { session_.tickets().Forget(ticket); }

  void Leave(const Ticket<RealMemory>& ticket) {
    Forget(ticket);
    attach::Message message = MakeMessage(attach::Kind::kLeave);
    message.leave.pool = handle_;
    message.leave.ticket = ticket.id;
    session_.Send(message);  // unsaid, a grant that comes too late is released
  }

 private:
  Session& session_;
  const LocalPool& pool_;
  const uint32_t handle_;
};

}  // namespace

ThreadContext<RealMemory>& LocalPool::LoadContext(const LocalState& s) const {
  thread_local ThreadRecords records;
  const LocalPool* first = thread_first.pool;
  const bool is_first = first == nullptr || first == this || !first->mark_.IsCurrent();
  ThreadCache& cache = is_first ? thread_first : thread_caches[cache_index_];
  Empty(cache);
  ThreadRecord<RealMemory>& record = records.Of(s, mark_);
  cache.context = ThreadContext<RealMemory>(s.attachment, flags_, *s.claims, record);
  cache.pool = this;
  cache.serial = s.serial;
  cache.state = &s;
  return cache.context;
}

uint32_t LocalPool::NextSerial() noexcept {
  static constinit RealMemory::U32 states{0};
  return RealMemory::FetchAdd(states, 1) + 1;
}

uint32_t LocalPool::NextCacheIndex() noexcept {
  static constinit RealMemory::U32 pools{0};
  return RealMemory::FetchAdd(pools, 1) % kThreadCaches;
}

LocalPool::Taken LocalPool::TryAcquireElsewhere(TryResult so_far) noexcept {
  const bool is_tried = so_far != TryResult::kMoved;
  if (is_tried && thread_first.state == state()) return {};
  ThreadCache& mine = thread_caches[cache_index_];
  if (mine.state == state() && IsPlainlyCurrent(mine)) {
    const Tried tried = leaseplane::TryAcquire(mine.context);
    if (tried.result == TryResult::kOk) return {tried.token, tried.slot, mine.serial};
    if (mine.state == state()) return {};
  }
  if (!mark_.IsCurrent()) return {};
  const LocalState* s = state();
  Tried tried = leaseplane::TryAcquire(ContextOf(*s));
  if (tried.result == TryResult::kMoved && state() != s) {  // it goes on in other memory
    s = state();
    tried = leaseplane::TryAcquire(ContextOf(*s));
  }
  if (tried.result != TryResult::kOk) return {};
  return {tried.token, tried.slot, s->serial};
}

// While its pool is on its way to other segments a lease is not lost.
bool LocalPool::StillHeldSlowly(SlotIndex slot, FencingToken token) const noexcept {
  const bool is_moving = session_.is_moving();
  const LocalState& s = *state();
  if (!IsClaimed(s, slot, token)) return false;
  return is_moving ? SessionLives(s.attachment)
                   : leaseplane::StillHeld(s.attachment, flags_, slot, token);
}

Reason LocalPool::ReleaseElsewhere(SlotIndex slot, FencingToken token, uint32_t serial) noexcept {
  // The word knows the generation only, which another segment may repeat: a lease of an earlier
  // state is looked up by its whole token.
  ThreadCache& mine = thread_caches[cache_index_];
  if (mine.serial != serial || !IsUndisturbed(mine)) return ReleaseSlowly(slot, token);
  return GiveBackBy(mine, slot, token);
}

Reason LocalPool::ReleaseSlowly(SlotIndex slot, FencingToken token) noexcept {
  if (!mark_.IsCurrent()) return Reason::kOtherProcess;
  const LocalState& s = *state();
  if (!IsClaimed(s, slot, token)) return ReasonOfLoss(s);
  const ReleaseResult result = leaseplane::Release(ContextOf(s), slot, token);
  return result == ReleaseResult::kOk ? Reason::kNone : FinishRelease(s, result, slot, token);
}

Reason LocalPool::Acquire(int64_t deadline_ns, LocalGrant& grant, uint32_t& serial) {
  if (!mark_.IsCurrent()) return Reason::kOtherProcess;
  const int64_t started_ns = deadline_ns == 0 ? 0 : BootNowNs();
  for (;;) {
    const LocalState& s = *state();
    serial = s.serial;
    switch (leaseplane::TryAcquire(ContextOf(s), grant)) {
      case TryResult::kOk:
        return Reason::kNone;
      case TryResult::kNone:
      case TryResult::kGateClosed: {
        if (deadline_ns == 0) return TryEverySlot(s, grant);
        const WaitResult result = WaitOn(s, started_ns, deadline_ns, grant);
        if (result == WaitResult::kOk) return Reason::kNone;
        if (result == WaitResult::kQueueFull) return Reason::kQueueFull;
        if (result == WaitResult::kDrained) return Reason::kPoolDraining;
        if (result == WaitResult::kTimeout) {
          const Reason closed = session_.WhyClosed(*this);
          return closed == Reason::kSessionEnded ? Reason::kWaitTimeout : closed;
        }
        break;  // not attached any more
      }
      case TryResult::kGone:
      case TryResult::kMoved:
        break;
    }
    const Reason why = session_.AwaitState(*this, &s, deadline_ns);
    if (why != Reason::kNone) return why;
  }
}

// The hints led to none; a caller that will not wait is told so only after a look at every word.
Reason LocalPool::TryEverySlot(const LocalState& s, LocalGrant& grant) {
  const bool gate_void = flags_.Has(ProcessFlags<RealMemory>::kGateVoid);
  const TryResult result = TryAcquireExhaustive(ContextOf(s), gate_void, grant);
  if (result == TryResult::kOk) return Reason::kNone;
  return s.attachment.words.Drained() ? Reason::kPoolDraining : Reason::kNoFreeSlot;
}

WaitResult LocalPool::WaitOn(const LocalState& s, int64_t started_ns, int64_t deadline_ns,
                             LocalGrant& grant) {
  SessionPort port(session_, *this, s.handle);
  Wait<RealMemory, SessionPort> wait(ContextOf(s), port, s.fifo, s.max_overtake_ns);
  return wait.Run(started_ns, deadline_ns, grant);
}

Reason LocalPool::FinishRelease(const LocalState& s, ReleaseResult result, SlotIndex slot,
                                FencingToken token) noexcept {
  // Not held under this token in the segment that was looked at: others may have written to it, and
  // the lease may be in the present one.
  const bool is_there = session_.FinishMovedRelease(*this, s, slot, token);
  return is_there || result == ReleaseResult::kMoved ? Reason::kNone : ReasonOfLoss(s);
}

Reason LocalPool::ReasonOfLoss(const LocalState& s) const noexcept {
  return IsCurrent(s.attachment, flags_) && SessionLives(s.attachment) ? Reason::kLeaseRevoked
                                                                       : Reason::kSessionEnded;
}

std::string_view LocalPool::Resource(SlotIndex slot) const noexcept {
  if (!mark_.IsCurrent()) return {};
  const LocalState& s = *state();
  return shm::ResourceOf(s.meta, s.meta_bytes, slot);
}

}  // namespace leaseplane::internal
