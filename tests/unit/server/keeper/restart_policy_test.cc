// SPDX-License-Identifier: Apache-2.0
#include "server/keeper/restart_policy.h"

#include <gtest/gtest.h>

namespace leaseplane::keeper {
namespace {

constexpr int64_t kStart = 5'000'000'000;

TEST(RestartPolicy, AWorkerThatWasReadyIsReplacedAtOnceEveryTime) {
  RestartPolicy policy;
  for (int i = 0; i < 1'000; ++i) {
    EXPECT_EQ(policy.DelayAfterEnd(kStart + i * 100'000'000LL, /*was_ready=*/true), 0);
  }
}

TEST(RestartPolicy, FailedStartsWaitLongerUpToTenSeconds) {
  RestartPolicy policy;
  EXPECT_EQ(policy.DelayAfterEnd(kStart, false), 0);
  EXPECT_EQ(policy.DelayAfterEnd(kStart, false), 100'000'000);
  EXPECT_EQ(policy.DelayAfterEnd(kStart, false), 200'000'000);
  for (int i = 0; i < 20; ++i) policy.DelayAfterEnd(kStart, false);
  EXPECT_EQ(policy.DelayAfterEnd(kStart, false), RestartPolicy::kDelayMax);
}

TEST(RestartPolicy, ReadinessEndsTheSeriesOfFailedStarts) {
  RestartPolicy policy;
  for (int i = 0; i < 5; ++i) policy.DelayAfterEnd(kStart, false);
  EXPECT_EQ(policy.DelayAfterEnd(kStart, true), 0);
  EXPECT_EQ(policy.DelayAfterEnd(kStart, false), 0);
}

TEST(RestartPolicy, ABurstBeyondTheRationStartsOnceAMinute) {
  RestartPolicy policy;
  for (int64_t i = 0; i < RestartPolicy::kBurstMax; ++i) policy.DelayAfterEnd(kStart, true);
  EXPECT_EQ(policy.DelayAfterEnd(kStart, true), RestartPolicy::kRefill);
  EXPECT_EQ(policy.DelayAfterEnd(kStart + RestartPolicy::kRefill, true), 0);
}

}  // namespace
}  // namespace leaseplane::keeper
