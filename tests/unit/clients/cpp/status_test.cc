// SPDX-License-Identifier: Apache-2.0
#include "leaseplane/status.h"

#include <gtest/gtest.h>

namespace leaseplane {
namespace {

TEST(StatusTest, AReasonSurvivesInTheStatusWithItsCode) {
  const absl::Status status = MakeStatus(Reason::kWaitTimeout, "no slot");
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ReasonOf(status), Reason::kWaitTimeout);
  EXPECT_EQ(RetryAfter(status), std::nullopt);
}

TEST(StatusTest, ForeignAndOkStatusesHaveNoReason) {
  EXPECT_EQ(ReasonOf(absl::OkStatus()), Reason::kNone);
  EXPECT_EQ(ReasonOf(absl::NotFoundError("x")), Reason::kNone);
}

TEST(StatusTest, RetryAfterIsCarriedExactly) {
  const absl::Status status = MakeStatus(Reason::kQueueFull, "full", absl::Nanoseconds(1234567));
  EXPECT_EQ(RetryAfter(status), absl::Nanoseconds(1234567));
}

TEST(StatusTest, EveryReasonHasANameThatLeadsBackToIt) {
  for (int i = 1; i <= static_cast<int>(Reason::kSessionEnded); ++i) {
    const auto reason = static_cast<Reason>(i);
    EXPECT_EQ(ReasonFromName(ReasonName(reason)), reason) << ReasonName(reason);
    EXPECT_NE(CodeOf(reason), absl::StatusCode::kOk);
  }
  EXPECT_EQ(ReasonFromName("OF_THE_FUTURE"), Reason::kUnknown);
}

}  // namespace
}  // namespace leaseplane
