// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "tests/model/engine_sim/sim_world.h"

namespace leaseplane::engine {

void SimWorld::Note(std::string line) {
  story_.push_back(std::to_string(now_.boot_ns / kMillisecond) + " ms: " + std::move(line));
  if (story_.size() > 120) story_.pop_front();
}

void SimWorld::Fail(const std::string& what) const {
  std::string text = what + "\n";
  for (const std::string& line : story_) text += "  " + line + "\n";
  throw Broken(text);
}

void SimWorld::Check() {
  if (ledger_.misuses != 0) Fail("the ledger was used against its rules");
  CheckLedgerAndWords();
  CheckCounts();
  CheckNobodyWaitsBesideAFreeSlot();
  if (drain_reason_) CheckDrained();
}

// The ledger, the engine and the words say the same about remote leases; every lease that is gone
// from the ledger has been told.
void SimWorld::CheckLedgerAndWords() {
  std::set<uint64_t> live;
  for (const auto& [slot, record] : ledger_.leases) {
    live.insert(record.id.lo);
    if (pool_->Word(slot) != BusyWord(kOwnerDaemon, GenerationOf(record.token))) {
      Fail("a lease without its word");
    }
    if (pool_->words().IsGranted(slot)) Fail("a held slot with its grant bit set");
    const auto info = engine_->GetLease(now_, record.id);
    const auto* lease = std::get_if<LeaseInfo>(&info);
    if (lease == nullptr || lease->state != LeaseState::kActive || lease->token != record.token) {
      Fail("a lease that the engine does not know");
    }
    const auto check = std::get<TokenCheck>(engine_->CheckToken(slot, record.token));
    if (!check.valid) Fail("the token of a live lease is not valid");
  }
  for (SlotIndex slot = 0; slot < options_.capacity; ++slot) {
    const SlotWord word = pool_->Word(slot);
    if (!IsWellFormed(word)) Fail("a damaged word");
    const bool is_daemons = StateOf(word) == SlotState::kBusy && OwnerOf(word) == kOwnerDaemon;
    if (is_daemons && ledger_.leases.count(slot) == 0) Fail("a daemon word without a lease");
  }
  if (!was_killed_) {
    for (const uint64_t id : live_ids_) {
      if (live.count(id) == 0 && ended_ids_.count(id) == 0) Fail("a lease ended silently");
    }
  }
  live_ids_ = std::move(live);
  ended_ids_.clear();
  for (const auto& [slot, believer] : believers_) {
    if (believer.until_ns <= now_.boot_ns) continue;
    const SessionIndex owner = believer.session == kOwnerNone ? kOwnerDaemon : believer.session;
    if (pool_->Word(slot) != BusyWord(owner, GenerationOf(believer.token))) {
      Fail("slot " + std::to_string(slot) + " was taken from its holder " +
           std::to_string(believer.session) + " token " + std::to_string(believer.token));
    }
    if (!std::get<TokenCheck>(engine_->CheckToken(slot, believer.token)).valid) {
      Fail("a holder's token is not valid");
    }
  }
}

// Waiters in the engine's queue whose caller or session is still there.
size_t SimWorld::PresentWaiters() const {
  size_t present = 0;
  for (const WaiterInfo& waiter : engine_->ListWaiters(now_)) {
    if (waiter.path == LeasePath::kRemote) {
      present += calls_.count(waiter.ticket);
      continue;
    }
    for (const auto& [session, process] : processes_) {
      if (waiter.principal == sessions_.PrincipalOf(session)) ++present;
    }
  }
  return present;
}

void SimWorld::CheckCounts() {
  const PoolCounts counts = engine_->Counts();
  if (counts.free + counts.busy_local + counts.busy_remote + counts.locked + counts.cooling +
          counts.quarantined !=
      counts.capacity) {
    Fail("counts do not add up");
  }
  if (counts.busy_remote != ledger_.leases.size()) Fail("busy_remote is not the ledger's");
  if (counts.quarantined != 0) Fail("a quarantined slot in an honest world");
  if (counts.waiters > options_.max_waiters) Fail("more waiters than may be");
  size_t waiting = calls_.size();
  for (const auto& [session, process] : processes_) waiting += process.waiting.size();
  const size_t present = PresentWaiters();
  if (present > waiting) Fail("the queue has waiters that do not wait");
  for (const auto& [ticket, id] : calls_) {
    if (std::holds_alternative<Refusal>(engine_->Position(now_, ticket))) {
      Fail("an open call is not in the queue");
    }
  }
}

void SimWorld::CheckNobodyWaitsBesideAFreeSlot() {
  const bool somebody_waits = PresentWaiters() != 0;
  const shm::Gate gate = authority_->gate();
  if (somebody_waits && gate == shm::Gate::kOpen) Fail("the gate is open beside a waiter");
  if (!somebody_waits) return;
  for (SlotIndex slot = 0; slot < options_.capacity; ++slot) {
    if (IsGrantable(pool_->Word(slot)) && pool_->words().IsGranted(slot)) {
      Fail("somebody waits beside free slot " + std::to_string(slot));
    }
  }
}

void SimWorld::CheckDrained() {
  if (engine_->state() != PoolState::kDraining) Fail("a drained pool that does not say so");
  if (PresentWaiters() != 0) Fail("somebody waits in a drained pool");
  if (authority_->gate() != shm::Gate::kClosed) Fail("the gate of a drained pool is not closed");
  for (SlotIndex slot = 0; slot < options_.capacity; ++slot) {
    if (pool_->words().IsGranted(slot)) Fail("a drained pool with a grant bit");
  }
}

// Processes that answer audits lose no slot, whatever they lost track of and whatever grants were
// dropped by a dying worker: what they do not know of is taken back.
void SimWorld::CheckLeaksAreFound() {
  for (int i = 0; i < 40; ++i) {
    PassTime(500 * kMillisecond, true);
    for (const auto& [session, process] : std::map<SessionIndex, Process>(processes_)) {
      if (processes_.count(session) == 0) continue;
      ReadInbox(session);
      CarryOut();
    }
    SeeDseq();
    CarryOut();
  }
  for (SlotIndex slot = 0; slot < options_.capacity; ++slot) {
    const SlotWord word = pool_->Word(slot);
    const SessionIndex session = OwnerOf(word);
    if (StateOf(word) != SlotState::kBusy || processes_.count(session) == 0) continue;
    const auto& held = processes_[session].held;
    const auto lease = held.find(slot);
    const bool is_known =
        lease != held.end() && GenerationOf(lease->second) == GenerationOfWord(word);
    if (!is_known && processes_[session].inbox.empty()) {
      Fail("slot " + std::to_string(slot) + " leaks: its session does not know it");
    }
  }
}

// Everybody leaves, time passes: no slot may be lost, no ticket unanswered, the gate open.
void SimWorld::CheckQuietEnd() {
  was_killed_ = false;
  ledger_.writes_until_kill = -1;
  CheckLeaksAreFound();
  Note("everybody leaves");
  for (const SlotIndex slot : std::set<SlotIndex>(locked_)) {
    engine_->UnlockSlot(now_, slot, actions_);
    CarryOut();
  }
  if (drain_reason_) {
    drain_reason_.reset();
    engine_->ResumePool(now_, actions_);
    CarryOut();
  }
  while (!processes_.empty()) {
    const SessionIndex session = processes_.begin()->first;
    ForgetProcess(session);
    dying_.insert(session);
  }
  ConfirmDeaths();
  CarryOut();
  for (int i = 0; i < 12; ++i) {
    PassTime(5 * kSecond, true);
    SeeDseq();
    CarryOut();
    Renumber();
    CarryOut();
    Check();
  }
  if (!calls_.empty()) Fail("a call was never answered");
  if (!ledger_.leases.empty()) Fail("a lease never ended");
  const PoolCounts counts = engine_->Counts();
  if (counts.free != counts.capacity) Fail("a slot is lost");
  if (counts.waiters != 0) Fail("a waiter is left");
  for (SlotIndex slot = 0; slot < options_.capacity; ++slot) {
    if (!pool_->words().IsGranted(slot)) Fail("a free slot without its grant bit");
  }
  if (authority_->gate() != shm::Gate::kOpen) Fail("the gate is closed beside an empty queue");
}

}  // namespace leaseplane::engine
