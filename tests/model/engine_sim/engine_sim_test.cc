// SPDX-License-Identifier: Apache-2.0
//
// Runs the simulation for many seeds.
//   LEASEPLANE_SIM_SEEDS=N   so many seeds (default 10000; 1000 under a sanitizer)
//   LEASEPLANE_SIM_FIRST=S   starting with this one: repeats a failure with N = 1
//   LEASEPLANE_SIM_RUN=R     starting with R * N + 1: another run, other seeds
//   LEASEPLANE_SIM_STEPS=N   steps a seed (default 300)
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "tests/model/engine_sim/sim_world.h"
#include "tests/support/verify_ledger.h"

namespace leaseplane::engine {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr uint64_t kSeeds = 1000;
#else
constexpr uint64_t kSeeds = 10000;
#endif

uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

TEST(EngineSimTest, EveryRuleHoldsAfterEveryStepOfEverySeed) {
  const uint64_t seeds = FromEnvironment("LEASEPLANE_SIM_SEEDS", kSeeds);
  const uint64_t run = FromEnvironment("LEASEPLANE_SIM_RUN", 0);
  const uint64_t first = FromEnvironment("LEASEPLANE_SIM_FIRST", run * seeds + 1);
  const auto steps = static_cast<int>(FromEnvironment("LEASEPLANE_SIM_STEPS", 300));
  const double began = testing::MonotonicSeconds();
  for (uint64_t seed = first; seed < first + seeds; ++seed) {
    try {
      SimWorld world(seed);
      world.Run(steps);
    } catch (const Broken& broken) {
      FAIL() << "seed " << seed << ": " << broken.what() << "repeat: LEASEPLANE_SIM_FIRST=" << seed
             << " LEASEPLANE_SIM_SEEDS=1 LEASEPLANE_SIM_STEPS=" << steps;
    }
  }
  testing::RecordResult("engine under the simulator", "seeds", seeds,
                        testing::MonotonicSeconds() - began);
  testing::RecordResult("engine under the simulator", "steps", seeds * static_cast<uint64_t>(steps),
                        0);
}

}  // namespace
}  // namespace leaseplane::engine
