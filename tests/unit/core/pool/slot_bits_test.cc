// SPDX-License-Identifier: Apache-2.0
#include "core/pool/slot_bits.h"

#include <gtest/gtest.h>

#include <random>
#include <set>

namespace leaseplane {
namespace {

TEST(SlotBitsTest, FindsTheNextMemberWhereverItIs) {
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  for (const uint32_t size : {1u, 63u, 64u, 65u, 4095u, 4096u, 4097u, 20'000u}) {
    SlotBits bits(size);
    std::set<SlotIndex> members;
    for (int step = 0; step < 2'000; ++step) {
      const SlotIndex slot = random() % size;
      const bool is_member = random() % 5 == 0;
      bits.Set(slot, is_member);
      is_member ? (void)members.insert(slot) : (void)members.erase(slot);
      const SlotIndex from = random() % (size + 1);
      const auto next = members.lower_bound(from);
      ASSERT_EQ(bits.FindFrom(from), next == members.end() ? size : *next) << size << ' ' << from;
      ASSERT_EQ(bits.Contains(slot), is_member);
    }
  }
}

}  // namespace
}  // namespace leaseplane
