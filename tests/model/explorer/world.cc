// SPDX-License-Identifier: Apache-2.0
#include "tests/model/explorer/world.h"

namespace leaseplane::explorer {
namespace {

SessionIndex OwnerOfProcess(int id) { return kOwnerSessionFirst + static_cast<SessionIndex>(id); }

uint64_t ActiveWord(int id) {
  return shm::MakeSessionWord(shm::SessionState::kActive, static_cast<uint64_t>(id) + 1);
}

}  // namespace

void World::Reset(const Config& c) {
  config = c;
  faults_possible_ =
      c.kills + c.revokes + c.crashes + c.voids + c.moves + c.timeouts + c.registers > 0;
  for (StoreBuffer& b : SimMemory::buffers) b.count = 0;
  SimMemory::observer = &oracle;
  process_count = 0;
  for (int p : c.threads) process_count = std::max(process_count, p + 1);
  ResetWords();
  for (int i = 0; i < process_count; ++i) ResetProcess(processes[static_cast<size_t>(i)], i);
  threads.fill({});
  remotes.fill({});
  ledger.fill({});
  admin_events.clear();
  refused_once = unfair_once = is_drained = drained_once = false;
  MakeAuthority();
  worker.authority->Initialize(FirstGeneration(), /*grantable=*/true, 0);
  worker.queue.clear();
  worker.patience_over = false;
  oracle.Reset();
  SpawnAll();
}

void World::ResetWords() {
  slots.fill(FreeWord(FirstGeneration()));
  base_epochs.fill(1);
  stored_epoch = 1;
  sessions.fill(0);
  wcnt = heartbeat = 0;
  wseq = dseq = drained = 0;
  grant_bits = (uint64_t{1} << config.slots) - 1;
  policy = shm::MakePolicy(1, shm::Gate::kOpen,
                           config.locked ? shm::ReleaseWord::kLocked : shm::ReleaseWord::kFree);
  words = {};
  words.slots = slots.data();
  words.max_capacity = static_cast<uint32_t>(config.slots);
  words.wseq = &wseq;
  words.dseq = &dseq;
  words.wcnt = &wcnt;
  words.policy = &policy;
  words.drained = &drained;
  words.heartbeat = &heartbeat;
  words.grant_bits = &grant_bits;
  words.sessions = sessions.data();
  words.base_epochs = base_epochs.data();
  finder.Clear();
  finder.Lay(words);
  SimMemory::quiet_hints = config.finder ? nullptr : &finder;
  SimMemory::spin_rounds = config.spins;
}

void World::MakeAuthority() {
  worker.authority.emplace(words, static_cast<uint32_t>(config.slots));
  if (config.renumber_after <= 0) return;
  worker.authority->SetRenumberAt(static_cast<Generation>(config.renumber_after));
}

bool World::TickAtRest() {
  if (config.renumber_after <= 0 || worker.authority->spent_count() == 0) return false;
  admin_events.push_back('N');
  NotifyDaemon();
  return true;
}

void World::ResetProcess(Process& p, int id) {
  p.owner = OwnerOfProcess(id);
  p.dead = p.revoked = p.end_wanted = p.socket_closed = p.void_wanted = p.port_locked = false;
  p.move_wanted = p.has_declared = false;
  p.left_at = kNever;
  p.ended_level = 0;
  p.last_ticket = 0;
  p.inbox.clear();
  p.outbox.clear();
  p.tickets.clear();
  p.handed.clear();
  p.flags.word = ProcessFlags<SimMemory>::kAttachStep;
  p.claims.emplace(words.max_capacity);
  sessions[p.owner] = ActiveWord(id);
  p.attachment = {words, p.owner, ActiveWord(id), ProcessFlags<SimMemory>::kAttachStep};
}

void World::SpawnAll() {
  static const char* const kThreadNames[] = {"thread 0", "thread 1", "thread 2", "thread 3"};
  static const char* const kLibraryNames[] = {"library 0", "library 1", "library 2"};
  static const char* const kRemoteNames[] = {"remote 0", "remote 1"};
  process_of_fiber.fill(-1);
  Scheduler& s = TheScheduler();
  for (size_t t = 0; t < config.threads.size(); ++t) {
    threads[t].process = config.threads[t];
    threads[t].fiber = s.Spawn(kThreadNames[t], [this, t] { RunAppThread(*this, int(t)); });
    process_of_fiber[static_cast<size_t>(threads[t].fiber)] = int8_t(config.threads[t]);
  }
  for (int p = 0; p < process_count; ++p) {
    Process& process = processes[static_cast<size_t>(p)];
    process.library_fiber = s.Spawn(kLibraryNames[p], [this, p] { RunLibrary(*this, p); });
    process_of_fiber[static_cast<size_t>(process.library_fiber)] = static_cast<int8_t>(p);
  }
  for (int r = 0; r < config.remotes; ++r) {
    remotes[static_cast<size_t>(r)].fiber =
        s.Spawn(kRemoteNames[r], [this, r] { RunRemote(*this, r); });
  }
  if (!config.admin.empty()) s.Spawn("admin", [this] { RunAdministrator(*this); });
  SpawnDaemon(false);
}

void World::SpawnDaemon(bool restarted) {
  worker.fiber = TheScheduler().Spawn(restarted ? "daemon'" : "daemon",
                                      [this, restarted] { RunDaemon(*this, restarted); });
}

// -- sockets

void World::SendToDaemon(Process& p, const Message& m) {
  if (p.socket_closed) return;
  p.outbox.push_back(m);
  NotifyDaemon();
}

void World::SendToProcess(Process& p, const Message& m) {
  p.inbox.push_back(m);
  WakeLibrary(p);
}

void World::WakeLibrary(const Process& p) {
  if (TheScheduler().IsBlockedOn(p.library_fiber, &p.inbox)) {
    TheScheduler().Unblock(p.library_fiber);
  }
}

void World::NotifyDaemon() {
  if (TheScheduler().IsBlockedOn(worker.fiber, &dseq)) TheScheduler().Unblock(worker.fiber);
}

bool World::DaemonHasEvents() const {
  for (int i = 0; i < process_count; ++i) {
    const Process& p = processes[static_cast<size_t>(i)];
    if (p.end_wanted && p.ended_level < (p.dead ? 2 : 1)) return true;
    if (!p.outbox.empty()) return true;
  }
  for (const Remote& r : remotes) {
    if ((r.state == Remote::State::kAsking && !r.seen) || r.state == Remote::State::kReturning) {
      return true;
    }
  }
  return !admin_events.empty();
}

// -- the end

void World::JudgeBesideHolders() {
  bool sleeper = false;
  for (size_t t = 0; t < config.threads.size(); ++t) {
    const Process& p = processes[static_cast<size_t>(threads[t].process)];
    const bool holds = TheScheduler().IsBlockedOn(threads[t].fiber, &remotes);
    sleeper |= !p.dead && !threads[t].finished && !holds;
  }
  for (int i = 0; i < config.slots && sleeper; ++i) {
    if (StateOf(slots[static_cast<size_t>(i)]) == SlotState::kFree) {
      TheScheduler().MarkFailed("a thread sleeps beside a free slot");
    }
  }
}

void World::Judge() {
  Scheduler& s = TheScheduler();
  auto check = [&s](bool ok, const char* why) {
    if (!ok) s.MarkFailed(why);
  };
  for (size_t t = 0; t < config.threads.size(); ++t) {
    const Process& p = processes[static_cast<size_t>(threads[t].process)];
    check(p.dead || threads[t].finished, "a thread sleeps for ever");
  }
  for (int r = 0; r < config.remotes; ++r) {
    check(remotes[static_cast<size_t>(r)].state == Remote::State::kDone,
          "a remote caller waits for ever");
  }
  check(!DaemonHasEvents(), "the daemon sleeps beside an event");
  for (int i = 0; i < config.slots; ++i) {
    check(StateOf(slots[static_cast<size_t>(i)]) == SlotState::kFree, "a slot was lost");
    check(ledger[static_cast<size_t>(i)].remote < 0, "the ledger has a lease nobody holds");
  }
  check(!oracle.AnyHolder(), "somebody holds a slot at the end");
  const uint64_t offered = is_drained ? 0 : (uint64_t{1} << config.slots) - 1;
  check(grant_bits == offered, "the wrong slots are withheld at the end");
  check(worker.queue.empty(), "somebody is left in the queue");
  check(words.GateClosed() == is_drained, "the gate stayed as it was");
  check(WaiterCount(wcnt) == 0, "the waiter count is not zero at the end");
  if (!s.failed() && !is_drained) JudgeFinder();
}

// Whatever was lost with a thread, three scans later a search finds every free slot.
void World::JudgeFinder() {
  auto alive = [this](SessionIndex owner) {
    for (int i = 0; i < process_count; ++i) {
      const Process& p = processes[static_cast<size_t>(i)];
      if (p.owner == owner) return !p.dead && !p.revoked;
    }
    return false;
  };
  for (int scan = 0; scan < 3; ++scan) worker.authority->Scan(0, 0, alive, worker.report);
  for (int i = 0; i < config.slots; ++i) {
    if (!IsFindable(static_cast<SlotIndex>(i))) {
      TheScheduler().MarkFailed("no hint leads to a free slot");
    }
  }
}

bool World::IsFindable(SlotIndex slot) const {
  if ((words.finder.level[0][0] >> slot & 1) != 0) return true;
  for (uint32_t r = 0; r < words.finder.record_count; ++r) {
    const bool listed = (words.finder.summary[0] >> r & 1) != 0 && *words.finder.summary_root != 0;
    if (!listed || words.finder.records[r].claim == 0) continue;
    for (uint32_t named : words.finder.records[r].entries) {
      if (named == 0) break;
      if (named == slot + 1) return true;
    }
  }
  return false;
}

std::string World::NameOf(const void* word) const {
  auto numbered = [](const char* name, int64_t n) { return name + std::to_string(n); };
  for (size_t i = 0; i < slots.size(); ++i) {
    if (word == &slots[i]) return numbered("slot", static_cast<int64_t>(i));
  }
  for (size_t i = 0; i < sessions.size(); ++i) {
    if (word == &sessions[i]) return numbered("session", static_cast<int64_t>(i));
  }
  if (word == &wcnt) return "wcnt";
  if (word == &wseq) return "wseq";
  if (word == &dseq) return "dseq";
  if (word == &policy) return "policy";
  if (word == &drained) return "drained";
  if (word == &grant_bits) return "grant_bits";
  for (int i = 0; i < process_count; ++i) {
    const Process& p = processes[static_cast<size_t>(i)];
    if (word == &p.flags.word) return numbered("flags", i);
    for (const Ticket<SimMemory>* t : p.tickets) {
      if (word == &t->state) return numbered("ticket", static_cast<int64_t>(t->id));
    }
  }
  return finder.Contains(word) ? "hint" : "private";
}

}  // namespace leaseplane::explorer
