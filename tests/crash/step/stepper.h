// SPDX-License-Identifier: Apache-2.0
//
// Stepper: cuts the stretches of victim.h at one instruction after the other, by a kill or by a
// stop, and compares every slot word afterwards with what it must be.
//
// After a kill: what the victim's last words left BUSY is after(BUSY) of the same generation, or
// granted on to the neighbour that waited; nothing else has changed; its session is gone; nobody is
// enlisted any more. After a stop, with the victim's session ended and its slot granted to the
// neighbour meanwhile: the victim goes on, its release is stale or it got nothing that holds, the
// word stays the neighbour's, and no token was given out twice.
//
// Threads: one. Errors: throws std::runtime_error that names scenario and instruction.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "core/pool/slot_word.h"
#include "tests/crash/step/neighbour.h"
#include "tests/crash/step/tracee.h"
#include "tests/crash/step/victim.h"
#include "tests/support/daemon_process.h"
#include "tests/support/raw_session.h"

namespace leaseplane::step {

struct StepCounts {
  uint64_t points = 0;
  uint64_t reclaimed = 0;  // kills that left a slot BUSY
  uint64_t woken = 0;      // sleepers that got the slot
  uint64_t stale = 0;      // stops: releases that were refused
  uint64_t none = 0;       // stops: acquisitions that came to nothing
  double woken_max_s = 0;
};

class Stepper {
 public:
  Stepper(const std::string& daemon_program, std::string leasectl_program);
  ~Stepper();

  // Instructions of the stretch, as counted by a run to its end.
  uint64_t Measure(const Scenario& scenario);
  // REQUIRES Measure before. `at` may be beyond the end: the point is then the end.
  void KillAt(const Scenario& scenario, uint64_t at);
  void StopAt(const Scenario& scenario, uint64_t at);

  const StepCounts& kills() const { return kills_; }
  const StepCounts& stops() const { return stops_; }

 private:
  using Words = std::vector<SlotWord>;
  struct Course {  // where the cues of a scenario come in
    uint64_t take_at = 0, sleep_at = 0, total = 0;
  };
  struct Run {
    const Scenario& scenario;
    pid_t pid;
    Tracee tracee;
    std::set<SessionIndex> session;  // of the victim, if it began the stretch with one
    bool cued = false;
  };

  testing::RawSession::Pool& PoolOf(const Scenario& scenario) {
    return raw_.OpenPool(scenario.pool);
  }
  Words Read(const Scenario& scenario);
  std::set<SessionIndex> ActiveSessions() const;
  void Prepare(const Scenario& scenario);
  Run Begin(const Scenario& scenario);
  uint64_t CueAt(const Scenario& scenario) const;
  void GiveCue(Run& run);
  // Steps to `at` or to the end; false at the end.
  bool StepTo(Run& run, uint64_t at, Course* measured);
  void End(Run& run);
  void CheckAfterKill(Run& run, const Words& last, uint64_t at);
  void CheckAfterStop(Run& run, bool was_busy, FencingToken neighbours, uint64_t at);
  void RevokeSession(const Run& run);
  void NoteToken(const Scenario& scenario, SlotIndex slot, FencingToken token, uint64_t at);
  void Leasectl(const std::vector<std::string>& words);
  void Await(const Scenario& scenario, uint64_t at, const char* what,
             const std::function<bool()>& holds);
  [[noreturn]] void Fail(const Scenario& scenario, uint64_t at, const std::string& what);

  const std::string leasectl_;
  testing::DaemonProcess daemon_;
  testing::RawSession raw_;
  Neighbour neighbour_;
  VictimPage* page_;
  std::set<SessionIndex> residents_;
  std::map<std::string, Course> courses_;
  std::map<std::pair<std::string, SlotIndex>, std::set<FencingToken>> tokens_;
  StepCounts kills_, stops_;
};

}  // namespace leaseplane::step
