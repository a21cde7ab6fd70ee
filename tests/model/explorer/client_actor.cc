// SPDX-License-Identifier: Apache-2.0
//
// The client process: application threads that take and give back slots, and the library thread
// that answers the daemon.
#include "tests/model/explorer/world.h"

namespace leaseplane::explorer {
namespace {

// The mutex around a process's tickets.
class PortLock {
 public:
  explicit PortLock(Process& p) : p_(p) {
    SimMemory::Before();
    while (p_.port_locked) TheScheduler().BlockOn(&p_.port_locked);
    p_.port_locked = true;
  }
  ~PortLock() {
    p_.port_locked = false;
    TheScheduler().Wake(&p_.port_locked, 1);
  }
  PortLock(const PortLock&) = delete;
  PortLock& operator=(const PortLock&) = delete;

 private:
  Process& p_;
};

class Port {
 public:
  Port(World& world, Process& process, AppThread& thread)
      : world_(world), process_(process), thread_(thread) {}

  int64_t NowNs() const { return thread_.now_ns; }

  void Enqueue(Ticket<SimMemory>& ticket, int64_t, int64_t) {
    PortLock lock(process_);
    ticket.id = ++process_.last_ticket;
    process_.tickets.push_back(&ticket);
    if (process_.socket_closed) {
      ticket.Answer(TicketState::kRefused);
      return;
    }
    world_.SendToDaemon(process_, {.kind = Message::Kind::kEnqueue, .ticket = ticket.id});
  }
  void Forget(Ticket<SimMemory>& ticket) {
    PortLock lock(process_);
    std::erase(process_.tickets, &ticket);
  }
  void Leave(Ticket<SimMemory>& ticket) {
    PortLock lock(process_);
    std::erase(process_.tickets, &ticket);
    world_.SendToDaemon(process_, {.kind = Message::Kind::kLeave, .ticket = ticket.id});
  }

 private:
  World& world_;
  Process& process_;
  AppThread& thread_;
};

// One acquire. False: there is no next round.
bool Acquire(World& world, int id, ThreadContext<SimMemory>& context, LocalGrant& grant) {
  AppThread& t = world.threads[static_cast<size_t>(id)];
  Process& p = world.processes[static_cast<size_t>(t.process)];
  if (id < world.config.bare) {
    const TryResult result = TryAcquire(context, grant);
    if (result == TryResult::kGone && !p.revoked) TheScheduler().Fail("gone, but alive");
    return result == TryResult::kOk;
  }
  if (world.config.hot && TryAcquire(context, grant) == TryResult::kOk) return true;
  Port port(world, p, t);
  Wait<SimMemory, Port> wait(context, port, world.config.fifo, kRegisterNs / 10);
  const WaitResult result = wait.Run(0, kDeadlineNs, grant);
  if (result != WaitResult::kOk) world.oracle.OnWaitFailed(id, result);
  return result == WaitResult::kOk;
}

// Gives back what thread `id` has just taken, or what another thread of its process left for it.
void GiveBack(World& world, int id, ThreadContext<SimMemory>& context, LocalGrant grant) {
  HandedLease lease{id, grant};
  SimMemory::Before();  // it holds the slot
  if (world.config.hands) {
    Process& p =
        world.processes[static_cast<size_t>(world.threads[static_cast<size_t>(id)].process)];
    p.handed.push_back(lease);
    SimMemory::Before();
    lease = p.handed.front();
    p.handed.erase(p.handed.begin());
  }
  world.oracle.OnReleasing(lease.thread, lease.grant);
  const ReleaseResult result = Release(context, lease.grant.slot, lease.grant.token);
  world.oracle.OnReleased(lease.thread, lease.grant, result);
}

void Deliver(World& world, Process& p, const Message& m) {
  p.claims->NoteAcquired(m.slot, m.token);
  bool taken = false;
  {
    PortLock lock(p);
    for (Ticket<SimMemory>* ticket : p.tickets) {
      if (ticket->id != m.ticket) continue;
      ticket->grant = {m.slot, m.token};
      taken = ticket->Answer(TicketState::kGranted);
      break;
    }
  }
  if (!taken) {
    ReleaseForOthers<SimMemory>(p.attachment, p.flags, *p.claims, m.slot, m.token);
  }
  (void)world;
}

void Refuse(Process& p, uint64_t id, TicketState answer) {
  PortLock lock(p);
  for (Ticket<SimMemory>* ticket : p.tickets) {
    if (ticket->id != id) continue;
    ticket->Answer(answer);
    return;
  }
}

void NudgeTickets(Process& p) {
  PortLock lock(p);
  for (Ticket<SimMemory>* ticket : p.tickets) ticket->Nudge();
}

void SendTicketsAgain(World& world, Process& p) {
  PortLock lock(p);
  for (Ticket<SimMemory>* ticket : p.tickets) {
    const TicketState state = ticket->Read();
    if (state != TicketState::kWaiting && state != TicketState::kNudged) continue;
    world.SendToDaemon(p, {.kind = Message::Kind::kEnqueue, .ticket = ticket->id});
  }
}

void Handle(World& world, Process& p, const Message& m) {
  switch (m.kind) {
    case Message::Kind::kGrant:
      Deliver(world, p, m);
      break;
    case Message::Kind::kRefuse:
      Refuse(p, m.ticket, TicketState::kRefused);
      break;
    case Message::Kind::kDrained:
      Refuse(p, m.ticket, TicketState::kDrained);
      break;
    case Message::Kind::kAudit: {
      Message answer{.kind = Message::Kind::kAuditAnswer, .slot = m.slot, .gen = m.gen};
      answer.answer = p.claims->Audit(m.slot, m.gen);
      answer.question = m.question;
      world.SendToDaemon(p, answer);
      break;
    }
    case Message::Kind::kRestarted:
      SendTicketsAgain(world, p);
      break;
    case Message::Kind::kEnded:
      NudgeTickets(p);  // they find their session gone
      break;
    default:
      p.claims->NoteRevoked(m.slot, m.token);
      p.claims->ForgetRevoked(p.attachment.words, p.owner, m.slot);
      break;
  }
}

// What the library does when another segment takes the place of this one, up to its declaration.
void LeaveSegment(World& world, int id) {
  Process& p = world.processes[static_cast<size_t>(id)];
  const PoolWords<SimMemory>& words = p.attachment.words;
  p.flags.BumpAttachGen();
  int patience = 3;
  p.claims->AwaitPending(words, p.owner, [&patience] {
    TheScheduler().Yield();
    return --patience > 0;
  });
  SimMemory::FetchAdd(*words.wseq, 1);
  SimMemory::FutexWake(*words.wseq, shm::kWakeAll);
  for (SlotIndex slot = 0; slot < words.max_capacity; ++slot) {
    const FencingToken before = world.oracle.HeldBy(id, slot);
    const FencingToken declared = p.claims->HeldToken(slot);
    const bool is_held = before != 0 && before == world.oracle.HeldBy(id, slot);
    if (is_held && declared != before && patience > 0) {
      TheScheduler().Fail("a lease was not declared");
    }
    world.oracle.OnDeclared(slot, declared);
  }
  p.has_declared = patience > 0;  // all of it
  p.move_wanted = false;
}

}  // namespace

void RunAppThread(World& world, int id) {
  AppThread& t = world.threads[static_cast<size_t>(id)];
  Process& p = world.processes[static_cast<size_t>(t.process)];
  SimMemory::quiet = true;
  ThreadRecord<SimMemory>& record = p.claims->Borrow();
  record.Bind(p.attachment.words, p.owner);
  ThreadContext<SimMemory> context(p.attachment, p.flags, *p.claims, record);
  // The first release beside a waiter ends the turn, and then every second one.
  if (world.config.turns) record.turn = {.max_overtake_ns = 0, .ends_ns = 1};
  if (world.config.hot) {
    context.Learn(SimMemory::Load(*p.attachment.words.policy));
    if (record.magazine.Refill(context.hot, p.attachment.words)) context.Aim();
  }
  SimMemory::quiet = false;
  for (int round = 0; round < world.config.rounds; ++round) {
    LocalGrant grant;
    if (!Acquire(world, id, context, grant)) break;
    world.oracle.OnAcquired(id, grant);
    const bool is_last = round + 1 == world.config.rounds;
    if (world.config.dwells && is_last) TheScheduler().BlockOn(&world.remotes);
    GiveBack(world, id, context, grant);
  }
  SimMemory::buffers[TheScheduler().current()].Drain();
  t.finished = true;
}

void RunLibrary(World& world, int id) {
  Process& p = world.processes[static_cast<size_t>(id)];
  for (;;) {
    if (p.move_wanted) {
      LeaveSegment(world, id);
    } else if (p.void_wanted) {
      p.flags.Set(ProcessFlags<SimMemory>::kGateVoid, true);
      NudgeTickets(p);
      TheScheduler().Yield();  // until the heart beats again
      p.flags.Set(ProcessFlags<SimMemory>::kGateVoid, false);
      p.void_wanted = false;
    } else if (p.inbox.empty()) {
      SimMemory::buffers[TheScheduler().current()].Drain();
      TheScheduler().BlockOn(&p.inbox);
    } else {
      const Message m = p.inbox.front();
      p.inbox.erase(p.inbox.begin());
      Handle(world, p, m);
    }
  }
}

}  // namespace leaseplane::explorer
