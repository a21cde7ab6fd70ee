// SPDX-License-Identifier: Apache-2.0
#include "clients/cpp/renewal/stream_schedule.h"

#include <gtest/gtest.h>

namespace leaseplane::internal {
namespace {

constexpr int64_t kMs = 1'000'000;
constexpr int64_t kS = 1000 * kMs;
constexpr int64_t kAnnounceNs = StreamSchedule::kAnnounceAfterNs;

class StreamScheduleTest : public ::testing::Test {
 protected:
  StreamSchedule::Work& StepAt(int64_t now_ns) {
    schedule_.Step(now_ns, work_);
    return work_;
  }
  // A stream that has answered, for lease 1.
  void OpenAt(int64_t now_ns) {
    schedule_.Add(1, now_ns - kAnnounceNs);
    StepAt(now_ns);
    ASSERT_TRUE(work_.open);
    ASSERT_EQ(work_.announce.size(), 1u);
    ASSERT_TRUE(schedule_.Answered(work_.announce[0].sequence).has_value());
  }
  void Break(int64_t now_ns) { schedule_.Ended(now_ns, StreamSchedule::End::kBroken); }

  StreamSchedule schedule_{1};
  StreamSchedule::Work work_;
};

TEST_F(StreamScheduleTest, ALeaseHeldForAMomentOpensNoStream) {
  EXPECT_EQ(schedule_.NextNs(), StreamSchedule::kNothing);
  schedule_.Add(1, kS);
  EXPECT_EQ(schedule_.NextNs(), kS + kAnnounceNs);
  EXPECT_FALSE(StepAt(kS + kAnnounceNs - 1).open);
  schedule_.Remove(1);
  EXPECT_EQ(schedule_.NextNs(), StreamSchedule::kNothing);
  EXPECT_FALSE(StepAt(2 * kS).open);
}

TEST_F(StreamScheduleTest, AHeldLeaseOpensTheStreamAndIsAnnouncedOnce) {
  schedule_.Add(1, 0);
  schedule_.Add(2, kMs);
  StepAt(kAnnounceNs);
  EXPECT_TRUE(work_.open);
  ASSERT_EQ(work_.announce.size(), 1u);
  EXPECT_EQ(work_.announce[0].key, 1u);
  StepAt(kAnnounceNs + kMs);
  EXPECT_FALSE(work_.open);
  ASSERT_EQ(work_.announce.size(), 1u);
  EXPECT_EQ(work_.announce[0].key, 2u);
  EXPECT_TRUE(StepAt(kAnnounceNs + 2 * kMs).announce.empty());
}

TEST_F(StreamScheduleTest, DueRenewalsWaitForTheStreamsFirstAnswer) {
  EXPECT_FALSE(schedule_.AskDue(1, 0, kS).has_value());
  schedule_.Add(1, 0);
  StepAt(kAnnounceNs);
  EXPECT_FALSE(schedule_.AskDue(1, kS, kS).has_value());
  const auto asked = schedule_.Answered(work_.announce[0].sequence);
  ASSERT_TRUE(asked.has_value());
  EXPECT_EQ(asked->sent_ns, kAnnounceNs);
  EXPECT_FALSE(asked->is_due);
  const auto due = schedule_.AskDue(1, kS, kS);
  ASSERT_TRUE(due.has_value());
  EXPECT_TRUE(schedule_.Answered(due->sequence)->is_due);
  EXPECT_FALSE(schedule_.Answered(due->sequence).has_value()) << "answered twice";
  EXPECT_FALSE(schedule_.AskDue(7, kS, kS).has_value()) << "no such lease";
}

TEST_F(StreamScheduleTest, ARenewalWithoutAnAnswerMeansThatTheStreamIsDead) {
  OpenAt(kS);
  ASSERT_TRUE(schedule_.AskDue(1, 2 * kS, kS).has_value());
  EXPECT_EQ(schedule_.NextNs(), 3 * kS);
  EXPECT_FALSE(StepAt(3 * kS - 1).cancel);
  EXPECT_TRUE(StepAt(3 * kS).cancel);
  EXPECT_FALSE(StepAt(3 * kS).cancel) << "said already";
  EXPECT_FALSE(schedule_.AskDue(1, 3 * kS, kS).has_value());
  EXPECT_EQ(schedule_.NextNs(), StreamSchedule::kNothing);
  EXPECT_EQ(schedule_.Ended(4 * kS, StreamSchedule::End::kBroken),
            std::vector<StreamSchedule::Key>{1});
}

TEST_F(StreamScheduleTest, ARenewalThatWasNotSentIsNotMissed) {
  schedule_.Add(1, 0);
  StepAt(kAnnounceNs);
  schedule_.TakeBack(work_.announce[0].sequence);
  schedule_.Remove(1);
  EXPECT_EQ(schedule_.NextNs(), StreamSchedule::kNothing);
  EXPECT_FALSE(StepAt(100 * kS).cancel);
}

TEST_F(StreamScheduleTest, EveryLeaseIsAnnouncedOnTheNextStream) {
  OpenAt(kS);
  schedule_.Add(2, kS);
  Break(kS + kMs);
  const int64_t retry_ns = schedule_.NextNs();
  EXPECT_GE(retry_ns, kS + kMs + StreamSchedule::kPauseMinNs / 2);
  EXPECT_LE(retry_ns, kS + kMs + StreamSchedule::kPauseMinNs + kAnnounceNs);
  EXPECT_FALSE(StepAt(kS + 2 * kMs).open);
  EXPECT_TRUE(StepAt(2 * kS).open);
  EXPECT_EQ(work_.announce.size(), 2u);
}

TEST_F(StreamScheduleTest, PausesDoubleUpToABoundAndStartAnewAfterAnAnswer) {
  schedule_.Want();
  int64_t now_ns = kS, longest_ns = 0, last_ns = 0;
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(StepAt(now_ns).open);
    Break(now_ns);
    const int64_t pause_ns = schedule_.NextNs() - now_ns;
    const int64_t full_ns =
        std::min(StreamSchedule::kPauseMinNs << std::min(i, 10), StreamSchedule::kPauseMaxNs);
    EXPECT_GE(pause_ns, full_ns / 2);
    EXPECT_LE(pause_ns, full_ns);
    EXPECT_NE(pause_ns, last_ns) << "no jitter";
    last_ns = pause_ns;
    longest_ns = std::max(longest_ns, pause_ns);
    now_ns += pause_ns;
  }
  EXPECT_GT(longest_ns, kS);
  OpenAt(now_ns);
  Break(now_ns);
  EXPECT_LE(schedule_.NextNs() - now_ns, StreamSchedule::kPauseMinNs);
}

TEST_F(StreamScheduleTest, AStreamThatLivedLongWasSoundThoughNothingWasAskedOnIt) {
  schedule_.Want();
  int64_t now_ns = kS;
  for (int i = 0; i < 10; ++i) {
    StepAt(now_ns);
    Break(now_ns);
    now_ns = schedule_.NextNs();
  }
  StepAt(now_ns);
  now_ns += StreamSchedule::kSoundAfterNs;
  Break(now_ns);
  EXPECT_LE(schedule_.NextNs() - now_ns, StreamSchedule::kPauseMinNs);
}

TEST_F(StreamScheduleTest, ADaemonThatDoesNotKnowTheStreamIsAskedRarely) {
  schedule_.Want();
  ASSERT_TRUE(StepAt(kS).open);
  schedule_.Ended(kS, StreamSchedule::End::kRefused);
  EXPECT_GE(schedule_.NextNs() - kS, StreamSchedule::kRefusedPauseNs / 2);
}

}  // namespace
}  // namespace leaseplane::internal
