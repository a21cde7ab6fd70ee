// SPDX-License-Identifier: Apache-2.0
//
// World's faults. A fault strikes the fiber that is about to make an access, or that has just gone
// to sleep: striking anybody else would only be the same execution in another order.
#include "tests/model/explorer/world.h"

namespace leaseplane::explorer {

int World::ThreadOfFiber(int fiber) const {
  for (size_t t = 0; t < config.threads.size(); ++t) {
    if (threads[t].fiber == fiber) return static_cast<int>(t);
  }
  return -1;
}

bool World::ProcessIdle(int process) const {
  for (size_t t = 0; t < config.threads.size(); ++t) {
    if (threads[t].process == process && !threads[t].finished) return false;
  }
  return true;
}

World::FaultList World::FaultsFor(int fiber) const {
  FaultList list;
  const int process = ProcessOfFiber(fiber);
  if (process < 0) {
    if (fiber == worker.fiber && config.crashes > 0) list.Add(Fault::kCrash);
    return list;
  }
  const Process& p = processes[static_cast<size_t>(process)];
  if (p.dead || ProcessIdle(process)) return list;
  if (config.kills > 0) list.Add(Fault::kKill);
  if (config.revokes > 0 && !p.end_wanted) list.Add(Fault::kRevoke);
  if (config.voids > 0 && !p.void_wanted) list.Add(Fault::kVoid);
  if (config.moves > 0 && !p.move_wanted && !p.has_declared) list.Add(Fault::kMove);
  const int thread = ThreadOfFiber(fiber);
  if (thread < 0 || threads[static_cast<size_t>(thread)].finished) return list;
  const int64_t now_ns = threads[static_cast<size_t>(thread)].now_ns;
  if (config.timeouts > 0 && now_ns < kDeadlineNs) list.Add(Fault::kLate);
  if (config.registers > 0 && now_ns < kRegisterNs) list.Add(Fault::kRegister);
  return list;
}

uint32_t World::CountFaults(int fiber) { return faults_possible_ ? FaultsFor(fiber).count : 0; }

void World::ApplyFault(int fiber, uint32_t which) {
  const Fault kind = FaultsFor(fiber).kinds[which];
  if (SimMemory::tracing) {
    static const char* const kNames[] = {
        "SIGKILL",         "end of session",  "worker crash", "heart stands still",
        "segment is left", "deadline passes", "time to queue"};
    oracle.OnTrace(kNames[static_cast<int>(kind)], nullptr, 0, 0);
  }
  if (kind == Fault::kCrash) {
    --config.crashes;
    CrashWorker();
    return;
  }
  Process& p = processes[static_cast<size_t>(ProcessOfFiber(fiber))];
  switch (kind) {
    case Fault::kKill:
      --config.kills;
      KillProcess(p);
      break;
    case Fault::kRevoke:
      --config.revokes;
      EndSession(p);
      break;
    case Fault::kVoid:
      --config.voids;
      p.void_wanted = unfair_once = true;
      WakeLibrary(p);
      break;
    case Fault::kMove:
      --config.moves;
      p.move_wanted = true;
      WakeLibrary(p);
      break;
    default: {
      AppThread& t = threads[static_cast<size_t>(ThreadOfFiber(fiber))];
      --(kind == Fault::kLate ? config.timeouts : config.registers);
      t.now_ns = kind == Fault::kLate ? kDeadlineNs : kRegisterNs;
      if (!TheScheduler().IsBlockedOn(fiber, &p.port_locked)) TheScheduler().Unblock(fiber);
    }
  }
}

void World::KillProcess(Process& p) {
  p.dead = true;
  p.end_wanted = true;
  p.tickets.clear();
  p.inbox.clear();
  const int id = static_cast<int>(&p - processes.data());
  oracle.OnProcessGone(id);
  for (size_t t = 0; t < config.threads.size(); ++t) {
    if (threads[t].process == id) TheScheduler().Kill(threads[t].fiber);
  }
  TheScheduler().Kill(p.library_fiber);
  NotifyDaemon();
}

// The keeper notices at once and starts the next worker. Sockets and their unread messages stay;
// what the worker had read is gone.
void World::CrashWorker() {
  TheScheduler().Kill(worker.fiber);
  worker.authority.reset();
  worker.queue.clear();
  worker.patience_over = false;
  for (int i = 0; i < process_count; ++i) processes[static_cast<size_t>(i)].ended_level = 0;
  for (Remote& r : remotes) r.seen = false;  // callers try again, with their request id
  SpawnDaemon(true);
}

}  // namespace leaseplane::explorer
