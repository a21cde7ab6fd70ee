// SPDX-License-Identifier: Apache-2.0
#include "server/plane/pool_runtime.h"

#include "core/attach/messages.h"
#include "server/engine/refusals.h"
#include "server/obs/log.h"

namespace leaseplane::plane {
namespace {

constexpr int64_t kNoteEveryNs = 10 * engine::kSecond;

engine::Refusal RefuseUnstored() {
  return engine::Refuse(engine::Reason::kStoreFailed, "the lease could not be written to the store",
                        engine::kSecond);
}

}  // namespace

PoolRuntime::PoolRuntime(engine::PoolOptions options, uint32_t handle, Epoch epoch,
                         PoolSegments segments, PoolWords<RealMemory> words, Generation renumber_at,
                         std::unique_ptr<ledger::MappedLedger> ledger, const Outlets& outlets)
    : options_(rules_.emplace_back(std::make_unique<const engine::PoolOptions>(std::move(options)))
                   .get()),
      handle_(handle),
      epoch_(epoch),
      memory_(std::make_shared<PoolMemory>(std::move(segments), words)),
      outlets_(outlets),
      holds_(this->options().capacity),
      ledger_(std::move(ledger)),
      authority_(words, this->options().capacity),
      engine_(this->options(), authority_, *ledger_, *outlets_.ids, *outlets_.sessions) {
  authority_.SetEpoch(epoch);
  authority_.SetRenumberAt(renumber_at);
}

void PoolRuntime::ChangeRules(engine::PoolOptions options) {
  rules_.push_back(std::make_unique<const engine::PoolOptions>(std::move(options)));
  const engine::PoolOptions& rules = *rules_.back();
  options_.store(&rules, std::memory_order_release);
  Step([&](engine::PoolEngine& engine, engine::Instant now, engine::Actions& actions) {
    engine.ChangeRules(now, rules, actions);
  });
}

engine::Instant PoolRuntime::Now() const {
  const int64_t boot_ns = obs::BootNowNs();
  return {boot_ns, boot_ns + unix_minus_boot_ns_};
}

bool PoolRuntime::StepDone() {
  if (memory()->segments.has_faulted() && engine_.state() != engine::PoolState::kDamaged) {
    obs::Log(obs::Level::kError, "shared memory of a pool was lost; it grants nothing any more",
             {{"pool", id()}});
    engine_.DeclareDamaged(Now(), step_actions_);
  }
  next_deadline_ns_.store(engine_.NextDeadlineNs(), std::memory_order_relaxed);
  std::erase_if(step_actions_.lease_ended, [this](const engine::Actions::LeaseEnded& ended) {
    return !outlets_.watchers->MayBeWatched(ended.id);
  });
  if (step_actions_.Empty()) return false;
  outbox_.push_back(std::move(step_actions_));
  step_actions_ = engine::Actions();
  return true;
}

// One thread at a time carries out, so that what two steps say arrives in the order of the steps.
// What the carrying out causes itself (a call back into Step) is appended and done by the same
// loop.
void PoolRuntime::CarryOut() {
  std::vector<engine::Actions> batch;
  {
    obs::MutexLock lock(&mu_);
    if (carrying_out_ || outbox_.empty()) return;
    carrying_out_ = true;
    batch.swap(outbox_);
  }
  for (;;) {
    for (engine::Actions& actions : batch) CarryOutOne(actions);
    batch.clear();
    obs::MutexLock lock(&mu_);
    if (outbox_.empty()) {
      carrying_out_ = false;
      return;
    }
    batch.swap(outbox_);
  }
}

void PoolRuntime::CarryOutOne(engine::Actions& actions) {
  for (const auto& waited : actions.waited) {
    const bool is_local = waited.path == engine::LeasePath::kLocal;
    (is_local ? histograms_->wait.local : histograms_->wait.remote).Observe(waited.waited_ns);
  }
  for (auto& granted : actions.waiter_granted) {
    if (granted.commit_seq == 0) {
      DeliverGrant(granted.ticket, std::move(granted.grant));
      continue;
    }
    DeliverWhenDurable(granted.ticket, std::move(granted.grant), granted.commit_seq);
  }
  for (auto& refused : actions.waiter_refused) {
    RefuseCall(refused.ticket, std::move(refused.refusal));
  }
  CarryOutLocal(actions);
  for (const auto& request : actions.revoke_requested) {
    outlets_.watchers->RevokeRequested(id(), request.id, request.grace_ns);
  }
  for (const auto& ended : actions.lease_ended) {
    outlets_.watchers->Lost(id(), ended.id, ended.reason);
  }
  if (actions.pool_moved) TellMoved();
  for (const auto& end : actions.end_session) outlets_.attach->EndSession(end.session, end.why);
}

void PoolRuntime::WhenDurable(uint64_t commit_seq, store::StoreWriter::Callback callback) {
  outlets_.writer->OnDurable(id(), commit_seq, std::move(callback));
}

PoolRuntime::ListenerPtr PoolRuntime::TakeListener(uint64_t ticket) {
  obs::MutexLock lock(&mu_);
  auto it = listeners_.find(ticket);
  if (it == listeners_.end()) return nullptr;
  ListenerPtr listener = std::move(it->second);
  listeners_.erase(it);
  return listener;
}

void PoolRuntime::DeliverGrant(uint64_t ticket, engine::Grant grant) {
  if (ListenerPtr listener = TakeListener(ticket)) return listener->OnGranted(std::move(grant));
  // The caller left after the engine had decided.
  Step([&](engine::PoolEngine& engine, engine::Instant now, engine::Actions& actions) {
    engine.Abandon(now, grant, actions);
  });
}

void PoolRuntime::RefuseCall(uint64_t ticket, engine::Refusal refusal) {
  if (ListenerPtr listener = TakeListener(ticket)) listener->OnRefused(std::move(refusal));
}

void PoolRuntime::DeliverWhenDurable(uint64_t ticket, engine::Grant grant, uint64_t commit_seq) {
  WhenDurable(commit_seq, [self = shared_from_this(), ticket, grant = std::move(grant),
                           commit_seq](const absl::Status& status) {
    std::optional<engine::Refusal> refusal = self->JudgeStored(status, grant, commit_seq);
    if (!refusal) return self->DeliverGrant(ticket, grant);
    self->RefuseCall(ticket, *std::move(refusal));
  });
}

// A lease that cannot be promised is given back, and the caller may try again. Several calls with
// one request id may wait for one lease. Under the lock the store is asked once more: what it has
// by now may have been told to another of them; what it has not is told to none of them any more.
std::optional<engine::Refusal> PoolRuntime::JudgeStored(const absl::Status& status,
                                                        const engine::Grant& grant,
                                                        uint64_t commit_seq) {
  return Step([&](engine::PoolEngine& engine, engine::Instant now,
                  engine::Actions& actions) -> std::optional<engine::Refusal> {
    if (!status.ok() && !outlets_.writer->IsDurable(id(), commit_seq)) {
      // One of the worker before may have been told to its holder: it stays, and is not told again.
      if (commit_seq == engine::kInheritedSeq) return RefuseUnstored();
      engine.GiveBack(now, grant, actions);
    }
    const auto lease = engine.GetLease(now, grant.lease.id);
    const auto* known = std::get_if<engine::LeaseInfo>(&lease);
    if (known != nullptr && known->state == engine::LeaseState::kActive) return std::nullopt;
    if (known != nullptr && known->state != engine::LeaseState::kReleased) {
      return engine::RefuseEnded(known->state, known->ended_unix_ns);
    }
    return RefuseUnstored();
  });
}

uint64_t PoolRuntime::Acquire(engine::AcquireRequest request, int64_t received_at_ns,
                              std::shared_ptr<AcquireListener> listener) {
  uint64_t ticket = 0;
  uint64_t commit_seq = 0;
  engine::AcquireAnswer answer =
      Step([&](engine::PoolEngine& engine, engine::Instant now, engine::Actions& actions) {
        mu_.AssertHeld();
        auto result = engine.Acquire(now, received_at_ns, std::move(request), actions);
        if (const auto* queued = std::get_if<engine::Queued>(&result)) ticket = queued->ticket;
        if (const auto* granted = std::get_if<engine::Granted>(&result)) {
          commit_seq = granted->commit_seq;
          // Until the disk has it the call can be cancelled, so it needs a name.
          if (commit_seq != 0) ticket = outlets_.ids->NextRandom();
        }
        if (ticket != 0) listeners_[ticket] = listener;
        return result;
      });
  if (auto* refusal = std::get_if<engine::Refusal>(&answer)) {
    listener->OnRefused(std::move(*refusal));
  } else if (auto* granted = std::get_if<engine::Granted>(&answer)) {
    if (commit_seq == 0) {
      listener->OnGranted(std::move(granted->grant));
      return 0;
    }
    DeliverWhenDurable(ticket, std::move(granted->grant), commit_seq);
  } else {
    TellWaiting(NowInstant().boot_ns);
  }
  return ticket;
}

void PoolRuntime::TellWaiting(int64_t now_ns) {
  constexpr int64_t kWaitingToldNs = 100 * engine::kMillisecond;
  int64_t told_ns = waiting_told_ns_.load(std::memory_order_relaxed);
  if (now_ns - told_ns < kWaitingToldNs) return;
  // Whoever changes the word tells.
  if (waiting_told_ns_.compare_exchange_strong(told_ns, now_ns)) outlets_.watchers->Waiting(id());
}

void PoolRuntime::Cancel(uint64_t ticket) {
  ListenerPtr listener = TakeListener(ticket);  // destroyed after the step, without the lock
  Step([&](engine::PoolEngine& engine, engine::Instant now, engine::Actions& actions) {
    engine.CancelCall(now, ticket, actions);
  });
}

Result<engine::QueueState> PoolRuntime::QueuePosition(uint64_t ticket) {
  return View([&](engine::PoolEngine& engine, engine::Instant now) -> Result<engine::QueueState> {
    mu_.AssertHeld();
    auto position = engine.Position(now, ticket);
    const bool waits_for_disk =
        std::holds_alternative<engine::Refusal>(position) && listeners_.contains(ticket);
    if (waits_for_disk) return engine::QueueState{1, 0};
    return position;
  });
}

void PoolRuntime::Tick(int64_t since_last_ns) {
  engine::PoolStats stats;
  const int64_t now_ns =
      Step([&](engine::PoolEngine& engine, engine::Instant now, engine::Actions& actions) {
        mu_.AssertHeld();
        unix_minus_boot_ns_ = obs::UnixNowNs() - now.boot_ns;
        if (is_closed.load()) return int64_t{0};
        engine.Tick(now, since_last_ns, actions);
        if (now.boot_ns >= recover_until_ns.load()) {
          recover_until_ns.store(engine::kNever);
          engine.EndRecovery(now, actions);
          is_recovering.store(false);
        }
        stats = engine.stats();
        epoch_need_ = engine.wants_rotation()      ? EpochNeed::kRotate
                      : engine.wants_renumbering() ? EpochNeed::kRenumber
                                                   : EpochNeed::kNone;
        const bool is_wanted = !listeners_.empty() || engine.drain_reason().has_value();
        return is_wanted ? now.boot_ns : int64_t{0};
      });
  if (!is_closed.load()) NoteTrouble(stats);
  // Who keeps what it does not use may not have given it back, or have taken it again.
  const int64_t told_ns = waiting_told_ns_.load(std::memory_order_relaxed);
  if (now_ns - told_ns >= engine::kSecond) TellWaiting(now_ns);
}

// One line for all that came since the last one: neither a hostile writer nor a crowd of dead
// holders fills the log.
void PoolRuntime::NoteTrouble(const engine::PoolStats& stats) {
  const uint64_t violations = stats.integrity_violations - noted_.integrity_violations;
  const uint64_t expired = stats.expired - noted_.expired;
  const int64_t now_ns = obs::BootNowNs();
  if (violations + expired == 0 || now_ns < next_note_ns_) return;
  next_note_ns_ = now_ns + kNoteEveryNs;
  noted_ = stats;
  if (violations != 0) {
    obs::Log(obs::Level::kError, "shared memory was damaged",
             {{"pool", id()}, {"violations", violations}});
  }
  if (expired != 0) {
    obs::Log(obs::Level::kWarning, "leases expired", {{"pool", id()}, {"count", expired}});
  }
}

void PoolRuntime::SampleHolds(int64_t now_ns) {
  holds_.Sample(memory()->words, now_ns, histograms_->hold);
}

bool PoolRuntime::OnReleased() {
  return Step([&](engine::PoolEngine& engine, engine::Instant now, engine::Actions& actions) {
    if (is_closed.load()) return false;
    const int64_t deadline_before = engine.NextDeadlineNs();
    engine.OnReleased(now, actions);
    return !actions.Empty() || engine.NextDeadlineNs() != deadline_before;
  });
}

ledger::Changes PoolRuntime::TakeChanges() {
  obs::MutexLock lock(&mu_);
  // What must be known after a crash of the host is waited for by its caller, and so handed over
  // while it lives; what ended within one flush need not trouble the disk at all.
  const bool is_async = options().durability == engine::Durability::kAsync;
  return ledger_->TakeChanges(is_async && !hands_over_all_ ? ledger::MappedLedger::Take::kCoalesced
                                                           : ledger::MappedLedger::Take::kAll);
}

ledger::Changes PoolRuntime::TakeLockChanges() {
  obs::MutexLock lock(&mu_);
  return ledger_->TakeLockChanges();
}

void PoolRuntime::HandOverAll() {
  obs::MutexLock lock(&mu_);
  hands_over_all_ = true;
}

void PoolRuntime::MarkLedgerClean() {
  obs::MutexLock lock(&mu_);
  ledger_->MarkClean();
}

}  // namespace leaseplane::plane
