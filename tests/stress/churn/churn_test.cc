// SPDX-License-Identifier: Apache-2.0
//
// A hundred and more configurations of processes, threads, holds and kills. LEASEPLANE_STRESS_SEED
// chooses others; LEASEPLANE_STRESS_CONFIG runs that one alone (a failure names both).
#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>
#include <random>
#include <set>
#include <string>

#include "tests/stress/churn/churn_world.h"

namespace leaseplane::churn {
namespace {

constexpr uint32_t kConfigs = 120;
constexpr uint32_t kCapacities[] = {1, 2, 3, 4, 7, 16, 63, 64, 65, 100, 256, 1000, 1024, 4096};

uint64_t NumberFrom(const char* name, uint64_t usual) {
  const char* text = std::getenv(name);
  return text == nullptr ? usual : std::strtoull(text, nullptr, 10);
}

Config MakeConfig(uint64_t seed, uint32_t index) {
  std::mt19937_64 random(seed * 1'000'003 + index);
  Config c;
  c.seed = seed * 1000 + index;
  c.capacity = kCapacities[index % std::size(kCapacities)];
  c.processes = 1 + random() % 4;
  c.threads = 1 + random() % 4;
  c.holds = 1 + random() % (index % 3 == 0 ? 1 : 8);
  c.spins = index % 2 == 0 ? 0 : 200;
  c.kills = index % 3 == 1 ? 0 : 1 + random() % 12;
  c.waits = random() % 2 == 0;
  return c;
}

TEST(Churn, NoSlotIsGrantedTwiceOrLost) {
  const uint64_t seed = NumberFrom("LEASEPLANE_STRESS_SEED", 1);
  const uint64_t only = NumberFrom("LEASEPLANE_STRESS_CONFIG", kConfigs);
  uint64_t holds = 0, kills = 0;
  for (uint32_t index = 0; index < kConfigs; ++index) {
    if (only < kConfigs && index != only) continue;
    const Config config = MakeConfig(seed, index);
    World world(config);
    EXPECT_EQ(world.Run(), "") << "LEASEPLANE_STRESS_SEED=" << seed
                               << " LEASEPLANE_STRESS_CONFIG=" << index << ": "
                               << config.Describe();
    EXPECT_GT(world.holds(), 0u);
    EXPECT_EQ(world.killed(), config.kills);
    holds += world.holds();
    kills += world.killed();
  }
  std::cout << kConfigs << " configurations, " << holds << " holds, " << kills << " kills\n";
}

}  // namespace
}  // namespace leaseplane::churn
