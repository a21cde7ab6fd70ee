// SPDX-License-Identifier: Apache-2.0
//
// Requests for a slot over the API, and their waiting.
#include <algorithm>
#include <utility>

#include "server/engine/pool_engine.h"
#include "server/engine/refusals.h"

namespace leaseplane::engine {
namespace {

constexpr int64_t kRetryUnknown = 1 * kSecond;  // no hold has ended yet
constexpr int64_t kRetryMin = 10 * kMillisecond;
constexpr int64_t kRetryMax = 30 * kSecond;

int64_t AddSaturated(int64_t instant_ns, int64_t duration_ns) {
  return duration_ns > kNever - instant_ns ? kNever : instant_ns + duration_ns;
}

Refusal RefuseOtherBody() {
  return Refuse(Reason::kRequestIdConflict, "the request_id was used with other parameters");
}

}  // namespace

// The mean time until one more slot comes free, behind those who wait already.
int64_t PoolEngine::RetryHintNs() const {
  const int64_t wait_ns = EstimatedWaitNs(options_, queue_.present_count() + 1, holds_.mean_ns());
  return wait_ns == 0 ? kRetryUnknown : std::clamp(wait_ns, kRetryMin, kRetryMax);
}

Refusal PoolEngine::CheckAcquire(const AcquireRequest& request) const {
  if (request.ttl_ns < options_.min_ttl_ns || request.ttl_ns > options_.max_ttl_ns) {
    return RefuseTtl(options_);
  }
  if (options_.max_leases_per_client != 0) {
    const std::string client = ClientKey(request.principal, request.client_id);
    if (leases_.CountOf(client) + queue_.CountOf(client) >= options_.max_leases_per_client) {
      return Refuse(Reason::kClientQuota,
                    "the client holds or waits for all it may have: " +
                        std::to_string(options_.max_leases_per_client),
                    RetryHintNs());
    }
  }
  return {};
}

AcquireAnswer PoolEngine::Acquire(Instant now, int64_t received_at_ns, AcquireRequest request,
                                  Actions& actions) {
  AccountForAbsence(now.boot_ns);
  if (is_damaged_) return RefuseDamaged();
  if (state_ == PoolState::kRecovering) {
    return Refuse(Reason::kRecovering, "holders are being asked what they hold", kSecond);
  }
  if (state_ == PoolState::kDraining) return Refuse(close_reason_, "no new leases", kSecond);
  if (remote_refusal_ != Reason::kNone) {
    return Refuse(remote_refusal_, "grants cannot be written down", kSecond);
  }
  if (!request.request_id.empty()) {
    AcquireAnswer answer;
    if (AnswerKnownRequest(now, received_at_ns, request, actions, answer)) return answer;
  }
  if (drain_reason_) {
    ++stats_.refused_draining;
    return RefuseDrained(*drain_reason_);
  }
  if (request.ttl_ns == 0) request.ttl_ns = options_.default_ttl_ns;
  if (Refusal refusal = CheckAcquire(request); refusal.reason != Reason::kNone) {
    if (refusal.reason == Reason::kClientQuota) ++stats_.refused_quota;
    return refusal;
  }
  if (MayGrantDirectly()) {
    if (const auto grant = authority_.Grant(kOwnerDaemon, now.boot_ns)) {
      return MakeRemoteLease(now, received_at_ns, std::move(request), *grant);
    }
  }
  if (request.max_wait_ns <= 0) {
    ++stats_.refused_no_slot;
    return Refuse(Reason::kNoFreeSlot, "no slot is free", RetryHintNs());
  }
  return JoinQueue(now, received_at_ns, std::move(request), actions);
}

// False: a request id never heard of.
bool PoolEngine::AnswerKnownRequest(Instant now, int64_t received_at_ns, AcquireRequest& request,
                                    Actions& actions, AcquireAnswer& answer) {
  const RequestKey key(request.principal, request.request_id);
  if (Waiter* waiter = queue_.FindRequest(key)) {
    if (waiter->request.body_hash != request.body_hash) {
      answer = RefuseOtherBody();
    } else {
      answer = TakeUpPlace(now, received_at_ns, request.max_wait_ns, *waiter, actions);
    }
    return true;
  }
  const LeaseId* id = leases_.FindRequest(key);
  if (id == nullptr) return false;
  if (const LiveLease* lease = leases_.Find(*id)) {
    if (lease->record.body_hash != request.body_hash) {
      answer = RefuseOtherBody();
    } else if (now.boot_ns >= leases_.EffectiveDeadline(*lease)) {
      answer = RefuseEnded(LeaseState::kExpired, now.unix_ns);
    } else {
      answer = DescribeGrant(now, received_at_ns, *lease);
    }
    return true;
  }
  const Tombstone* ended = leases_.FindEnded(*id);
  if (ended == nullptr) return false;
  if (ended->body_hash != request.body_hash) {
    answer = RefuseOtherBody();
  } else {
    answer = RefuseEnded(ended->ended_as, ended->ended_unix_ns);
  }
  return true;
}

AcquireAnswer PoolEngine::TakeUpPlace(Instant now, int64_t received_at_ns, int64_t max_wait_ns,
                                      Waiter& waiter, Actions& actions) {
  if (waiter.present) {
    actions.waiter_refused.push_back(
        {waiter.ticket, Refuse(Reason::kCancelled, "the request was made again")});
  }
  SetWaitTimer(waiter, TimerKind::kWaitEnds, kNever);
  Waiter& again = queue_.Rejoin(waiter.ticket, next_ticket_++);
  again.received_at_ns = received_at_ns;
  again.request.max_wait_ns = max_wait_ns;
  const int64_t ends_ns = AddSaturated(received_at_ns, std::max<int64_t>(max_wait_ns, 0));
  SetWaitTimer(again, TimerKind::kWaitEnds, ends_ns);
  const uint64_t ticket = again.ticket;
  AcquireAnswer answer = SettleOwnTicket(now, ticket, /*has_looked=*/false, actions);
  if (ends_ns > now.boot_ns || !std::holds_alternative<Queued>(answer)) return answer;
  ++stats_.refused_no_slot;  // asked again, but not to wait: the place stays a while
  EndCall(now, *queue_.Find(ticket), /*keep_place=*/true);
  AdjustGate(now, actions);
  return Refuse(Reason::kNoFreeSlot, "no slot is free", RetryHintNs());
}

Refusal PoolEngine::QueueLimit(const std::string& client) const {
  if (queue_.size() >= options_.max_waiters) {
    return Refuse(Reason::kQueueFull, "as many wait as may", RetryHintNs());
  }
  if (options_.max_waiters_per_client != 0 &&
      queue_.CountOf(client) >= options_.max_waiters_per_client) {
    return Refuse(Reason::kClientQuota, "the client has as many waiting as it may", RetryHintNs());
  }
  return {};
}

AcquireAnswer PoolEngine::JoinQueue(Instant now, int64_t received_at_ns, AcquireRequest request,
                                    Actions& actions) {
  Waiter waiter;
  waiter.ticket = next_ticket_;
  waiter.place = {now.boot_ns, next_arrival_};
  waiter.received_at_ns = received_at_ns;
  waiter.request = std::move(request);
  const bool is_counted = options_.max_waiters_per_client != 0;
  Refusal refusal = QueueLimit(is_counted ? WaitQueue::ClientOf(waiter) : std::string());
  if (refusal.reason != Reason::kNone) {
    ++(refusal.reason == Reason::kQueueFull ? stats_.refused_queue_full : stats_.refused_quota);
    return refusal;
  }
  const int64_t ends_ns = AddSaturated(received_at_ns, waiter.request.max_wait_ns);
  if (ends_ns <= now.boot_ns) {
    ++stats_.refused_timeout;
    return Refuse(Reason::kWaitTimeout, "the wait was over before it began", RetryHintNs());
  }
  ++next_ticket_;
  ++next_arrival_;
  Waiter& added = queue_.Add(std::move(waiter));
  SetWaitTimer(added, TimerKind::kWaitEnds, ends_ns);
  return SettleOwnTicket(now, added.ticket, /*has_looked=*/true, actions);
}

// The queue changed by this ticket. If the step granted it a slot, that is the answer.
AcquireAnswer PoolEngine::SettleOwnTicket(Instant now, uint64_t ticket, bool has_looked,
                                          Actions& actions) {
  const size_t before = actions.waiter_granted.size();
  // Alone: perhaps a slot is free, and the gate stands already where it belongs (as after a
  // restart), so that moving it would not lead to a look.
  if (!has_looked && queue_.present_count() == 1) Serve(now, actions);
  AdjustGate(now, actions);
  for (size_t i = before; i < actions.waiter_granted.size(); ++i) {
    Actions::WaiterGranted& granted = actions.waiter_granted[i];
    if (granted.ticket != ticket) continue;
    Granted own{std::move(granted.grant), granted.commit_seq};
    actions.waiter_granted.erase(actions.waiter_granted.begin() + static_cast<std::ptrdiff_t>(i));
    return own;
  }
  return Queued{ticket};
}

std::unique_ptr<Waiter> PoolEngine::RemoveWaiter(uint64_t ticket) {
  if (Waiter* waiter = queue_.Find(ticket)) SetWaitTimer(*waiter, TimerKind::kWaitEnds, kNever);
  return queue_.Remove(ticket);
}

// One timer a waiter: what it is for depends on whether it is present. kNever: none.
void PoolEngine::SetWaitTimer(Waiter& waiter, TimerKind kind, int64_t at_ns) {
  if (waiter.timer_at_ns != kNever) {
    const TimerKind old = waiter.present ? TimerKind::kWaitEnds : TimerKind::kPlaceEnds;
    timers_.Cancel({waiter.timer_at_ns, old, waiter.ticket});
  }
  waiter.timer_at_ns = at_ns;
  if (at_ns != kNever) timers_.Set({at_ns, kind, waiter.ticket});
}

// E2: from here on the waiter is in no order and is granted nothing.
void PoolEngine::EndCall(Instant now, Waiter& waiter, bool keep_place) {
  if (!keep_place || waiter.request.request_id.empty()) {
    RemoveWaiter(waiter.ticket);
    return;
  }
  SetWaitTimer(waiter, TimerKind::kWaitEnds, kNever);
  queue_.SetAbsent(waiter);
  SetWaitTimer(waiter, TimerKind::kPlaceEnds, now.boot_ns + kTicketGrace);
}

void PoolEngine::CancelCall(Instant now, uint64_t ticket, Actions& actions) {
  Waiter* waiter = queue_.Find(ticket);
  if (waiter == nullptr || waiter->is_local() || !waiter->present) return;
  EndCall(now, *waiter, /*keep_place=*/true);
  AdjustGate(now, actions);
}

void PoolEngine::EndWait(Instant now, uint64_t ticket, Reason reason, Actions& actions) {
  Waiter* waiter = queue_.Find(ticket);
  if (waiter == nullptr || waiter->is_local() || !waiter->present) return;
  const bool timed_out = reason == Reason::kWaitTimeout;
  if (timed_out) ++stats_.refused_timeout;
  actions.waiter_refused.push_back(
      {ticket,
       Refuse(reason, timed_out ? "no slot in time" : "the wait was ended", RetryHintNs())});
  EndCall(now, *waiter, timed_out);
  AdjustGate(now, actions);
}

Result<QueueState> PoolEngine::Position(Instant now, uint64_t ticket) const {
  const Waiter* waiter = queue_.Find(ticket);
  if (waiter == nullptr || !waiter->present) return RefuseUnknownTicket();
  QueueState position;
  const size_t rank = queue_.Rank(*waiter) + 1;
  position.position = static_cast<uint32_t>(rank);
  position.estimated_wait_ns = EstimatedWaitNs(options_, rank, holds_.mean_ns());
  position.waited_ns = now.boot_ns - waiter->place.since_ns;
  return position;
}

}  // namespace leaseplane::engine
