// SPDX-License-Identifier: Apache-2.0
#include "clients/cli/exit_codes.h"

#include <errno.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <utility>

#include "leaseplane/status.h"

namespace leaseplane::cli {
namespace {

TEST(ExitCodes, EveryReasonOfTheApiHasTheCodeThatIsDocumented) {
  const std::pair<Reason, int> cases[] = {
      {Reason::kInvalidArgument, 64}, {Reason::kRequestIdConflict, 64},
      {Reason::kNotFound, 1},         {Reason::kAlreadyExists, 1},
      {Reason::kNoFreeSlot, 75},      {Reason::kWaitTimeout, 75},
      {Reason::kQueueFull, 75},       {Reason::kClientQuota, 75},
      {Reason::kPoolDraining, 1},     {Reason::kSlotLocked, 1},
      {Reason::kLeaseExpired, 1},     {Reason::kLeaseRevoked, 1},
      {Reason::kLeaseReleased, 1},    {Reason::kFailedPrecondition, 1},
      {Reason::kStaleToken, 1},       {Reason::kWaitCancelled, 1},
      {Reason::kNotHolder, 77},       {Reason::kPermissionDenied, 77},
      {Reason::kDraining, 69},        {Reason::kRecovering, 69},
      {Reason::kStoreFailed, 70},     {Reason::kInternal, 70},
      {Reason::kUnimplemented, 69},   {Reason::kUnreachable, 69},
      {Reason::kOutcomeUnknown, 69},  {Reason::kUntrustedServer, 77},
      {Reason::kSessionEnded, 69},
  };
  for (const auto& [reason, exit_code] : cases) {
    EXPECT_EQ(ExitCodeOf(MakeStatus(reason, "text")), exit_code) << ReasonName(reason);
  }
}

TEST(ExitCodes, StatusesOfGrpcItselfAreMappedByTheirCode) {
  EXPECT_EQ(ExitCodeOf(absl::OkStatus()), 0);
  EXPECT_EQ(ExitCodeOf(absl::UnavailableError("connection refused")), 69);
  EXPECT_EQ(ExitCodeOf(absl::DeadlineExceededError("")), 69);
  EXPECT_EQ(ExitCodeOf(absl::UnauthenticatedError("")), 77);
  EXPECT_EQ(ExitCodeOf(absl::ResourceExhaustedError("message larger than max")), 70);
  EXPECT_EQ(ExitCodeOf(absl::CancelledError("")), 70);
  EXPECT_EQ(ExitCodeOf(absl::UnknownError("")), 70);
  EXPECT_EQ(ExitCodeOf(absl::DataLossError("")), 70);
}

TEST(ExitCodes, RunTellsNoSlotFromItsOwnFailure) {
  EXPECT_EQ(RunExitCodeOf(MakeStatus(Reason::kWaitTimeout, ""), 75), 75);
  EXPECT_EQ(RunExitCodeOf(MakeStatus(Reason::kNoFreeSlot, ""), 3), 3);
  EXPECT_EQ(RunExitCodeOf(MakeStatus(Reason::kNotFound, ""), 75), 125);
  EXPECT_EQ(RunExitCodeOf(absl::UnavailableError(""), 75), 125);
}

TEST(ExitCodes, RunAnswersForItsCommandAsEnvDoes) {
  EXPECT_EQ(ExecExitCodeOf(ENOENT), 127);
  EXPECT_EQ(ExecExitCodeOf(EACCES), 126);
  EXPECT_EQ(ExecExitCodeOf(ENOEXEC), 126);
  EXPECT_EQ(WaitExitCodeOf(3 << 8), 3);
  EXPECT_EQ(WaitExitCodeOf(SIGKILL), 137);
}

TEST(ExitCodes, ADescriptionIsOneLineWithTheReasonFirst) {
  EXPECT_EQ(Describe(MakeStatus(Reason::kWaitTimeout, "no slot\nin 5s")),
            "WAIT_TIMEOUT: no slot in 5s");
  EXPECT_EQ(Describe(absl::UnavailableError("gone")), "UNAVAILABLE: gone");
}

}  // namespace
}  // namespace leaseplane::cli
