// SPDX-License-Identifier: Apache-2.0
#include "clients/cli/stop_plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace leaseplane::cli {
namespace {

using Action = StopPlan::Action;
constexpr int64_t kMs = 1'000'000;
constexpr int64_t kSecond = 1000 * kMs;
constexpr int64_t kStart = 1000 * kSecond;

TEST(StopPlan, ALeaseWithoutDeadlineNeverStopsItsCommand) {
  StopPlan plan(10 * kSecond, StopPlan::kNever);
  EXPECT_EQ(plan.Step(kStart), Action::kNone);
  EXPECT_EQ(plan.Step(kStart + 1000000 * kSecond), Action::kNone);
  EXPECT_EQ(plan.NextWake(), StopPlan::kNever);
  EXPECT_FALSE(plan.stopping());
}

TEST(StopPlan, ALossMeansTermAtOnceAndKillAfterKillAfter) {
  StopPlan plan(10 * kSecond, StopPlan::kNever);
  plan.StopNow(kStart);
  EXPECT_EQ(plan.Step(kStart), Action::kTerm);
  EXPECT_TRUE(plan.stopping());
  EXPECT_EQ(plan.NextWake(), kStart + 10 * kSecond);
  EXPECT_EQ(plan.Step(kStart + 10 * kSecond - 1), Action::kNone);
  EXPECT_EQ(plan.Step(kStart + 10 * kSecond), Action::kKill);
}

TEST(StopPlan, KillIsRepeatedUntilNobodyAsks) {
  StopPlan plan(0, StopPlan::kNever);
  plan.StopNow(kStart);
  EXPECT_EQ(plan.Step(kStart), Action::kKill) << "kill_after 0 leaves no time for TERM";
  EXPECT_EQ(plan.Step(kStart + 1), Action::kNone);
  EXPECT_EQ(plan.NextWake(), kStart + StopPlan::kKillAgainNs);
  EXPECT_EQ(plan.Step(kStart + StopPlan::kKillAgainNs), Action::kKill);
}

TEST(StopPlan, AGraceShorterThanKillAfterIsKept) {
  StopPlan plan(10 * kSecond, StopPlan::kNever);
  plan.StopWithin(kStart, 3 * kSecond);
  EXPECT_EQ(plan.Step(kStart), Action::kTerm);
  EXPECT_EQ(plan.Step(kStart + 3 * kSecond - 1), Action::kNone);
  EXPECT_EQ(plan.Step(kStart + 3 * kSecond), Action::kKill);
}

TEST(StopPlan, RenewalsThatComeKeepTheCommandRunning) {
  const int64_t window = 1730 * kMs;
  StopPlan plan(10 * kSecond, window);
  int64_t now = kStart;
  for (int i = 0; i < 100; ++i, now += window / 3) {
    plan.SetSafeDeadline(now + window);
    EXPECT_EQ(plan.Step(now), Action::kNone) << i;
  }
}

TEST(StopPlan, ARenewalMayBeLateByAThirdOfTheWindow) {
  const int64_t window = 15 * kSecond;
  StopPlan plan(10 * kSecond, window);
  plan.SetSafeDeadline(kStart + window);
  EXPECT_EQ(plan.Step(kStart + window * 2 / 3 - StopPlan::kKillMarginNs - 1), Action::kNone);
  EXPECT_EQ(plan.Step(kStart + window * 2 / 3 - StopPlan::kKillMarginNs), Action::kTerm);
}

TEST(StopPlan, WithoutRenewalsKillComesBeforeTheSafeDeadline) {
  const int64_t window = 15 * kSecond;
  StopPlan plan(2 * kSecond, window);
  const int64_t safe = kStart + window;
  plan.SetSafeDeadline(safe);
  const int64_t kill_at = safe - StopPlan::kKillMarginNs;
  EXPECT_EQ(plan.NextWake(), kill_at - 2 * kSecond);
  EXPECT_EQ(plan.Step(plan.NextWake()), Action::kTerm);
  EXPECT_EQ(plan.NextWake(), kill_at);
  EXPECT_EQ(plan.Step(kill_at), Action::kKill);
  EXPECT_FALSE(plan.was_asked_to_stop());
}

TEST(StopPlan, ADeadlineAlreadyOverMeansKillAtOnce) {
  StopPlan plan(10 * kSecond, 15 * kSecond);
  plan.SetSafeDeadline(kStart - 1);
  EXPECT_EQ(plan.Step(kStart), Action::kKill);
}

TEST(StopPlan, TheSafeDeadlineCutsTheGraceOfALoss) {
  StopPlan plan(10 * kSecond, 15 * kSecond);
  plan.SetSafeDeadline(kStart + 12 * kSecond);
  plan.StopNow(kStart);
  EXPECT_EQ(plan.Step(kStart), Action::kTerm);
  EXPECT_EQ(plan.NextWake(), kStart + 10 * kSecond);
  plan.SetSafeDeadline(kStart + 4 * kSecond);
  EXPECT_EQ(plan.NextWake(), kStart + 4 * kSecond - StopPlan::kKillMarginNs);
}

TEST(StopPlan, ARevokedLeaseHasNoDeadlineToKeep) {
  StopPlan plan(10 * kSecond, 15 * kSecond);
  plan.ForgetDeadline();
  plan.SetSafeDeadline(kStart);
  plan.StopNow(kStart);
  EXPECT_EQ(plan.Step(kStart), Action::kTerm);
  EXPECT_EQ(plan.Step(kStart + 10 * kSecond), Action::kKill);
}

TEST(StopPlan, ALateRenewalDoesNotCallATermBack) {
  StopPlan plan(1 * kSecond, 15 * kSecond);
  plan.SetSafeDeadline(kStart + 1 * kSecond);
  EXPECT_EQ(plan.Step(kStart), Action::kTerm);
  plan.SetSafeDeadline(kStart + 15 * kSecond);
  EXPECT_EQ(plan.Step(kStart + 1 * kSecond), Action::kKill);
}

TEST(StopPlan, HugeDurationsDoNotOverflow) {
  StopPlan plan(StopPlan::kNever, StopPlan::kNever);
  plan.StopWithin(kStart, StopPlan::kNever);
  EXPECT_EQ(plan.Step(kStart), Action::kTerm);
  EXPECT_EQ(plan.NextWake(), StopPlan::kNever);
  EXPECT_EQ(plan.Step(kStart + kSecond), Action::kNone);
}

// Whatever comes and whenever: whoever wakes when told has killed by the safe deadline.
TEST(StopPlan, ForRandomRenewalsAKillIsNeverLaterThanTheMargin) {
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE(seed);
  std::mt19937_64 random(seed);
  for (int round = 0; round < 2000; ++round) {
    const int64_t window = static_cast<int64_t>(random() % (100 * kSecond)) + 700 * kMs;
    StopPlan plan(static_cast<int64_t>(random() % (20 * kSecond)), window);
    int64_t now = kStart;
    int64_t safe = now + window;
    plan.SetSafeDeadline(safe);
    while (plan.Step(now) != Action::kKill) {
      ASSERT_LE(now, safe - StopPlan::kKillMarginNs);
      int64_t next = plan.NextWake();
      if (!plan.stopping() && random() % 4 != 0) {
        next = std::min(next, now + window / 3);
        safe = next + window;
      }
      now = next;
      plan.SetSafeDeadline(safe);
    }
    ASSERT_LE(now, safe - StopPlan::kKillMarginNs);
  }
}

}  // namespace
}  // namespace leaseplane::cli
