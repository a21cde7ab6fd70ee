// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "tests/model/engine_sim/sim_world.h"

namespace leaseplane::engine {

template <class Fn>
void SimWorld::Do(const char* what, Fn&& step) {
  Note(what);
  try {
    step();
    CarryOut();
    SeeDseq();
    CarryOut();
  } catch (const Killed&) {
    Note("  killed at a ledger write");
    was_killed_ = true;
    actions_.Clear();
    ForgetRevoked();
    RestartAdopted();
  }
}

void SimWorld::Run(int steps) {
  for (int i = 0; i < steps; ++i) {
    was_killed_ = false;
    Step();
    Check();
  }
  CheckQuietEnd();
}

void SimWorld::Step() {
  if (OneIn(40)) {
    ledger_.writes_until_kill = static_cast<int>(Random(3));
    ledger_.kill_after_write = OneIn(2);
  }
  switch (Random(20)) {
    case 0:
    case 1:
    case 2:
      return Do("remote acquire", [&] { RemoteAcquire(); });
    case 3:
    case 4:
    case 5:
      return Do("remote verb", [&] { RemoteVerb(); });
    case 6:
      return Do("end call", [&] { EndCall(); });
    case 7:
    case 8:
    case 9:
      return Do("local try", [&] { LocalTryAcquire(); });
    case 10:
    case 11:
      return Do("local release", [&] { LocalRelease(); });
    case 12:
      return Do("local wait", [&] { LocalWait(); });
    case 13:
      if (!processes_.empty()) Do("inbox", [&] { ReadInbox(Pick(processes_)->first); });
      return;
    case 14:
      return Do("session", [&] {
        if (OneIn(2)) KillSession();
        if (OneIn(2)) ConfirmDeaths();
        if (processes_.size() < 4 && OneIn(2)) AttachSession();
      });
    case 15:
      return Do("operate", [&] { Operate(); });
    case 16:
      if (OneIn(6)) return Restart();
      return Do("renumber", [&] { Renumber(); });
    case 17:
      if (OneIn(4)) return Do("stall", [&] { PassTime(Random(20 * kSecond), false); });
      return Do("long time", [&] { PassTime(Random(3 * kSecond), true); });
    case 18:
      // Somebody sets the wall clock: nothing may depend on it.
      return Do("wall clock",
                [&] { now_.unix_ns += static_cast<int64_t>(Random(2 * kHour)) - kHour; });
    default:
      return Do("time", [&] { PassTime(Random(120 * kMillisecond), true); });
  }
}

void SimWorld::PassTime(int64_t ns, bool ticking) {
  const int64_t end_ns = now_.boot_ns + ns;
  do {
    int64_t step_ns = end_ns - now_.boot_ns;
    if (ticking) {
      const int64_t due_ns = std::min(engine_->NextDeadlineNs(), last_tick_ns_ + 50 * kMillisecond);
      step_ns = std::clamp<int64_t>(due_ns - now_.boot_ns, 0, step_ns);
    }
    now_.boot_ns += step_ns;
    now_.unix_ns += step_ns;
    const int64_t since_ns = now_.boot_ns - last_tick_ns_;
    if (since_ns >= 50 * kMillisecond) {
      last_tick_ns_ = now_.boot_ns;
      engine_->Tick(now_, since_ns, actions_);
      if (engine_->NextDeadlineNs() <= now_.boot_ns) Fail("the tick left something due");
    } else {
      engine_->OnTimer(now_, actions_);
    }
    if (engine_->NextDeadlineNs() <= now_.boot_ns) Fail("the timer left something due");
    CarryOut();
  } while (now_.boot_ns < end_ns);
  for (const auto& [ticket, ends_ns] : calls_) {
    if (ends_ns <= now_.boot_ns) Fail("a call waits longer than it may");
  }
}

void SimWorld::RemoteAcquire() {
  AcquireRequest request;
  request.principal = "p";
  request.client_id = OneIn(2) ? "a" : "b";
  request.body_hash = request.client_id == "a" ? 1 : 2;
  if (OneIn(2)) request.request_id = {7, 1 + Random(12)};
  if (!OneIn(3)) request.max_wait_ns = static_cast<int64_t>(1 + Random(3 * kSecond));
  if (OneIn(4)) request.ttl_ns = static_cast<int64_t>(1 + Random(8)) * kSecond;
  const int64_t received_ns = now_.boot_ns - static_cast<int64_t>(Random(kMillisecond));
  const int64_t ends_ns = received_ns + request.max_wait_ns;
  AcquireAnswer answer = engine_->Acquire(now_, received_ns, std::move(request), actions_);
  if (const auto* granted = std::get_if<Granted>(&answer)) {
    Note("  slot " + std::to_string(granted->grant.lease.slot) + " token " +
         std::to_string(granted->grant.lease.token));
    if (OneIn(12)) {
      last_token_[granted->grant.lease.slot] =
          std::max(last_token_[granted->grant.lease.slot], granted->grant.lease.token);
      engine_->Abandon(now_, granted->grant, actions_);
    } else {
      Heard(granted->grant, received_ns);
    }
  } else if (const auto* queued = std::get_if<Queued>(&answer)) {
    calls_[queued->ticket] = ends_ns;
  }
}

void SimWorld::RemoteVerb() {
  if (leases_.empty()) return;
  RemoteLease& lease = leases_[Random(leases_.size())];
  HolderRef holder{"p", "", lease.grant.lease.id, lease.grant.lease.token};
  const SlotIndex slot = lease.grant.lease.slot;
  const auto believer = believers_.find(slot);
  const bool believes = believer != believers_.end() && believer->second.token == holder.token &&
                        believer->second.until_ns > now_.boot_ns;
  if (OneIn(2)) {
    // From the call on the caller does not use the slot any more, whatever the answer.
    if (believer != believers_.end() && believer->second.token == holder.token) {
      believers_.erase(believer);
    }
    const auto result = engine_->Release(now_, holder, OneIn(2), actions_);
    if (believes && std::holds_alternative<Refusal>(result)) Fail("a holder could not release");
    return;
  }
  const auto result = engine_->Renew(now_, now_.boot_ns, holder, 0, actions_);
  const auto* renewed = std::get_if<Renewed>(&result);
  if (renewed == nullptr) {
    if (believes) Fail("a lease ended silently: its holder could not renew");
    return;
  }
  if (believer == believers_.end() || believer->second.token != holder.token) return;
  believer->second.until_ns =
      std::max(believer->second.until_ns, now_.boot_ns + renewed->result.lease.remaining_ns);
}

void SimWorld::EndCall() {
  if (calls_.empty()) return;
  const uint64_t ticket = Pick(calls_)->first;
  if (OneIn(2)) {
    calls_.erase(ticket);
    engine_->CancelCall(now_, ticket, actions_);
  } else {
    engine_->EndWait(now_, ticket, Reason::kWaitTimeout, actions_);
  }
}

void SimWorld::LocalTryAcquire() {
  if (!dying_.empty() && OneIn(4)) {
    // A revoked process goes on: wins a CAS, and undoes it or is killed before.
    const SessionIndex zombie = *dying_.begin();
    LocalClient::TryAcquire(pool_->words(), zombie, false, OneIn(3));
    return;
  }
  if (processes_.empty()) return;
  const auto process = Pick(processes_);
  const SessionIndex me = process->first;
  const auto grant = LocalClient::TryAcquire(pool_->words(), me, true, /*ignores_gate=*/OneIn(10));
  if (!grant) return;
  Note("  session " + std::to_string(me) + " takes slot " + std::to_string(grant->slot));
  const FencingToken token = MakeToken(authority_->epoch(), grant->gen);
  Believe(grant->slot, {token, me, kNever});
  process->second.held[grant->slot] = token;
}

void SimWorld::LocalRelease() {
  if (processes_.empty()) return;
  const auto process = Pick(processes_);
  auto& held = process->second.held;
  if (held.empty()) return;
  const auto lease = Pick(held);
  const SlotGrant grant{lease->first, GenerationOf(lease->second)};
  const auto believer = believers_.find(grant.slot);
  const bool believes = believer != believers_.end() &&
                        believer->second.session == process->first &&
                        GenerationOf(believer->second.token) == grant.gen;
  held.erase(lease);
  if (believes) believers_.erase(believer);
  if (OneIn(8)) return;  // lost track of it without releasing: the audit finds it
  const bool done = LocalClient::Release(pool_->words(), process->first, grant);
  if (believes != done) Fail(done ? "a lost lease could be released" : "a held lease could not");
}

void SimWorld::LocalWait() {
  if (processes_.empty()) return;
  const auto process = Pick(processes_);
  auto& waiting = process->second.waiting;
  if (!waiting.empty() && OneIn(3)) {
    const uint64_t ticket = *waiting.begin();
    waiting.erase(ticket);
    engine_->Leave(now_, process->first, ticket, actions_);
    return;
  }
  const uint64_t ticket = ++process->second.last_ticket;
  waiting.insert(ticket);
  engine_->Enqueue(now_, process->first, ticket, static_cast<int64_t>(Random(kSecond)), kHour,
                   actions_);
}

void SimWorld::ReadInbox(SessionIndex session) {
  Process& process = processes_[session];
  while (!process.inbox.empty()) {
    const Message message = process.inbox.front();
    process.inbox.pop_front();
    if (message.kind == Message::kAudit) {
      const auto held = process.held.find(message.slot);
      engine_->AuditAnswer(now_, session, message.slot,
                           held == process.held.end() ? 0 : GenerationOf(held->second),
                           message.question, actions_);
      continue;
    }
    engine_->GrantAck(session, message.slot, message.ticket);
    const bool is_wanted = process.waiting.erase(message.ticket) != 0;
    const auto newer = process.held.find(message.slot);
    // Taken back while it was on its way, and the slot is this process's again by another grant.
    if (newer != process.held.end() && newer->second > message.token) continue;
    process.held[message.slot] = message.token;
    if (is_wanted) continue;
    // The waiter had left: the library gives the slot back at once.
    process.held.erase(message.slot);
    StopBelieving(message.slot, message.token);
    LocalClient::Release(pool_->words(), session, {message.slot, GenerationOf(message.token)});
  }
}

void SimWorld::KillSession() {
  if (processes_.empty()) return;
  const SessionIndex session = Pick(processes_)->first;
  Note("  session " + std::to_string(session) + " dies");
  ForgetProcess(session);
  dying_.insert(session);
}

void SimWorld::AttachSession() {
  SessionIndex session = kOwnerSessionFirst;
  while (processes_.count(session) != 0 || dying_.count(session) != 0) ++session;
  sessions_.attached[session] = now_.boot_ns;
  processes_[session];
}

void SimWorld::ConfirmDeaths() {
  const std::vector<SessionIndex> ended(dying_.begin(), dying_.end());
  engine_->SessionsEnded(now_, ended, actions_);
  for (const SessionIndex session : ended) dying_.erase(session);
}

bool SimWorld::DrainOrResume() {
  if (!OneIn(drain_reason_ ? 2 : 8)) return false;
  if (drain_reason_) {
    drain_reason_.reset();
    engine_->ResumePool(now_, actions_);
  } else {
    drain_reason_ = "sim";
    engine_->DrainPool(now_, *drain_reason_, actions_);
  }
  Note(drain_reason_ ? "  drained" : "  resumed");
  return true;
}

void SimWorld::Operate() {
  if (DrainOrResume()) return;
  const auto slot = static_cast<SlotIndex>(Random(options_.capacity));
  const int64_t grace_ns = OneIn(2) ? 0 : static_cast<int64_t>(Random(2 * kSecond));
  switch (Random(5)) {
    case 0:
      engine_->LockSlot(now_, slot, "sim", actions_);
      locked_.insert(slot);
      return;
    case 1:
    case 2:
      engine_->UnlockSlot(now_, slot, actions_);
      locked_.erase(slot);
      return;
    case 3:
      if (!leases_.empty()) {
        const RemoteLease& lease = leases_[Random(leases_.size())];
        revoking_.insert({lease.grant.lease.slot, lease.grant.lease.token});
        engine_->Revoke(now_, lease.grant.lease.id, grace_ns, actions_);
      }
      return;
    default: {
      const auto believer = believers_.find(slot);
      if (believer != believers_.end() && believer->second.session != kOwnerNone) {
        revoking_.insert({slot, believer->second.token});
        engine_->RevokeLocal(now_, slot, believer->second.token, grace_ns, actions_);
      } else if (!calls_.empty()) {
        engine_->CancelWaiter(now_, Pick(calls_)->first, actions_);
      }
    }
  }
}

// Sockets are read first: what this world keeps of a hold is its generation, which may come again.
void SimWorld::Renumber() {
  if (!engine_->wants_renumbering()) return;
  for (auto& [session, process] : processes_) ReadInbox(session);
  CarryOut();
  const Epoch epoch = authority_->epoch() + 1;
  const uint64_t before = engine_->stats().renumberings;
  if (!engine_->wants_renumbering()) return;
  engine_->Renumber(now_, epoch, actions_);
  if (engine_->stats().renumberings == before) Fail("nothing was renumbered");
}

void SimWorld::Restart() {
  was_killed_ = true;
  ledger_.writes_until_kill = -1;
  switch (Random(5)) {
    case 0:
      Note("segment lost");
      return RestartFresh(/*same_boot=*/true);
    case 1:
      Note("reboot");
      RestartFresh(/*same_boot=*/false);
      last_tick_ns_ = now_.boot_ns;
      return;
    default:
      Note("worker restarted");
      return RestartAdopted();
  }
}

}  // namespace leaseplane::engine
