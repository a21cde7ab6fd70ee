// SPDX-License-Identifier: Apache-2.0
#include "tests/model/engine_sim/sim_world.h"

#include <algorithm>

namespace leaseplane::engine {

SimWorld::SimWorld(uint64_t seed) : random_(seed) {
  options_.id = "sim";
  options_.capacity = static_cast<uint32_t>(1 + Random(5));
  options_.fairness = OneIn(2) ? Fairness::kFifo : Fairness::kBounded;
  options_.default_ttl_ns = static_cast<int64_t>(1 + Random(4)) * kSecond;
  if (OneIn(4)) options_.reuse_delay_ns = static_cast<int64_t>(Random(400)) * kMillisecond;
  if (OneIn(4)) options_.lock_delay_ns = static_cast<int64_t>(Random(900)) * kMillisecond;
  if (OneIn(4)) options_.max_waiters = static_cast<uint32_t>(1 + Random(4));
  if (OneIn(6)) options_.max_leases_per_client = 2;
  if (OneIn(6)) options_.max_waiters_per_client = 2;
  if (OneIn(6)) options_.max_duration_ns = 5 * kSecond;
  ledger_.tombstones_max = OneIn(3) ? 2 : 64;
  pool_ = std::make_unique<HeapPool>(options_.capacity);
  for (int i = 0; i < 3; ++i) AttachSession();
  BuildEngine();
  RecoverOptions how;
  how.drain_reason = drain_reason_;
  how.first_gen = FirstGen();
  engine_->Recover(now_, ledger_.Contents(), how, actions_);
  last_tick_ns_ = now_.boot_ns;
}

void SimWorld::BuildEngine() {
  engine_.reset();
  actions_.Clear();
  ledger_.writes_until_kill = -1;
  authority_ = std::make_unique<Authority<RealMemory>>(pool_->words(), options_.capacity);
  authority_->SetRenumberAt(kRenumberAt);
  engine_ = std::make_unique<PoolEngine>(options_, *authority_, ledger_, ids_, sessions_);
  calls_.clear();  // remote connections died with the worker
}

// Sockets, words and session words outlive the worker. Libraries read their sockets to the end,
// and then present the tickets that still wait.
void SimWorld::RestartAdopted() {
  const Epoch epoch = authority_->epoch() + 1;
  BuildEngine();
  authority_->SetEpoch(epoch);
  RecoverOptions how;
  how.drain_reason = drain_reason_;
  how.origin = SegmentOrigin::kAdopted;
  const RecoverReport report = engine_->Recover(now_, ledger_.Contents(), how, actions_);
  if (report.integrity_violations != 0) Fail("an honest world looks damaged after a restart");
  if (report.leases_dropped != 0) Fail("a restart dropped a lease");
  CarryOut();
  for (const auto& [session, before] : std::map<SessionIndex, Process>(processes_)) {
    if (processes_.count(session) == 0) continue;
    ReadInbox(session);
    const std::set<uint64_t> waiting = processes_[session].waiting;
    for (const uint64_t ticket : waiting) {
      if (processes_.count(session) == 0) break;  // a send to it failed meanwhile
      engine_->Enqueue(now_, session, ticket, static_cast<int64_t>(Random(kSecond)), kHour,
                       actions_);
      CarryOut();
    }
  }
  ConfirmDeaths();
  if (OneIn(2)) engine_->EndRecovery(now_, actions_);
  CarryOut();
}

// The segment is gone. In the same boot sessions attach again and declare what they hold.
void SimWorld::RestartFresh(bool same_boot) {
  for (auto& [session, process] : processes_) {
    while (!process.inbox.empty()) ReadInbox(session);
    process.waiting.clear();
  }
  const Epoch epoch = authority_->epoch() + 1;
  pool_ = std::make_unique<HeapPool>(options_.capacity);
  dseq_seen_ = 0;
  if (!same_boot) {
    while (!processes_.empty()) ForgetProcess(processes_.begin()->first);
    const int64_t away_ns = static_cast<int64_t>(1 + Random(20)) * kSecond;
    const int64_t new_boot_ns = static_cast<int64_t>(1 + Random(100)) * kSecond;
    for (auto& [slot, believer] : believers_)
      believer.until_ns += new_boot_ns - now_.boot_ns - away_ns;
    for (RemoteLease& lease : leases_) lease.until_ns += new_boot_ns - now_.boot_ns - away_ns;
    now_ = {new_boot_ns, now_.unix_ns + away_ns};
    for (int i = 0; i < 3; ++i) AttachSession();
  }
  dying_.clear();
  BuildEngine();
  authority_->SetEpoch(epoch);
  RecoverOptions how;
  how.drain_reason = drain_reason_;
  how.same_boot = same_boot;
  how.await_claims = same_boot;
  how.first_gen = FirstGen();
  engine_->Recover(now_, ledger_.Contents(), how, actions_);
  CarryOut();
  for (auto& [session, process] : processes_) {
    for (const auto& [slot, token] : std::map<SlotIndex, FencingToken>(process.held)) {
      const auto believer = believers_.find(slot);
      const bool knows = believer != believers_.end() && believer->second.session == session &&
                         believer->second.token == token;
      if (!knows || !engine_->Claim(now_, session, slot, believer->second.token, actions_)) {
        if (knows) Fail("a true claim was refused");
        process.held.erase(slot);
      }
    }
  }
  CarryOut();
  engine_->EndRecovery(now_, actions_);
  CarryOut();
}

void SimWorld::Believe(SlotIndex slot, const Believer& believer) {
  const auto other = believers_.find(slot);
  if (other != believers_.end() && other->second.token != believer.token &&
      other->second.until_ns > now_.boot_ns) {
    Fail("slot " + std::to_string(slot) + " is given to a second holder");
  }
  FencingToken& last = last_token_[slot];
  // A remote lease can be heard of again, by its request id.
  const auto lease = ledger_.leases.find(slot);
  const bool is_again = lease != ledger_.leases.end() && lease->second.token == believer.token;
  if (believer.token < last || (believer.token == last && !is_again)) {
    Fail("token " + std::to_string(believer.token) + " of slot " + std::to_string(slot) +
         " does not increase");
  }
  const bool is_local = believer.session != kOwnerNone;
  if (drain_reason_ && is_local) Fail("a local grant in a drained pool");
  last = std::max(last, believer.token);
  believers_[slot] = believer;
}

void SimWorld::StopBelieving(SlotIndex slot, FencingToken token) {
  const auto found = believers_.find(slot);
  if (found == believers_.end()) return;
  if (GenerationOf(found->second.token) == GenerationOf(token)) believers_.erase(found);
}

// A caller got an answer that says it holds a lease.
void SimWorld::Heard(const Grant& grant, int64_t received_ns) {
  // A lease from before may be heard of now, by its request id.
  const bool is_new = live_ids_.count(grant.lease.id.lo) == 0;
  if (drain_reason_ && is_new) Fail("a grant in a drained pool");
  const int64_t until_ns = received_ns + grant.queued_ns + grant.lease.remaining_ns;
  Believer believer;
  believer.token = grant.lease.token;
  believer.until_ns = until_ns;
  const auto old = believers_.find(grant.lease.slot);
  if (old != believers_.end() && old->second.token == believer.token) {
    believer.until_ns = std::max(believer.until_ns, old->second.until_ns);
  }
  Believe(grant.lease.slot, believer);
  for (RemoteLease& lease : leases_) {
    if (lease.grant.lease.id == grant.lease.id) return;
  }
  leases_.push_back({grant, until_ns});
  if (leases_.size() > 24) leases_.erase(leases_.begin());
}

void SimWorld::ForgetProcess(SessionIndex session) {
  sessions_.attached.erase(session);
  processes_.erase(session);
  for (auto it = believers_.begin(); it != believers_.end();) {
    it = it->second.session == session ? believers_.erase(it) : std::next(it);
  }
}

// A worker that dies in the middle of a revocation cannot tell the holder; the order stands.
void SimWorld::ForgetRevoked() {
  for (const auto& [slot, token] : revoking_) {
    const auto believer = believers_.find(slot);
    if (believer == believers_.end() || believer->second.token != token) continue;
    const SessionIndex session = believer->second.session;
    const bool is_remote = session == kOwnerNone;
    const SlotWord word = BusyWord(is_remote ? kOwnerDaemon : session, GenerationOf(token));
    const bool is_held =
        is_remote ? ledger_.leases.count(slot) != 0 && ledger_.leases[slot].token == token
                  : pool_->Word(slot) == word;
    if (!is_held) believers_.erase(believer);
  }
}

void SimWorld::CarryOutSends() {
  const auto sends = std::exchange(actions_.send_grant, {});
  for (const auto& send : sends) {
    const auto process = processes_.find(send.session);
    if (process == processes_.end() || OneIn(20)) {
      Note("send to " + std::to_string(send.session) + " fails");
      engine_->SendFailed(now_, send.session, send.slot, send.token, actions_);
      if (process != processes_.end()) {
        ForgetProcess(send.session);
        dying_.insert(send.session);
      }
      FencingToken& last = last_token_[send.slot];
      last = std::max(last, send.token);
      continue;
    }
    Note("  session " + std::to_string(send.session) + " is sent slot " +
         std::to_string(send.slot) + " token " + std::to_string(send.token));
    Believe(send.slot, {send.token, send.session, kNever});
    process->second.inbox.push_back({Message::kGrant, send.slot, send.token, send.ticket, 0});
  }
}

void SimWorld::CarryOut() {
  for (int rounds = 0; !actions_.Empty(); ++rounds) {
    if (rounds > 100) Fail("actions never end");
    for (const auto& ended : std::exchange(actions_.lease_ended, {})) {
      ended_ids_.insert(ended.id.lo);
      for (RemoteLease& lease : leases_) {
        if (lease.grant.lease.id == ended.id) {
          StopBelieving(lease.grant.lease.slot, lease.grant.lease.token);
        }
      }
    }
    for (const auto& ended : std::exchange(actions_.local_lease_ended, {})) {
      const auto believer = believers_.find(ended.slot);
      if (believer != believers_.end() && believer->second.session == ended.session) {
        StopBelieving(ended.slot, ended.token);
      }
    }
    for (const auto& granted : std::exchange(actions_.waiter_granted, {})) {
      if (calls_.erase(granted.ticket) == 0) Fail("a grant for a call that is not open");
      Note("waiter " + std::to_string(granted.ticket) + " gets slot " +
           std::to_string(granted.grant.lease.slot));
      Heard(granted.grant, now_.boot_ns - granted.grant.queued_ns);
    }
    for (const auto& refused : std::exchange(actions_.waiter_refused, {})) {
      if (calls_.erase(refused.ticket) == 0) Fail("a refusal for a call that is not open");
    }
    CarryOutSends();
    for (const auto& refused : std::exchange(actions_.ticket_refused, {})) {
      const auto process = processes_.find(refused.session);
      if (process != processes_.end()) process->second.waiting.erase(refused.ticket);
    }
    for (const auto& ask : std::exchange(actions_.ask_audit, {})) {
      const auto process = processes_.find(ask.session);
      if (process == processes_.end()) continue;
      process->second.inbox.push_back({Message::kAudit, ask.slot, 0, 0, ask.question});
    }
    if (!actions_.ask_all.empty()) Fail("an honest world is taken for damaged");
    actions_.revoke_requested.clear();
    actions_.local_revoke_requested.clear();
    actions_.waited.clear();
    SeeDseq();
  }
}

void SimWorld::SeeDseq() {
  if (authority_->LoadDseq() == dseq_seen_) return;
  dseq_seen_ = authority_->LoadDseq();
  engine_->OnReleased(now_, actions_);
}

}  // namespace leaseplane::engine
