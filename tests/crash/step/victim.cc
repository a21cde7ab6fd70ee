// SPDX-License-Identifier: Apache-2.0
#include "tests/crash/step/victim.h"

#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <utility>

#include "tests/crash/step/tracee.h"

namespace leaseplane::step {
namespace {

template <class T>
T Must(absl::StatusOr<T> value) {
  if (!value.ok()) {
    std::fprintf(stderr, "victim: %s\n", value.status().ToString().c_str());
    std::abort();
  }
  return *std::move(value);
}

// A thread's first use of a pool makes its record; `Cold` leaves that to the stretch.
void Cold(Victim& v) { v.Connect(); }
void Warm(Victim& v) {
  v.Connect();
  { const Lease lease = v.pool[0].TryAcquire(); }
}
void Holding(Victim& v) {
  v.Connect();
  v.lease = Must(v.pool[0].Acquire({.max_wait = absl::Seconds(60)}));
  v.page->slot = v.lease.slot();
  v.page->token = v.lease.token();
}
void Unattached(Victim&) {}

[[gnu::noinline]] void Try(Victim& v) { v.lease = v.pool[0].TryAcquire(); }
[[gnu::noinline]] void WaitFor(Victim& v, absl::Duration wait) {
  absl::StatusOr<Lease> got = v.pool[0].Acquire({.max_wait = wait});
  if (got.ok()) v.lease = *std::move(got);
}
void WaitLong(Victim& v) { WaitFor(v, absl::Milliseconds(200)); }
void WaitBriefly(Victim& v) { WaitFor(v, absl::Milliseconds(2)); }
[[gnu::noinline]] void GiveBack(Victim& v) {
  v.page->released = std::move(v.lease).Release().ok() ? 1 : 0;
}
void Attach(Victim& v) { v.Connect(); }
void End(Victim& v) {
  v.pool.clear();
  v.client.clear();
}

[[noreturn]] void RunVictim(const Scenario& scenario, Victim& v) {
  scenario.prepare(v);
  // On one processor nobody looks again and again before it sleeps: those looks repeat one try, and
  // would be nine tenths of the instructions.
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(sched_getcpu(), &one);
  if (sched_setaffinity(0, sizeof(one), &one) != 0) std::abort();
  if (ptrace(PTRACE_TRACEME, 0, 0, 0) != 0) std::abort();
  asm volatile("int3");
  scenario.stretch(v);
  EndMarker();
  if (!scenario.releases && v.lease) {
    v.page->slot = v.lease.slot();
    v.page->token = v.lease.token();
    v.page->still_held = v.lease.still_held() ? 1 : 0;
    v.page->got_lease = 1;
    v.page->released = std::move(v.lease).Release().ok() ? 1 : 0;
  }
  v.page->done = 1;
  _exit(0);
}

}  // namespace

void Victim::Connect() {
  ClientOptions options;
  options.require_local = true;
  options.connect_timeout = absl::Seconds(60);
  client.push_back(Must(Client::Connect(target, options)));
  pool.push_back(Must(client[0].OpenPool(pool_name)));
  page->socket_fd = client[0].InheritableSessionFd();
}

const std::vector<Scenario>& Scenarios() {
  static const std::vector<Scenario> all = {
      {.name = "acquire", .pool = "one", .prepare = Warm, .stretch = Try, .stops = true},
      {.name = "first_acquire", .pool = "pair", .prepare = Cold, .stretch = Try},
      {.name = "miss", .pool = "one", .prepare = Warm, .stretch = Try, .neighbour_holds = true},
      {.name = "contended_loss",
       .pool = "one",
       .prepare = Warm,
       .stretch = Try,
       .cue = Cue::kBeforeTake},
      {.name = "undo", .pool = "one", .prepare = Warm, .stretch = Try, .cue = Cue::kAfterTake},
      {.name = "wait_eagain",
       .pool = "one",
       .prepare = Warm,
       .stretch = WaitLong,
       .neighbour_holds = true,
       .cue = Cue::kBeforeSleep},
      {.name = "wait_woken",
       .pool = "one",
       .prepare = Warm,
       .stretch = WaitLong,
       .neighbour_holds = true,
       .cue = Cue::kWhenAsleep,
       .stops = true},
      {.name = "wait_queued",
       .pool = "line",
       .prepare = Warm,
       .stretch = WaitLong,
       .neighbour_holds = true,
       .cue = Cue::kWhenAsleep},
      {.name = "wait_timeout",
       .pool = "one",
       .prepare = Warm,
       .stretch = WaitBriefly,
       .neighbour_holds = true},
      {.name = "release",
       .pool = "one",
       .prepare = Holding,
       .stretch = GiveBack,
       .stops = true,
       .releases = true},
      {.name = "release_waited",
       .pool = "one",
       .prepare = Holding,
       .stretch = GiveBack,
       .neighbour_waits = true,
       .stops = true,
       .releases = true},
      {.name = "release_queued",
       .pool = "line",
       .prepare = Holding,
       .stretch = GiveBack,
       .neighbour_waits = true,
       .stops = true,
       .releases = true},
      {.name = "release_cooling",
       .pool = "cool",
       .prepare = Holding,
       .stretch = GiveBack,
       .releases = true},
      {.name = "release_stale",
       .pool = "one",
       .prepare = Holding,
       .stretch = GiveBack,
       .cue = Cue::kBeforeStart,
       .releases = true},
      {.name = "attach", .pool = "one", .prepare = Unattached, .stretch = Attach},
      {.name = "end_of_session", .pool = "one", .prepare = Holding, .stretch = End},
  };
  return all;
}

pid_t StartVictim(const Scenario& scenario, const std::string& target, VictimPage* page) {
  new (page) VictimPage;
  const pid_t tracer = getpid();
  const pid_t pid = fork();
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != tracer) _exit(1);
    Victim victim;
    victim.target = target;
    victim.pool_name = scenario.pool;
    victim.page = page;
    RunVictim(scenario, victim);
  }
  int status = 0;
  if (pid < 0 || waitpid(pid, &status, __WALL) != pid || !WIFSTOPPED(status) ||
      WSTOPSIG(status) != SIGTRAP) {
    throw std::runtime_error(std::string(scenario.name) + ": no victim");
  }
  ptrace(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_EXITKILL);
  return pid;
}

}  // namespace leaseplane::step
