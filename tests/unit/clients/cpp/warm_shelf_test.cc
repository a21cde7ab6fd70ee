// SPDX-License-Identifier: Apache-2.0
#include "clients/cpp/renewal/warm_shelf.h"

#include <gtest/gtest.h>

namespace leaseplane::internal {
namespace {

using Keys = std::vector<WarmShelf::Key>;
constexpr int64_t kS = 1'000'000'000;

TEST(WarmShelfTest, TheLastOnePutIsTakenFirstAndNoMoreAreKeptThanAllowed) {
  WarmShelf shelf(2, kS);
  EXPECT_FALSE(shelf.Take().has_value());
  EXPECT_TRUE(shelf.Put(1, 0));
  EXPECT_TRUE(shelf.Put(2, 0));
  EXPECT_FALSE(shelf.Put(3, 0));
  EXPECT_EQ(shelf.Take(), 2u);
  EXPECT_EQ(shelf.Take(), 1u);
  EXPECT_FALSE(shelf.Take().has_value());
}

TEST(WarmShelfTest, WhatLiesIdleGoesInItsTime) {
  WarmShelf shelf(3, kS);
  EXPECT_EQ(shelf.NextNs(), WarmShelf::kNothing);
  shelf.Put(1, 0);
  shelf.Put(2, kS / 2);
  EXPECT_EQ(shelf.NextNs(), kS);
  EXPECT_TRUE(shelf.TakeIdle(kS - 1).empty());
  EXPECT_EQ(shelf.TakeIdle(kS), Keys{1});
  EXPECT_EQ(shelf.NextNs(), kS + kS / 2);
  // Used and put again it is fresh.
  EXPECT_EQ(shelf.Take(), 2u);
  shelf.Put(2, kS);
  EXPECT_TRUE(shelf.TakeIdle(2 * kS - 1).empty());
  EXPECT_EQ(shelf.TakeIdle(2 * kS), Keys{2});
}

TEST(WarmShelfTest, NothingIsKeptWhileSomebodyWaits) {
  WarmShelf shelf(3, 100 * kS);
  shelf.Put(1, kS);
  shelf.Put(2, kS);
  EXPECT_FALSE(shelf.IsWaitedFor(kS));
  EXPECT_EQ(shelf.OnWaiting(kS), (Keys{1, 2}));
  EXPECT_TRUE(shelf.IsWaitedFor(kS));
  EXPECT_FALSE(shelf.Put(3, kS + WarmShelf::kWaitingHeardNs - 1));
  EXPECT_TRUE(shelf.Put(3, kS + WarmShelf::kWaitingHeardNs));
}

TEST(WarmShelfTest, WhatIsLostIsNotTaken) {
  WarmShelf shelf(3, kS);
  shelf.Put(1, 0);
  shelf.Put(2, 0);
  EXPECT_TRUE(shelf.Remove(2));
  EXPECT_FALSE(shelf.Remove(2));
  EXPECT_EQ(shelf.TakeAll(), Keys{1});
  EXPECT_EQ(shelf.NextNs(), WarmShelf::kNothing);
}

}  // namespace
}  // namespace leaseplane::internal
