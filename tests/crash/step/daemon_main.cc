// SPDX-License-Identifier: Apache-2.0
//
// Kills the daemon's worker at each instruction of what it does for remote and dead holders.
//   step_daemon --daemon=PROGRAM --holder=PROGRAM [--build=TEXT] [--scenario=NAME]
//               [--points=N]   so many instructions of each call, evenly spread; 0: all of them
//               [--seconds=S]  fewer, if they would take longer than about that
//               [--phase=K]    shifts the choice, so that runs after each other see others
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>

#include "tests/crash/step/daemon_stepper.h"
#include "tests/crash/step/program_options.h"
#include "tests/support/verify_ledger.h"

namespace leaseplane::step {
namespace {

constexpr uint64_t kStartsMax = 1500;  // of workers, before the keeper rations them

void Run(const DaemonScenario& scenario, const ProgramOptions& options) {
  const double began = testing::MonotonicSeconds();
  auto stepper = std::make_unique<DaemonStepper>(options.Get("daemon"), options.Get("holder"));
  const uint64_t total = stepper->Measure(scenario);
  uint64_t points = 0;
  EachPoint(total, Choice(options), [&](uint64_t at) {
    if (points % kStartsMax == kStartsMax - 1) {
      stepper.reset();
      stepper = std::make_unique<DaemonStepper>(options.Get("daemon"), options.Get("holder"));
    }
    stepper->Run(scenario, at);
    ++points;
  });
  std::printf("%s: %llu instructions\n", scenario.name, static_cast<unsigned long long>(total));
  testing::RecordResult("kill of the daemon at an instruction, " + options.Get("build", "g++ -O2"),
                        "kill points", points, testing::MonotonicSeconds() - began);
}

}  // namespace
}  // namespace leaseplane::step

int main(int argc, char** argv) {
  using namespace leaseplane::step;
  const ProgramOptions options(argc, argv);
  if (options.Get("daemon").empty() || options.Get("holder").empty()) {
    std::fprintf(stderr, "step_daemon: --daemon and --holder are needed\n");
    return 64;
  }
  const std::string only = options.Get("scenario");
  try {
    for (const DaemonScenario& scenario : DaemonScenarios()) {
      if (only.empty() || only == scenario.name) Run(scenario, options);
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "step_daemon: %s\n", error.what());
    return 1;
  }
  return 0;
}
