// SPDX-License-Identifier: Apache-2.0
//
// StopPlan: when COMMAND of `leasectl run` gets TERM and when KILL. Two things stop it:
//   a loss: the lease is over, or is wanted back, or leasectl itself was killed;
//   the safe deadline (remote leases): no renewal came through, so the lease may be somebody else's
//   from then on. KILL is due kKillMarginNs before it, TERM a lead time earlier.
// The lead time is kill_after, but no more than a third of what a renewal buys: renewals come after
// a third, may fail for another third, and only then does COMMAND learn of it.
//
// A pure function of the calls made: the time is an argument (CLOCK_BOOTTIME, nanoseconds), nothing
// is done here. Threads: one. Errors: none. Order: Step is called again at NextWake at the latest.
#pragma once

#include <cstdint>
#include <limits>

namespace leaseplane::cli {

class StopPlan {
 public:
  static constexpr int64_t kNever = std::numeric_limits<int64_t>::max();
  static constexpr int64_t kKillMarginNs = 100'000'000;
  // A process may have forked while it was killed: KILL is repeated until nothing is left.
  static constexpr int64_t kKillAgainNs = 50'000'000;

  enum class Action { kNone, kTerm, kKill };

  // `window_ns`: how long a fresh lease is safe without renewal; kNever if it has no deadline.
  StopPlan(int64_t kill_after_ns, int64_t window_ns)
      : kill_after_ns_(kill_after_ns), window_ns_(window_ns) {}

  // The lease is safe until then. Moves back and forth as renewals come or do not.
  void SetSafeDeadline(int64_t safe_ns) { safe_ns_ = safe_ns; }

  // Stop now, because of a loss: TERM at once, KILL after kill_after, or when the safe deadline
  // says.
  void StopNow(int64_t now_ns);
  // As StopNow, with KILL no later than `grace_ns` from now.
  void StopWithin(int64_t now_ns, int64_t grace_ns);
  // The lease was taken away on purpose: there is no deadline to keep any more.
  void ForgetDeadline() { deadline_holds_ = false; }

  // What is due now. A TERM is told once, a KILL every kKillAgainNs.
  Action Step(int64_t now_ns);
  // When Step is to be asked again; kNever if only an event can change anything.
  int64_t NextWake() const;

  // StopNow or StopWithin was called; else it is the deadline that stops COMMAND.
  bool was_asked_to_stop() const { return stop_at_ns_ != kNever; }
  // TERM or KILL was due: COMMAND does not end by its own will any more.
  bool stopping() const { return term_sent_ns_ != kNever; }

 private:
  int64_t TermAt() const;
  int64_t KillAt() const;
  int64_t DeadlineKillAt() const;

  const int64_t kill_after_ns_;
  const int64_t window_ns_;
  int64_t safe_ns_ = kNever;
  bool deadline_holds_ = true;
  int64_t stop_at_ns_ = kNever;      // asked for by StopNow, StopWithin
  int64_t kill_latest_ns_ = kNever;  // asked for by StopWithin
  int64_t term_sent_ns_ = kNever;
  int64_t kill_sent_ns_ = kNever;
};

}  // namespace leaseplane::cli
