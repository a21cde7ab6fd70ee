// SPDX-License-Identifier: Apache-2.0
//
// Runs the simulation for many seeds.
//   LEASEPLANE_SIM_SEEDS=N   so many seeds (default 2000)
//   LEASEPLANE_SIM_FIRST=S   starting with this one: repeats a failure with N = 1
//   LEASEPLANE_SIM_STEPS=N   steps a seed (default 300)
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "tests/model/engine_sim/sim_world.h"

namespace leaseplane::engine {
namespace {

uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

TEST(EngineSimTest, EveryRuleHoldsAfterEveryStepOfEverySeed) {
  const uint64_t first = FromEnvironment("LEASEPLANE_SIM_FIRST", 1);
  const uint64_t seeds = FromEnvironment("LEASEPLANE_SIM_SEEDS", 2000);
  const auto steps = static_cast<int>(FromEnvironment("LEASEPLANE_SIM_STEPS", 300));
  for (uint64_t seed = first; seed < first + seeds; ++seed) {
    try {
      SimWorld world(seed);
      world.Run(steps);
    } catch (const Broken& broken) {
      FAIL() << "seed " << seed << ": " << broken.what() << "repeat: LEASEPLANE_SIM_FIRST=" << seed
             << " LEASEPLANE_SIM_SEEDS=1 LEASEPLANE_SIM_STEPS=" << steps;
    }
  }
}

}  // namespace
}  // namespace leaseplane::engine
