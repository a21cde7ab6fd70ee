// SPDX-License-Identifier: Apache-2.0
#include "clients/cli/stop_plan.h"

#include <algorithm>

namespace leaseplane::cli {
namespace {

// Instants and durations that may be kNever, which stays kNever.
int64_t Plus(int64_t instant_ns, int64_t duration_ns) {
  if (instant_ns == StopPlan::kNever || duration_ns > StopPlan::kNever - instant_ns) {
    return StopPlan::kNever;
  }
  return instant_ns + duration_ns;
}

}  // namespace

void StopPlan::StopNow(int64_t now_ns) { stop_at_ns_ = std::min(stop_at_ns_, now_ns); }

void StopPlan::StopWithin(int64_t now_ns, int64_t grace_ns) {
  StopNow(now_ns);
  kill_latest_ns_ = std::min(kill_latest_ns_, Plus(now_ns, grace_ns));
}

int64_t StopPlan::DeadlineKillAt() const {
  if (!deadline_holds_ || safe_ns_ == kNever) return kNever;
  return safe_ns_ - kKillMarginNs;
}

int64_t StopPlan::TermAt() const {
  const int64_t kill_at = DeadlineKillAt();
  if (kill_at == kNever) return stop_at_ns_;
  return std::min(stop_at_ns_, kill_at - std::min(kill_after_ns_, window_ns_ / 3));
}

int64_t StopPlan::KillAt() const {
  return std::min({Plus(term_sent_ns_, kill_after_ns_), kill_latest_ns_, DeadlineKillAt()});
}

StopPlan::Action StopPlan::Step(int64_t now_ns) {
  if (kill_sent_ns_ != kNever) {
    if (now_ns < kill_sent_ns_ + kKillAgainNs) return Action::kNone;
    kill_sent_ns_ = now_ns;
    return Action::kKill;
  }
  if (term_sent_ns_ == kNever) {
    if (now_ns < TermAt()) return Action::kNone;
    term_sent_ns_ = now_ns;
    if (now_ns < KillAt()) return Action::kTerm;
  }
  if (now_ns < KillAt()) return Action::kNone;
  kill_sent_ns_ = now_ns;
  return Action::kKill;
}

int64_t StopPlan::NextWake() const {
  if (kill_sent_ns_ != kNever) return kill_sent_ns_ + kKillAgainNs;
  return term_sent_ns_ == kNever ? TermAt() : KillAt();
}

}  // namespace leaseplane::cli
