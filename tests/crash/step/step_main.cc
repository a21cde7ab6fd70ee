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

void Report(const std::string& build, const leaseplane::step::StepCounts& kills,
            const leaseplane::step::StepCounts& stops, double kill_s, double stop_s) {
  const std::string kill = "kill at an instruction, " + build;
  RecordResult(kill, "kill points", kills.points, kill_s);
  RecordResult(kill, "slots reclaimed", kills.reclaimed, 0);
  RecordResult(kill, "sleepers released", kills.woken, 0);
  RecordResult(kill, "max ms until a sleeper had the slot",
               static_cast<uint64_t>(kills.woken_max_s * 1e3), 0);
  const std::string stop = "stop at an instruction, " + build;
  RecordResult(stop, "stop points", stops.points, stop_s);
  RecordResult(stop, "stale leases refused", stops.stale, 0);
  RecordResult(stop, "acquisitions that came to nothing", stops.none, 0);
}

}  // namespace

int main(int argc, char** argv) {
  using leaseplane::testing::MonotonicSeconds;
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
    double kill_s = 0, stop_s = 0;
    for (const auto& scenario : leaseplane::step::Scenarios()) {
      if (!only.empty() && only != scenario.name) continue;
      const uint64_t total = stepper.Measure(scenario);
      double began = MonotonicSeconds();
      EachPoint(total, points, phase, [&](uint64_t at) { stepper.KillAt(scenario, at); });
      kill_s += MonotonicSeconds() - began;
      std::printf("%-16s %7llu instructions, killed in %.1f s", scenario.name,
                  static_cast<unsigned long long>(total), MonotonicSeconds() - began);
      if (scenario.stops) {
        began = MonotonicSeconds();
        EachPoint(total, points, phase, [&](uint64_t at) { stepper.StopAt(scenario, at); });
        stop_s += MonotonicSeconds() - began;
        std::printf(", stopped in %.1f s", MonotonicSeconds() - began);
      }
      std::printf("\n");
      std::fflush(stdout);
    }
    Report(build, stepper.kills(), stepper.stops(), kill_s, stop_s);
    if (only.empty() || only == "reattach") leaseplane::step::KillInReattach(build, points, phase);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "step_kill: %s\n", error.what());
    return 1;
  }
  return 0;
}
