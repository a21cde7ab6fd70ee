// SPDX-License-Identifier: Apache-2.0
//
// Waiting for a slot: the eventcount protocol on `wseq` while the gate is open, the daemon's queue
// when it is closed or the wait has become long.
//
// Each round, in this order (the order is the proof):
//   1 s = wseq            2 enlist in wcnt       3 read the gate, and gate_void once
//   4 scan all slots      5 sleep while wseq == s, at most 1 s
// A releaser frees its word and then looks at the gate and wcnt. If the scan missed that word, the
// CAS came after it, so the releaser sees this waiter enlisted and bumps wseq after s was read.
// Order among local waiters, without the daemon: a thread that has had its turn (slot_client.h) and
// comes again sleeps before it looks, if a waiter has been woken and not looked yet; that one goes
// on to wake it when there are more slots. A waiter that was woken and found nothing is starved: no
// other one is woken before it has got a slot. Hints: a count that is wrong costs order and time,
// never a slot. What this does not serve in time goes to the daemon's queue. Whoever leaves without
// a slot may have swallowed a wake and passes it on (the baton); a waiter that moves to the
// daemon's queue passes none, because the daemon looks for it.
//
// Ownership: borrowed state only. Threads: one Waiter belongs to one waiting thread; the library
// thread answers its ticket. Errors: WaitResult. Cost: no allocation here; one futex call a round.
// Bounds: a sleep is never longer than kSleepCapNs, so a waiter beside a free slot is late by that
// much at most, even with the daemon dead and the count destroyed.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <utility>

#include "core/pool/slot_client.h"

namespace leaseplane {

inline constexpr int64_t kSleepCapNs = 1'000'000'000;
inline constexpr int64_t kStandBackNs = 5'000'000;
// How much longer a waiter waits among the others for each of them, before it turns to the daemon:
// its queue, where a grant takes three wakes, would serve none of them sooner.
inline constexpr int64_t kHandOverNs = 400'000;
inline constexpr int64_t kAskAgainNs = 50'000'000;
inline constexpr int64_t kNoDeadline = std::numeric_limits<int64_t>::max();

enum class WaitResult : uint8_t {
  kOk,
  kTimeout,
  kGone,       // the session has ended
  kMoved,      // get the present attachment and call again
  kQueueFull,  // FIFO pools only
  kDrained,    // an operator lets nobody in
};

// The private word of a waiter in the daemon's queue.
enum class TicketState : uint32_t {
  kIdle = 0,
  kWaiting = 1,
  kGranted = 2,
  kLeft = 3,
  kRefused = 4,
  kNudged = 5,  // waiting, and there is news: the waiter moves it back before it looks
  kDrained = 6,
};

// One queued wait. The library thread writes `grant` and then answers GRANTED by CAS; the waiter
// gives up by WAITING -> LEFT. Whoever's CAS wins decides who owns the slot.
template <class M>
struct Ticket {
  typename M::U32 state{0};
  uint64_t id = 0;
  LocalGrant grant;

  bool Move(TicketState from, TicketState to) {
    return M::CompareExchange(state, static_cast<uint32_t>(from), static_cast<uint32_t>(to));
  }
  TicketState Read() const { return static_cast<TicketState>(M::Load(state)); }

  // For the library thread. False: the waiter has left; a granted slot is to be released.
  bool Answer(TicketState answer) {
    for (;;) {  // at most once more for each Nudge
      const TicketState seen = Read();
      if (seen != TicketState::kWaiting && seen != TicketState::kNudged) return false;
      if (!Move(seen, answer)) continue;
      M::FutexWake(state, 1);
      return true;
    }
  }
  // For the library thread, after it has changed what the waiter has to see (segment_dead,
  // gate_void, the end of the session). A bare wake would be lost on a waiter that has looked
  // already and does not sleep yet.
  void Nudge() {
    if (Move(TicketState::kWaiting, TicketState::kNudged)) M::FutexWake(state, 1);
  }
};

// What the wait needs from its process. A test gives it a simulated daemon.
//   int64_t NowNs();                                   a clock that goes on during suspend
//   void Enqueue(Ticket<M>&, int64_t waited_ns, int64_t rest_ns);
//       gives the ticket an id, makes it known to the library thread (state is kWaiting already)
//       and sends it; if it cannot be sent the ticket is refused
//   void Forget(Ticket<M>&);                           no longer known after this returns
//   void Leave(Ticket<M>&);                            Forget, and the daemon is told
// REQUIRES a max_overtake_ns of at most 2^55, a year; pools have an hour at most.
template <class M, class Port>
class Wait {
 public:
  Wait(ThreadContext<M>& thread, Port& port, bool fifo, int64_t max_overtake_ns)
      : thread_(thread),
        a_(*thread.attachment),
        flags_(*thread.flags),
        port_(port),
        fifo_(fifo),
        max_overtake_ns_(max_overtake_ns) {}

  // Waits until `deadline_ns` of the port's clock; `started_ns` is when the caller began to wait
  // (earlier than now after kMoved).
  WaitResult Run(int64_t started_ns, int64_t deadline_ns, LocalGrant& out) {
    if (Spin(out)) return WaitResult::kOk;
    for (;;) {
      if (!SessionLives(a_)) return LeaveWith(WaitResult::kGone);
      if (!IsCurrent(a_, flags_)) return LeaveWith(WaitResult::kMoved);
      switch (Round(started_ns, deadline_ns, out)) {
        case Next::kAgain:
          break;
        case Next::kGot:
          thread_.record->turn = {.max_overtake_ns = thread_.record->turn.max_overtake_ns};
          if (has_slept_ && !is_starved_) ForgetStarved();
          Delist();
          if (wakes_more_) WakePart(a_.words, /*more=*/true);
          return WaitResult::kOk;
        case Next::kGone:
          return LeaveWith(WaitResult::kGone);
        case Next::kMoved:
          return LeaveWith(WaitResult::kMoved);
        case Next::kTimeout:
          return LeaveWith(WaitResult::kTimeout);
        case Next::kQueue: {
          const Next next = Queue(started_ns, deadline_ns, out);
          if (next == Next::kGot) return WaitResult::kOk;
          if (next == Next::kTimeout) return LeaveWith(WaitResult::kTimeout);
          if (next == Next::kGone) return LeaveWith(WaitResult::kGone);
          if (next == Next::kQueueFull) return LeaveWith(WaitResult::kQueueFull);
          if (next == Next::kDrained) return LeaveWith(WaitResult::kDrained);
          break;
        }
        case Next::kQueueFull:
          return LeaveWith(WaitResult::kQueueFull);
        case Next::kDrained:
          return LeaveWith(WaitResult::kDrained);
      }
    }
  }

 private:
  // A hostile writer can make each of them fail; what is left undone costs order and time.
  static constexpr int kCasTriesMax = 1000;

  enum class Next : uint8_t { kAgain, kGot, kGone, kMoved, kTimeout, kQueue, kQueueFull, kDrained };

  // A slot that comes back in less time than a sleep takes. Not counted meanwhile, so whoever gives
  // it back wakes nobody; and only while nobody else waits, for it would pass them.
  bool Spin(LocalGrant& out) {
    if (fifo_) return false;
    for (int round = M::SpinRounds(); round > 0; --round) {
      if (WaiterCount(M::Load(*a_.words.wcnt)) != 0) return false;
      M::Pause();
      const TryResult result = TryAcquire(thread_, out);
      if (result != TryResult::kNone) return result == TryResult::kOk;  // else a round says why
    }
    return false;
  }

  Next Round(int64_t started_ns, int64_t deadline_ns, LocalGrant& out) {
    const uint32_t seq = M::Load(*a_.words.wseq);                   // 1
    const bool gate_void = flags_.Has(ProcessFlags<M>::kGateVoid);  // once a round
    // A FIFO waiter sleeps in the queue, not on wseq, so it has no need to be counted.
    const bool sleeps_here = !fifo_ || gate_void || refused_;
    if (sleeps_here) Enlist();                                // 2
    const bool closed = !gate_void && a_.words.GateClosed();  // 3
    if (closed && a_.words.Drained()) return Next::kDrained;  // written before the gate
    if (closed && !refused_) return Next::kQueue;
    const bool stands_back = StandsBack();
    if (!closed && !stands_back) {
      switch (TryAcquireExhaustive(thread_, gate_void, out)) {  // 4
        case TryResult::kOk:
          return Next::kGot;
        case TryResult::kGone:
          return Next::kGone;
        case TryResult::kMoved:
          return Next::kMoved;
        case TryResult::kGateClosed:
          return Next::kAgain;
        case TryResult::kNone:
          wakes_more_ = false;
          break;
      }
    }
    if (!sleeps_here) return Next::kQueue;
    const int64_t now_ns = port_.NowNs();
    if (now_ns >= deadline_ns) return Next::kTimeout;
    int64_t sleep_ns = std::min(deadline_ns - now_ns, stands_back ? kStandBackNs : kSleepCapNs);
    if (!refused_ && !gate_void) {
      const int64_t until_queue_ns = PatienceNs() - (now_ns - started_ns);
      if (until_queue_ns <= 0) return Next::kQueue;
      sleep_ns = std::min(sleep_ns, until_queue_ns);
    }
    if (is_woken_) Starve();
    if (is_starved_ && HasNews()) return Next::kAgain;
    is_woken_ = M::FutexWait(*a_.words.wseq, seq, sleep_ns,
                             is_starved_ ? kStarvedSleeper : kPlainSleeper);  // 5
    HasNews();
    has_slept_ = true;
    if (closed) AskAgainLater();
    return Next::kAgain;  // always rescan
  }

  // After a sleep: the gate may never open, so who was refused turns to the daemon again. Not
  // sooner after the last question than that, for others can end each sleep at once.
  void AskAgainLater() {
    if (port_.NowNs() - asked_ns_ >= kAskAgainNs) refused_ = false;
  }

  // How long to wait among the others before the daemon is asked.
  int64_t PatienceNs() const {
    const int64_t crowd = WaiterCount(M::LoadHint(*a_.words.wcnt));
    const int64_t more_ns = std::max<int64_t>(crowd - 1, 0) * kHandOverNs;
    return max_overtake_ns_ + std::min(more_ns, 9 * max_overtake_ns_);
  }

  // Somebody relies on this waiter to look.
  bool HasNews() {
    const uint64_t bits = EndWaking(a_.words);
    if ((bits & kMoreToWake) != 0) wakes_more_ = true;
    return bits != 0;
  }

  // For a thread whose turn is over. Sleeping before it has looked is safe while another waiter is
  // on its way to look: if that one finds a slot it wakes the next.
  bool StandsBack() {
    if (has_slept_ || !std::exchange(thread_.record->turn.is_over, false)) return false;
    for (int tries = 0; tries < kCasTriesMax; ++tries) {
      const uint64_t wcnt = M::Load(*a_.words.wcnt);
      if ((wcnt & kWaking) == 0) return false;
      if (M::CompareExchange(*a_.words.wcnt, wcnt, wcnt | kMoreToWake)) return true;
    }
    return false;
  }

  // Was woken and has found nothing. One at a time: the others stay in their order.
  void Starve() {
    for (int tries = 0; tries < kCasTriesMax; ++tries) {
      const uint64_t wcnt = M::Load(*a_.words.wcnt);
      if (WaiterRound(wcnt) != round_ || StarvedCount(wcnt) != 0) return;
      if (!M::CompareExchange(*a_.words.wcnt, wcnt, wcnt + kOneStarved)) continue;
      is_starved_ = true;
      return;
    }
  }

  // Another one was woken, by the daemon or its own clock, and got a slot that the starved one did
  // not take: it is stopped, or gone. The next one is woken in its place.
  void ForgetStarved() {
    const uint64_t wcnt = M::Load(*a_.words.wcnt);
    if (StarvedCount(wcnt) == 0) return;
    M::CompareExchange(*a_.words.wcnt, wcnt, wcnt - StarvedCount(wcnt) * kOneStarved);
  }

  // In the daemon's queue, asleep on the ticket's own word.
  Next Queue(int64_t started_ns, int64_t deadline_ns, LocalGrant& out) {
    Delist();  // no baton: the daemon looks for this waiter itself
    Ticket<M> ticket;
    M::Store(ticket.state, static_cast<uint32_t>(TicketState::kWaiting));
    asked_ns_ = port_.NowNs();
    if (asked_ns_ >= deadline_ns) return Next::kTimeout;
    port_.Enqueue(ticket, asked_ns_ - started_ns, deadline_ns - asked_ns_);
    for (;;) {
      const TicketState state = ticket.Read();
      if (state == TicketState::kGranted) return TakeGrant(ticket, out);
      if (state == TicketState::kNudged) {
        ticket.Move(TicketState::kNudged, TicketState::kWaiting);
        // Only now look: a nudge for anything newer makes the sleep below return at once.
      }
      if (state == TicketState::kDrained) {
        port_.Forget(ticket);
        return SessionLives(a_) ? Next::kDrained : Next::kGone;
      }
      if (state == TicketState::kRefused) {
        port_.Forget(ticket);
        if (!SessionLives(a_)) return Next::kGone;
        refused_ = true;
        return fifo_ ? Next::kQueueFull : Next::kAgain;
      }
      const Next why = WhyLeave(port_.NowNs() >= deadline_ns);
      if (why != Next::kQueue) {
        if (!ticket.Move(TicketState::kWaiting, TicketState::kLeft)) continue;  // granted: take it
        port_.Leave(ticket);
        return why;
      }
      const int64_t rest_ns = deadline_ns - port_.NowNs();
      M::FutexWait(ticket.state, static_cast<uint32_t>(TicketState::kWaiting),
                   std::min(rest_ns, kSleepCapNs));
    }
  }

  // kQueue: stay. kAgain: back to the words, the daemon does not serve its queue now.
  Next WhyLeave(bool late) const {
    if (!SessionLives(a_)) return Next::kGone;
    if (!IsCurrent(a_, flags_)) return Next::kAgain;  // Run finds kMoved
    if (late) return Next::kTimeout;
    if (flags_.Has(ProcessFlags<M>::kGateVoid)) return Next::kAgain;
    return Next::kQueue;
  }

  // The daemon took the slot for us and the library thread has noted the claim.
  Next TakeGrant(Ticket<M>& ticket, LocalGrant& out) {
    port_.Forget(ticket);
    if (!SessionLives(a_)) {
      // As after a CAS of our own: the sweep may be over, so give it back ourselves.
      UndoTake(a_, flags_, ticket.grant.slot, GenerationOf(ticket.grant.token));
      thread_.claims->NoteReleased(ticket.grant.slot, ticket.grant.token);
      return Next::kGone;
    }
    out = ticket.grant;
    return Next::kGot;
  }

  void Enlist() {
    if (enlisted_ && WaiterRound(M::Load(*a_.words.wcnt)) == round_) return;
    round_ = WaiterRound(M::FetchAdd(*a_.words.wcnt, 1));
    is_starved_ = false;
    enlisted_ = true;
  }

  // Takes this waiter off the count, unless the count was rebuilt without it. A hostile writer can
  // make the CAS fail; a count too high by one costs a needless wake until the next rebuild.
  void Delist() {
    if (!enlisted_) return;
    enlisted_ = false;
    for (int tries = 0; tries < kCasTriesMax; ++tries) {
      const uint64_t wcnt = M::Load(*a_.words.wcnt);
      if (WaiterRound(wcnt) != round_ || WaiterCount(wcnt) == 0) break;
      const uint64_t weight = is_starved_ && StarvedCount(wcnt) != 0 ? kOneStarved + 1 : 1;
      if (M::CompareExchange(*a_.words.wcnt, wcnt, wcnt - weight)) break;
    }
    // What was left to the starved waiter goes to the next.
    if (std::exchange(is_starved_, false) && EndWaking(a_.words) != 0) WakePart(a_.words, true);
  }

  WaitResult LeaveWith(WaitResult result) {
    Delist();
    // The baton.
    WakeAfterFree(a_.words, /*wrote_locked=*/false, flags_.Has(ProcessFlags<M>::kGateVoid));
    return result;
  }

  ThreadContext<M>& thread_;
  const Attachment<M>& a_;
  const ProcessFlags<M>& flags_;
  Port& port_;
  const bool fifo_;
  const int64_t max_overtake_ns_;
  bool enlisted_ = false;
  bool has_slept_ = false;
  bool wakes_more_ = false;  // was woken for several slots, perhaps
  bool is_woken_ = false;    // was, and has looked in vain since
  bool is_starved_ = false;  // counted as such
  bool refused_ = false;     // by the daemon: wait on wseq like everybody else
  uint32_t round_ = 0;
  int64_t asked_ns_ = 0;  // when the daemon was asked last
};

}  // namespace leaseplane
