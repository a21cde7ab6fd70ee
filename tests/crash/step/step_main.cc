// SPDX-License-Identifier: Apache-2.0
//
// Kills and stops a client at each instruction of the library's shared-memory paths.
//   step_kill --daemon=PROGRAM --leasectl=PROGRAM [--build=TEXT] [--scenario=NAME]
//             [--points=N]   so many instructions of each stretch, evenly spread; 0: all of them
//             [--phase=K]    shifts the choice, so that runs after each other see others
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <string>
#include <utility>

#include "tests/crash/step/reattach.h"
#include "tests/crash/step/stepper.h"
#include "tests/support/verify_ledger.h"

namespace {

using leaseplane::testing::RecordResult;

std::string Option(int argc, char** argv, const char* name, const char* otherwise) {
  const size_t bytes = std::strlen(name);
  for (int i = 1; i < argc; ++i) {
    if (std::strncmp(argv[i], name, bytes) == 0 && argv[i][bytes] == '=') {
      return argv[i] + bytes + 1;
    }
  }
  return otherwise;
}

template <class Point>
void EachPoint(uint64_t total, uint64_t points, uint64_t phase, Point&& point) {
  const uint64_t stride = points == 0 ? 1 : std::max<uint64_t>(1, total / points);
  for (uint64_t at = phase % stride; at <= total; at += stride) point(at);
}

class Program {
 public:
  Program(std::string build, uint64_t points, uint64_t phase)
      : build_(std::move(build)), points_(points), phase_(phase) {}

  void Run(leaseplane::step::Stepper& stepper, const leaseplane::step::Scenario& scenario) {
    using leaseplane::testing::MonotonicSeconds;
    const leaseplane::step::StepCounts before = stepper.kills(), stops_before = stepper.stops();
    const uint64_t total = stepper.Measure(scenario);
    const double began = MonotonicSeconds();
    EachPoint(total, points_, phase_, [&](uint64_t at) { stepper.KillAt(scenario, at); });
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
    EachPoint(total, points_, phase_, [&](uint64_t at) { stepper.StopAt(scenario, at); });
    const std::string stop = "stop at an instruction, " + build_;
    const leaseplane::step::StepCounts& stops = stepper.stops();
    RecordResult(stop, "stop points", stops.points - stops_before.points,
                 MonotonicSeconds() - killed);
    RecordResult(stop, "stale leases refused", stops.stale - stops_before.stale, 0);
    RecordResult(stop, "acquisitions that came to nothing", stops.none - stops_before.none, 0);
  }

 private:
  const std::string build_;
  const uint64_t points_, phase_;
};

}  // namespace

int main(int argc, char** argv) {
  const std::string only = Option(argc, argv, "--scenario", "");
  const uint64_t points = std::strtoull(Option(argc, argv, "--points", "0").c_str(), nullptr, 10);
  const uint64_t phase = std::strtoull(Option(argc, argv, "--phase", "0").c_str(), nullptr, 10);
  const std::string build = Option(argc, argv, "--build", "g++ -O2");
  const std::string daemon = Option(argc, argv, "--daemon", "");
  const std::string leasectl = Option(argc, argv, "--leasectl", "");
  if (daemon.empty() || leasectl.empty()) {
    std::fprintf(stderr, "step_kill: --daemon and --leasectl are needed\n");
    return 64;
  }
  try {
    leaseplane::step::Stepper stepper(daemon, leasectl);
    Program program(build, points, phase);
    for (const auto& scenario : leaseplane::step::Scenarios()) {
      if (only.empty() || only == scenario.name) program.Run(stepper, scenario);
    }
    if (only.empty() || only == "reattach") leaseplane::step::KillInReattach(build, points, phase);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "step_kill: %s\n", error.what());
    return 1;
  }
  return 0;
}
