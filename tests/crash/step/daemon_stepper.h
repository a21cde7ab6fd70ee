// SPDX-License-Identifier: Apache-2.0
//
// DaemonStepper: kills the daemon's worker at one instruction after the other of what it does for
// others: a remote grant, a remote release, the end of a session, a slot handed to who waits. The
// next worker has to leave every slot word as if nothing had happened: who was answered holds,
// who repeats a call gets its answer, who waits is granted, and nobody else holds anything.
//
// Threads: one; calls over gRPC are made by threads of its own meanwhile. Errors: throws
// std::runtime_error that names scenario and instruction.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "leaseplane/client.h"
#include "tests/crash/step/neighbour.h"
#include "tests/crash/step/worker_trace.h"
#include "tests/support/daemon_process.h"
#include "tests/support/raw_session.h"

namespace leaseplane::step {

class DaemonStepper;

struct DaemonScenario {
  const char* name;
  const char* function;  // of the worker: how its mangled name begins
  void (DaemonStepper::*prepare)();
  void (DaemonStepper::*trigger)();  // makes the worker call it; does not wait
  void (DaemonStepper::*finish)();   // after the next worker has started
};

const std::vector<DaemonScenario>& DaemonScenarios();

class DaemonStepper {
 public:
  DaemonStepper(std::string daemon_program, std::string holder_program);
  ~DaemonStepper();

  // Instructions of the call, as counted by a run to its end.
  uint64_t Measure(const DaemonScenario& scenario) { return Run(scenario, ~uint64_t{0}); }
  // `at` may be beyond the end: the point is then the end. Instructions passed.
  uint64_t Run(const DaemonScenario& scenario, uint64_t at);

 private:
  friend const std::vector<DaemonScenario>& DaemonScenarios();

  // -- what scenarios are made of
  void Nothing() {}
  void HoldRemotely();
  void HoldRemotelyBesideASleeper();
  void HoldLocallyBesideASleeper();
  void FillBesideARemoteWaiter();
  void AcquireRemotely();
  void ReleaseRemotely();
  void KillHolder();
  void ReleaseLocally();
  void CheckRemoteGrant();
  void CheckAllFree();
  void CheckSleeperGranted();

  // Kills the worker when it has passed `at` instructions of the call that `trace` waits for.
  uint64_t Cut(WorkerTrace& trace, uint64_t at);
  void AwaitWorker(pid_t before);
  void CallMeanwhile(std::function<void()> call);
  void JoinCall();
  void AwaitQueued();
  void SpawnHolder();
  void EndHolder();
  void EndAll();
  void NoteToken(SlotIndex slot, FencingToken token);
  // The states of the slots, in order of the slots: F free, R remote, B held by a session.
  std::string States();
  void Await(const char* what, const std::function<bool()>& holds);
  [[noreturn]] void Fail(const std::string& what) const;

  const std::string program_, holder_program_;
  testing::DaemonProcess daemon_;
  testing::RawSession raw_;
  Neighbour neighbour_;
  std::vector<Client> client_;  // one; made after the neighbour was forked
  std::vector<Pool> pool_;      // the same
  std::vector<Lease> remote_;   // what is held over gRPC
  std::unique_ptr<std::thread> call_;
  std::string call_failure_;  // read after the join
  pid_t holder_ = 0;
  std::map<SlotIndex, FencingToken> last_token_;
  std::string where_;
};

}  // namespace leaseplane::step
