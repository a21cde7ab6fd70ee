// SPDX-License-Identifier: Apache-2.0
#include "clients/cpp/local/heartbeat_watch.h"

#include <gtest/gtest.h>

namespace leaseplane::internal {
namespace {

constexpr int64_t kMs = 1'000'000;

TEST(HeartbeatWatchTest, ABeatingHeartNeverStandsStill) {
  HeartbeatWatch watch;
  for (int i = 0; i < 10; ++i) EXPECT_FALSE(watch.StandsStill(uint64_t(i), i * 250 * kMs));
}

TEST(HeartbeatWatchTest, HalfASecondWithoutABeatIsStill) {
  HeartbeatWatch watch;
  EXPECT_FALSE(watch.StandsStill(5, 0));
  EXPECT_FALSE(watch.StandsStill(5, 250 * kMs));
  EXPECT_TRUE(watch.StandsStill(5, 500 * kMs));
  EXPECT_FALSE(watch.StandsStill(6, 750 * kMs)) << "the next beat ends it";
}

TEST(HeartbeatWatchTest, OneLateLookAfterAPauseOfOurOwnSaysNothing) {
  HeartbeatWatch watch;
  EXPECT_FALSE(watch.StandsStill(5, 0));
  EXPECT_FALSE(watch.StandsStill(5, 9000 * kMs));
  EXPECT_TRUE(watch.StandsStill(5, 9250 * kMs));
}

}  // namespace
}  // namespace leaseplane::internal
