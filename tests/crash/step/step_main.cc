// SPDX-License-Identifier: Apache-2.0
//
// Kills and stops a client at each instruction of the library's shared-memory paths.
//   step_kill --daemon=PROGRAM --leasectl=PROGRAM [--build=TEXT] [--scenario=NAME]
//             [--points=N]   so many instructions of each stretch, evenly spread; 0: all of them
//             [--seconds=S]  fewer, if they would take longer than about that
//             [--phase=K]    shifts the choice, so that runs after each other see others
#include <cstdio>
#include <exception>
#include <string>
#include <utility>

#include "tests/crash/step/program_options.h"
#include "tests/crash/step/reattach.h"
#include "tests/crash/step/stepper.h"
#include "tests/support/verify_ledger.h"

namespace {

using leaseplane::step::EachPoint;
using leaseplane::testing::RecordResult;

class Program {
 public:
  Program(std::string build, const leaseplane::step::Choice& choice)
      : build_(std::move(build)), choice_(choice) {}

  void Run(leaseplane::step::Stepper& stepper, const leaseplane::step::Scenario& scenario) {
    using leaseplane::testing::MonotonicSeconds;
    const leaseplane::step::StepCounts before = stepper.kills(), stops_before = stepper.stops();
    const uint64_t total = stepper.Measure(scenario);
    const double began = MonotonicSeconds();
    EachPoint(total, choice_, [&](uint64_t at) { stepper.KillAt(scenario, at); });
    const double killed = MonotonicSeconds();
    std::printf("%s: %llu instructions\n", scenario.name, static_cast<unsigned long long>(total));
    const std::string kill = "kill at an instruction, " + build_;
    const leaseplane::step::StepCounts& kills = stepper.kills();
    RecordResult(kill, "kill points", kills.points - before.points, killed - began);
    RecordResult(kill, "slots reclaimed", kills.reclaimed - before.reclaimed, 0);
    if (scenario.neighbour_waits) {
      RecordResult(kill, "sleepers released", kills.woken - before.woken, 0);
      RecordResult(kill, "max ms until a sleeper had the slot",
                   static_cast<uint64_t>(kills.woken_max_s * 1e3), 0);
    }
    if (!scenario.stops) return;
    EachPoint(total, choice_, [&](uint64_t at) { stepper.StopAt(scenario, at); });
    const std::string stop = "stop at an instruction, " + build_;
    const leaseplane::step::StepCounts& stops = stepper.stops();
    RecordResult(stop, "stop points", stops.points - stops_before.points,
                 MonotonicSeconds() - killed);
    RecordResult(stop, "stale leases refused", stops.stale - stops_before.stale, 0);
    RecordResult(stop, "acquisitions that came to nothing", stops.none - stops_before.none, 0);
  }

 private:
  const std::string build_;
  const leaseplane::step::Choice choice_;
};

}  // namespace

int main(int argc, char** argv) {
  const leaseplane::step::ProgramOptions options(argc, argv);
  const std::string only = options.Get("scenario"), build = options.Get("build", "g++ -O2");
  const leaseplane::step::Choice choice(options);
  const std::string daemon = options.Get("daemon"), leasectl = options.Get("leasectl");
  if (daemon.empty() || leasectl.empty()) {
    std::fprintf(stderr, "step_kill: --daemon and --leasectl are needed\n");
    return 64;
  }
  try {
    leaseplane::step::Stepper stepper(daemon, leasectl);
    Program program(build, choice);
    for (const auto& scenario : leaseplane::step::Scenarios()) {
      if (only.empty() || only == scenario.name) program.Run(stepper, scenario);
    }
    if (only.empty() || only == "reattach") leaseplane::step::KillInReattach(build, choice);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "step_kill: %s\n", error.what());
    return 1;
  }
  return 0;
}
