// SPDX-License-Identifier: Apache-2.0
#include "server/engine/lease_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <vector>

namespace leaseplane::engine {
namespace {

// Due leases beside a plain map of when each is to be ended: none is missed, none comes early,
// however often its end was moved.
TEST(LeaseTableTest, EveryLeaseComesDueOnceAndNotBeforeItsEnd) {
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  constexpr uint32_t kCapacity = 1'000;
  LeaseTable table(kCapacity, 64, false);
  std::map<SlotIndex, int64_t> ends;
  std::vector<SlotIndex> due;
  uint64_t next_id = 1;
  Instant now{kSecond, kSecond};
  for (int step = 0; step < 20'000; ++step) {
    const SlotIndex slot = random() % kCapacity;
    if (ends.count(slot) == 0) {
      LeaseRecord record;
      record.id = {1, next_id++};
      record.slot = slot;
      record.ttl_ns = kSecond;
      record.deadline_at_ns = now.boot_ns + static_cast<int64_t>(random() % (10 * kSecond));
      table.Add(std::move(record));
      ends[slot] = table.EndAt(slot);
    } else if (random() % 4 == 0) {
      table.End(slot, LeaseState::kReleased, now);
      ends.erase(slot);
    } else {
      ends[slot] += static_cast<int64_t>(random() % kSecond);
      table.SetEndAt(slot, ends[slot]);
    }
    if (random() % 1'000 == 0) {
      table.ExtendAll(kMillisecond);
      for (auto& [unused, at] : ends) at += kMillisecond;
    }
    now.boot_ns += static_cast<int64_t>(random() % (10 * kMillisecond));
    // As late as the table asks for, or at any time: it may only be late by its own spacing.
    if (random() % 2 == 0) now.boot_ns = std::max(now.boot_ns, table.next_end_ns());
    if (now.boot_ns < table.next_end_ns()) continue;
    table.CollectDue(now.boot_ns, due);
    std::vector<SlotIndex> expected;
    for (const auto& [at_slot, at_ns] : ends) {
      if (at_ns <= now.boot_ns) expected.push_back(at_slot);
    }
    ASSERT_EQ(due, expected);
    for (const SlotIndex ended : due) {
      table.End(ended, LeaseState::kExpired, now);
      ends.erase(ended);
    }
    due.clear();
    if (ends.empty()) continue;
    const int64_t first = std::min_element(ends.begin(), ends.end(), [](auto& a, auto& b) {
                            return a.second < b.second;
                          })->second;
    ASSERT_LE(table.next_end_ns(), std::max(first, now.boot_ns + kMillisecond));
  }
}

}  // namespace
}  // namespace leaseplane::engine
