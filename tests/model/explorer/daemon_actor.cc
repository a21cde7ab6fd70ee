// SPDX-License-Identifier: Apache-2.0
//
// The daemon: the real Authority, a small queue in place of the engine, a ledger that survives its
// crashes; and the two that call it: a remote holder and the administrator.
#include "tests/model/explorer/world.h"

namespace leaseplane::explorer {
namespace {

constexpr int64_t kTickNs = 50'000'000;

class Daemon {
 public:
  explicit Daemon(World& world) : world_(world), w_(world.worker) {}

  void Run(bool restarted) {
    SimMemory::Before();
    if (restarted) {
      world_.MakeAuthority();
      Boot();
    }
    for (;;) {
      const uint32_t seen = w_.authority->LoadDseq();
      while (HandleEvent()) {
      }
      Serve();
      SimMemory::Before();
      if (*world_.words.dseq == seen && !world_.DaemonHasEvents()) {
        world_.oracle.OnDaemonSleeps();
        TheScheduler().BlockOn(&world_.dseq);
      }
    }
  }

 private:
  // -- after a crash
  void Boot() {
    if (world_.is_drained) w_.authority->SetDrained(true);
    w_.authority->Adopt(0);
    for (SlotIndex i = 0; i < w_.authority->capacity(); ++i) {
      const SlotWord word = w_.authority->LoadWord(i);
      const Generation gen = GenerationOfWord(word);
      const LedgerEntry& entry = world_.ledger[i];
      if (entry.remote >= 0) {
        if (!w_.authority->Restore(i, kOwnerDaemon, entry.token, 0)) {
          TheScheduler().Fail("a lease of the ledger has lost its word");
        }
      } else if (word == BusyWord(kOwnerDaemon, gen)) {
        w_.authority->TakeBack(i, kOwnerDaemon, gen);
      }
    }
    for (Process* p : Alive()) {
      world_.SendToProcess(*p, {.kind = Message::Kind::kRestarted});
    }
    AuditAll();
  }

  std::vector<Process*>& Alive() {
    w_.alive.clear();
    for (int i = 0; i < world_.process_count; ++i) {
      Process& p = world_.processes[static_cast<size_t>(i)];
      if (!p.dead && !p.socket_closed) w_.alive.push_back(&p);
    }
    return w_.alive;
  }

  Process* ActiveOwner(SessionIndex owner) {
    for (Process* p : Alive()) {
      if (p->owner == owner && !p->revoked) return p;
    }
    return nullptr;
  }

  // "Do you know slot i at generation g?", of every slot a session holds.
  void AuditAll() {
    for (SlotIndex i = 0; i < w_.authority->capacity(); ++i) {
      const SlotWord word = w_.authority->LoadWord(i);
      if (StateOf(word) != SlotState::kBusy) continue;
      Process* p = ActiveOwner(OwnerOf(word));
      if (p == nullptr) continue;
      world_.SendToProcess(*p, {.kind = Message::Kind::kAudit,
                                .slot = i,
                                .gen = GenerationOfWord(word),
                                .question = w_.authority->shadow(i).base_epoch});
    }
  }

  // -- events
  bool HandleEvent() {
    SimMemory::Before();
    for (int i = 0; i < world_.process_count; ++i) {
      Process& p = world_.processes[static_cast<size_t>(i)];
      if (p.end_wanted && p.ended_level < (p.dead ? 2 : 1)) {
        EndSession(p);
        return true;
      }
      if (!p.outbox.empty()) {
        const Message m = p.outbox.front();
        p.outbox.erase(p.outbox.begin());
        HandleMessage(i, m);
        return true;
      }
    }
    for (int r = 0; r < world_.config.remotes; ++r) {
      if (HandleRemote(r)) return true;
    }
    if (world_.admin_events.empty()) return false;
    const char order = world_.admin_events.front();
    world_.admin_events.erase(0, 1);
    HandleAdministrator(order);
    return true;
  }

  void HandleMessage(int process, const Message& m) {
    Process& p = world_.processes[static_cast<size_t>(process)];
    switch (m.kind) {
      case Message::Kind::kEnqueue:
        Enqueue(process, m.ticket);
        break;
      case Message::Kind::kLeave:
        std::erase_if(w_.queue, [&](const Worker::Waiter& x) {
          return x.process == process && x.ticket == m.ticket;
        });
        break;
      default:
        // An answer about an earlier numbering counts for nothing.
        if (m.answer != 0 || m.question != w_.authority->shadow(m.slot).base_epoch) break;
        w_.authority->TakeBack(m.slot, p.owner, m.gen);
        break;
    }
  }

  void Enqueue(int process, uint64_t ticket) {
    Process& p = world_.processes[static_cast<size_t>(process)];
    for (const Worker::Waiter& x : w_.queue) {
      if (x.process == process && x.ticket == ticket) return;
    }
    if (world_.is_drained) return RefuseDrained(p, ticket);
    if (world_.config.refusals > 0 && TheScheduler().Choose(2) == 1) {
      --world_.config.refusals;
      world_.refused_once = world_.unfair_once = true;
      if (!p.dead) world_.SendToProcess(p, {.kind = Message::Kind::kRefuse, .ticket = ticket});
      return;
    }
    w_.queue.push_back({.process = process, .ticket = ticket});
  }

  void RefuseDrained(Process& p, uint64_t ticket) {
    if (!p.dead) world_.SendToProcess(p, {.kind = Message::Kind::kDrained, .ticket = ticket});
  }

  // REQUIRES no remote callers: the model has no refusal for them.
  void Drain() {
    world_.is_drained = world_.drained_once = true;  // on the disk
    SimMemory::Before();
    w_.authority->SetDrained(true);
    for (const Worker::Waiter& x : w_.queue) {
      RefuseDrained(world_.processes[static_cast<size_t>(x.process)], x.ticket);
    }
    w_.queue.clear();
  }

  void EndSession(Process& p) {
    const int level = p.dead ? 2 : 1;
    SimMemory::Store(world_.sessions[p.owner],
                     shm::MakeSessionWord(shm::SessionState::kRevoked, p.owner));
    const int id = static_cast<int>(&p - world_.processes.data());
    std::erase_if(w_.queue, [&](const Worker::Waiter& x) { return x.process == id; });
    p.outbox.clear();
    p.socket_closed = true;
    w_.events.clear();
    const SessionIndex owner = p.owner;
    w_.authority->EndSessions({&owner, 1}, w_.events);
    if (!p.dead) world_.SendToProcess(p, {.kind = Message::Kind::kEnded});
    p.ended_level = level;
  }

  bool HandleRemote(int id) {
    Remote& r = world_.remotes[static_cast<size_t>(id)];
    if (r.state == Remote::State::kAsking && !r.seen) {
      r.seen = true;
      for (SlotIndex i = 0; i < w_.authority->capacity(); ++i) {
        if (world_.ledger[i].remote != id) continue;
        Answer(id, i);  // the caller's request id is known: it has its lease
        return true;
      }
      w_.queue.push_back({.remote = id});
      return true;
    }
    if (r.state != Remote::State::kReturning) return false;
    if (world_.ledger[r.slot].remote == id) {
      world_.ledger[r.slot] = {};
      SimMemory::Before();
      w_.authority->TakeBack(r.slot, kOwnerDaemon, r.gen);
    }
    r.state = Remote::State::kDone;
    TheScheduler().Unblock(r.fiber);
    return true;
  }

  void Answer(int id, SlotIndex slot) {
    Remote& r = world_.remotes[static_cast<size_t>(id)];
    r.slot = slot;
    r.gen = GenerationOf(world_.ledger[slot].token);
    r.state = Remote::State::kHolding;
    world_.oracle.OnRemoteHolds(id, r.slot, world_.ledger[slot].token);
    TheScheduler().Unblock(r.fiber);
  }

  void HandleAdministrator(char order) {
    switch (order) {
      case 'T':
        Tick();
        break;
      case 'A':
        AuditAll();
        break;
      case 'L':
        w_.authority->Lock(0);
        world_.oracle.OnLocked(0);
        break;
      case 'U':
        world_.oracle.OnUnlocking(0);
        w_.authority->Unlock(0);
        break;
      case 'V':
        TakeOne();
        break;
      case 'N':
        Tick();
        Renumber();
        break;
      case 'D':
        Drain();
        break;
      case 'R':
        world_.is_drained = false;
        SimMemory::Before();
        w_.authority->SetDrained(false);
        break;
      case 'P':
        w_.patience_over = true;
        break;
      default:
        world_.EndSession(world_.processes[0]);
        break;
    }
  }

  void Tick() {
    auto active = [this](SessionIndex owner) { return ActiveOwner(owner) != nullptr; };
    w_.authority->Scan(0, kTickNs, active, w_.report);
    if (w_.report.violations != 0) TheScheduler().Fail("a violation, but all are honest");
    for (const SlotEvent& e : w_.report.events) {
      if (e.finding == SlotFinding::kReleasedLocked) w_.authority->Reopen(e.slot);
    }
  }

  void Renumber() {
    if (!w_.authority->CanRenumber()) return;
    SimMemory::Before();
    const Epoch next = ++world_.stored_epoch;
    SimMemory::Before();  // the disk has it
    w_.renumbered.clear();
    w_.authority->Renumber(next, w_.renumbered);
  }

  // An operator revokes one lease of a live session.
  void TakeOne() {
    for (SlotIndex i = 0; i < w_.authority->capacity(); ++i) {
      const SlotWord word = w_.authority->LoadWord(i);
      Process* p = StateOf(word) == SlotState::kBusy ? ActiveOwner(OwnerOf(word)) : nullptr;
      if (p == nullptr) continue;
      const Generation gen = GenerationOfWord(word);
      world_.oracle.AllowTakingBack(i, gen);
      if (!w_.authority->TakeBack(i, p->owner, gen)) return;
      Message m{.kind = Message::Kind::kRevoked, .slot = i, .gen = gen};
      m.token = MakeToken(w_.authority->epoch(), gen);
      if (!p->dead) world_.SendToProcess(*p, m);
      return;
    }
  }

  // -- the queue
  void Serve() {
    if (world_.config.locked) {
      w_.events.clear();
      w_.authority->CollectReleased(w_.events);
      for (const SlotEvent& e : w_.events) w_.authority->Reopen(e.slot);
    }
    for (;;) {
      w_.authority->SetGate(WantedGate());
      if (w_.queue.empty() || !ServeHead()) return;
    }
  }

  shm::Gate WantedGate() const {
    if (world_.is_drained) return shm::Gate::kClosed;
    if (w_.queue.empty()) return shm::Gate::kOpen;
    return world_.config.fifo || w_.patience_over ? shm::Gate::kClosed : shm::Gate::kNotify;
  }

  bool ServeHead() {
    const Worker::Waiter head = w_.queue.front();
    const bool remote = head.remote >= 0;
    Process* p = remote ? nullptr : &world_.processes[static_cast<size_t>(head.process)];
    const auto grant = w_.authority->Grant(remote ? kOwnerDaemon : p->owner, 0);
    if (!grant) return false;
    w_.queue.erase(w_.queue.begin());
    w_.patience_over = false;
    if (remote) {
      SimMemory::Before();
      world_.ledger[grant->slot] = {head.remote, MakeToken(w_.authority->epoch(), grant->gen)};
      SimMemory::Before();
      Answer(head.remote, grant->slot);
      return true;
    }
    SimMemory::Before();
    if (p->dead) {  // it cannot be sent: the session ends, again if it had ended
      w_.authority->UndoGrant(grant->slot, p->owner, grant->gen);
      p->ended_level = std::min(p->ended_level, 1);
      return true;
    }
    Message m{.kind = Message::Kind::kGrant, .ticket = head.ticket, .slot = grant->slot};
    m.token = MakeToken(w_.authority->epoch(), grant->gen);
    world_.SendToProcess(*p, m);
    return true;
  }

  World& world_;
  Worker& w_;
};

}  // namespace

void RunDaemon(World& world, bool restarted) {
  Daemon daemon(world);
  daemon.Run(restarted);
}

void RunRemote(World& world, int id) {
  Remote& r = world.remotes[static_cast<size_t>(id)];
  SimMemory::Before();
  r.state = Remote::State::kAsking;
  world.NotifyDaemon();
  while (r.state == Remote::State::kAsking) TheScheduler().BlockOn(&r);
  if (world.config.lingers) TheScheduler().BlockOn(&world.remotes);
  SimMemory::Before();  // it holds the slot
  world.oracle.OnRemoteReturns(r.slot);
  r.state = Remote::State::kReturning;
  world.NotifyDaemon();
  while (r.state == Remote::State::kReturning) TheScheduler().BlockOn(&r);
}

void RunAdministrator(World& world) {
  for (char order : world.config.admin) {
    SimMemory::Before();
    world.admin_events.push_back(order);
    world.NotifyDaemon();
    TheScheduler().Yield();
  }
}

}  // namespace leaseplane::explorer
