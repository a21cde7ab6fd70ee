// SPDX-License-Identifier: Apache-2.0
#include "clients/cpp/renewal/renewal_schedule.h"

#include <gtest/gtest.h>

namespace leaseplane::internal {
namespace {

constexpr int64_t kMs = 1'000'000;
constexpr int64_t kS = 1000 * kMs;

class RenewalScheduleTest : public ::testing::Test {
 protected:
  RenewalSchedule::Due& StepAt(int64_t now_ns) {
    schedule_.Step(now_ns, due_);
    return due_;
  }

  RenewalSchedule schedule_{1};
  RenewalSchedule::Due due_;
};

TEST_F(RenewalScheduleTest, ALeaseIsRenewedWithinATenthBeforeItsInterval) {
  schedule_.Add(1, {9 * kS, 3 * kS}, 0);
  EXPECT_GE(schedule_.NextNs(), 3 * kS * 9 / 10);
  EXPECT_LE(schedule_.NextNs(), 3 * kS);
  EXPECT_TRUE(StepAt(3 * kS * 9 / 10 - 1).renewals.empty());
  ASSERT_EQ(StepAt(3 * kS).renewals.size(), 1u);
  EXPECT_EQ(due_.renewals[0].key, 1u);
  EXPECT_LE(due_.renewals[0].timeout_ns, 5 * kS);
  EXPECT_TRUE(StepAt(3 * kS).renewals.empty()) << "it is under way";
}

TEST_F(RenewalScheduleTest, ALeaseIsLostAtItsSafeDeadlineThoughARenewalIsUnderWay) {
  schedule_.Add(1, {9 * kS, 3 * kS}, 0);
  StepAt(3 * kS);
  EXPECT_EQ(schedule_.NextNs(), 9 * kS);
  EXPECT_TRUE(StepAt(9 * kS - 1).lost.empty());
  EXPECT_EQ(StepAt(9 * kS).lost, std::vector<RenewalSchedule::Key>{1});
  EXPECT_FALSE(schedule_.Renewed(1, {20 * kS, 3 * kS}, 9 * kS)) << "too late is lost";
  EXPECT_EQ(schedule_.NextNs(), RenewalSchedule::kNothing);
}

TEST_F(RenewalScheduleTest, ARenewalMovesTheSafeDeadlineAndNeverShortensIt) {
  schedule_.Add(1, {9 * kS, 3 * kS}, 0);
  StepAt(3 * kS);
  EXPECT_TRUE(schedule_.Renewed(1, {12 * kS, 3 * kS}, 3 * kS));
  EXPECT_TRUE(schedule_.Renewed(1, {11 * kS, 3 * kS}, 3 * kS)) << "an answer that was overtaken";
  StepAt(6 * kS);
  EXPECT_TRUE(StepAt(12 * kS - 1).lost.empty());
  EXPECT_EQ(StepAt(12 * kS).lost.size(), 1u);
}

TEST_F(RenewalScheduleTest, AFailedRenewalIsTriedAgainWithGrowingPauses) {
  schedule_.Add(1, {60 * kS, 1 * kS}, 0);
  int64_t now_ns = 1 * kS;
  int64_t last_pause_ns = 0;
  for (int i = 0; i < 5; ++i) {
    ASSERT_EQ(StepAt(now_ns).renewals.size(), 1u);
    EXPECT_TRUE(schedule_.Failed(1, now_ns));
    const int64_t pause_ns = schedule_.NextNs() - now_ns;
    EXPECT_GT(pause_ns, last_pause_ns);
    last_pause_ns = pause_ns;
    now_ns = schedule_.NextNs();
  }
  EXPECT_LE(last_pause_ns, 2 * kS);
}

TEST_F(RenewalScheduleTest, WithoutAnIntervalALeaseIsOnlyLost) {
  schedule_.Add(1, {9 * kS, 0}, 0);
  EXPECT_EQ(schedule_.NextNs(), 9 * kS);
  EXPECT_TRUE(StepAt(9 * kS).renewals.empty());
  EXPECT_EQ(due_.lost.size(), 1u);
}

TEST_F(RenewalScheduleTest, ARemovedLeaseIsForgotten) {
  schedule_.Add(1, {9 * kS, 3 * kS}, 0);
  schedule_.Add(2, {9 * kS, 3 * kS}, 0);
  EXPECT_TRUE(schedule_.Remove(1));
  EXPECT_FALSE(schedule_.Remove(1));
  EXPECT_FALSE(schedule_.Failed(1, 0));
  ASSERT_EQ(StepAt(3 * kS).renewals.size(), 1u);
  EXPECT_EQ(due_.renewals[0].key, 2u);
}

}  // namespace
}  // namespace leaseplane::internal
