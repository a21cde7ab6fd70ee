// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/integration/cli/child_program.h"
#include "tests/integration/cli/fake_lease_service.h"

namespace leaseplane::testing {
namespace {

constexpr char kToken[] = "481036337164";
constexpr char kLease[] = "gpu/00112233445566778899aabbccddeeff";

struct Outcome {
  int exit_code = 0;
  std::string output, errors;
};

class Commands : public ::testing::Test {
 protected:
  Outcome Leasectl(std::vector<std::string> words) {
    words.insert(words.end(), {"--server", service_.unix_target()});
    ChildProgram program = ChildProgram::Leasectl(words);
    Outcome outcome;
    outcome.exit_code = program.Wait();
    outcome.output = program.Output();
    outcome.errors = program.Errors();
    return outcome;
  }

  FakeLeaseService service_;
};

bool Has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST_F(Commands, ListsAreTablesOfOneLineEach) {
  const Outcome pools = Leasectl({"pools"});
  EXPECT_EQ(pools.exit_code, 0) << pools.errors;
  EXPECT_EQ(pools.output,
            "POOL  STATE   SLOTS  FREE  BUSY  LOCAL  LOCKED  COOLING  QUARANTINED  WAITING  "
            "FAIRNESS  TTL  NOTE\n"
            "gpu   ACTIVE      8     7     1      0       0        0            0        0  "
            "BOUNDED   15s  -\n");
  service_.Drain("fans");
  EXPECT_TRUE(Has(Leasectl({"pools"}).output, "BOUNDED   15s  drained: fans\n"));
  const Outcome slots = Leasectl({"slots", "gpu"});
  EXPECT_EQ(slots.exit_code, 0) << slots.errors;
  EXPECT_TRUE(Has(slots.output, std::string("gpu/2  BUSY   ") + kToken + "  gpu-c     " + kLease +
                                    "  to be locked: fan broken\n"))
      << slots.output;
  const Outcome waiters = Leasectl({"waiters", "gpu"});
  EXPECT_TRUE(Has(waiters.output, "1  gpu/5   LOCAL  uid:1000      3s\n")) << waiters.output;
}

TEST_F(Commands, AListOfSeveralPagesIsReadToItsEnd) {
  const Outcome leases = Leasectl({"leases", "-o", "json"});
  EXPECT_EQ(leases.exit_code, 0) << leases.errors;
  const std::string entry = std::string("\"fencing_token\": ") + kToken + ",";
  const size_t first = leases.output.find(entry);
  ASSERT_NE(first, std::string::npos) << leases.output;
  EXPECT_NE(leases.output.find(entry, first + 1), std::string::npos) << "the second page";
  EXPECT_EQ(leases.output.rfind("{\n  \"leases\": [", 0), 0u);
}

TEST_F(Commands, ALeaseIsAcquiredRenewedAndReleasedByItsShortName) {
  const Outcome acquired = Leasectl({"acquire", "gpu", "--wait", "1s", "--ttl", "20s"});
  EXPECT_EQ(acquired.exit_code, 0) << acquired.errors;
  EXPECT_TRUE(Has(acquired.output, kLease)) << acquired.output;
  EXPECT_EQ(service_.last_request_id().size(), 36u);
  EXPECT_EQ(service_.last_ttl_ns(), 20'000'000'000);
  EXPECT_EQ(Leasectl({"renew", kLease}).exit_code, 0) << "with the token asked from the daemon";
  EXPECT_EQ(Leasectl({"renew", kLease, "--token", kToken, "--ttl", "9s"}).exit_code, 0);
  const Outcome stale = Leasectl({"renew", kLease, "--token", "5"});
  EXPECT_EQ(stale.exit_code, 1);
  EXPECT_EQ(stale.errors, "leasectl: STALE_TOKEN: not the lease's token\n");
  EXPECT_EQ(Leasectl({"release", kLease}).exit_code, 0);
  EXPECT_EQ(service_.release_count(), 1);
}

TEST_F(Commands, CheckAnswersByItsExitCode) {
  EXPECT_EQ(Leasectl({"check", "gpu/2", kToken}).exit_code, 0);
  const Outcome other = Leasectl({"check", "gpu/2", "5"});
  EXPECT_EQ(other.exit_code, 1);
  EXPECT_EQ(other.output,
            std::string("not valid: slot gpu/2 is BUSY, its last token is ") + kToken + "\n");
}

TEST_F(Commands, OperatorsCommandsSayWhatBecameOfTheSlot) {
  EXPECT_EQ(Leasectl({"lock", "gpu/2", "--reason", "fan"}).output,
            "slot gpu/2 is BUSY, to be locked when its lease ends\n");
  EXPECT_EQ(Leasectl({"unlock", "gpu/2"}).exit_code, 0);
  EXPECT_EQ(Leasectl({"revoke", kLease, "--reason", "r", "--grace", "1s"}).output,
            std::string("lease ") + kLease + " is REVOKED\n");
}

TEST_F(Commands, DrainWaitsUntilThePoolIsEmpty) {
  EXPECT_EQ(Leasectl({"drain", "gpu", "--reason", "fans"}).output,
            "pool gpu is DRAINING, leases left: 1\n");
  const Outcome late = Leasectl({"drain", "gpu", "--reason", "fans", "--wait", "1ms"});
  EXPECT_EQ(late.exit_code, 75);
  EXPECT_TRUE(Has(late.errors, "WAIT_TIMEOUT: the pool is drained, but leases are left: 1"));
  service_.SetLeases(2);
  EXPECT_EQ(Leasectl({"drain", "gpu", "--reason", "fans", "--wait", "1h"}).output,
            "pool gpu is DRAINING, leases left: 0\n");
  EXPECT_EQ(Leasectl({"resume", "gpu"}).output, "pool gpu is ACTIVE\n");
  EXPECT_EQ(Leasectl({"drain", "gpu"}).exit_code, 64) << "--reason is needed";
}

TEST_F(Commands, VersionNamesBothSides) {
  const Outcome version = Leasectl({"version"});
  EXPECT_EQ(version.exit_code, 0);
  EXPECT_TRUE(Has(version.output, "leaseplaned 9.8.7, instance instance-a")) << version.output;
}

TEST_F(Commands, AFailureIsOneLineWithReasonAndFieldAndItsExitCode) {
  struct Case {
    grpc::StatusCode code;
    const char* reason;
    const char* field;
    int exit_code;
  };
  const Case cases[] = {
      {grpc::StatusCode::INVALID_ARGUMENT, "INVALID_ARGUMENT", "ttl", 64},
      {grpc::StatusCode::NOT_FOUND, "NOT_FOUND", "", 1},
      {grpc::StatusCode::RESOURCE_EXHAUSTED, "NO_FREE_SLOT", "", 75},
      {grpc::StatusCode::RESOURCE_EXHAUSTED, "QUEUE_FULL", "", 75},
      {grpc::StatusCode::RESOURCE_EXHAUSTED, "CLIENT_QUOTA", "", 75},
      {grpc::StatusCode::FAILED_PRECONDITION, "POOL_DRAINING", "", 1},
      {grpc::StatusCode::ABORTED, "WAIT_CANCELLED", "", 1},
      {grpc::StatusCode::PERMISSION_DENIED, "PERMISSION_DENIED", "", 77},
      {grpc::StatusCode::UNAVAILABLE, "DRAINING", "", 69},
      {grpc::StatusCode::INTERNAL, "STORE_FAILED", "", 70},
  };
  for (const Case& c : cases) {
    service_.FailAll(ApiStatus(c.code, c.reason, "why", c.field));
    const Outcome outcome = Leasectl({"acquire", "gpu"});
    EXPECT_EQ(outcome.exit_code, c.exit_code) << c.reason;
    EXPECT_EQ(outcome.errors, std::string("leasectl: ") + c.reason + ": " + c.field +
                                  (*c.field == '\0' ? "" : ": ") + "why\n");
    EXPECT_EQ(outcome.output, "");
  }
}

// A daemon that stops cancels what it has not read yet, without a reason of its own.
TEST_F(Commands, AStoppingDaemonIsAskedAgainWhileTheWaitLasts) {
  const grpc::Status dropped(grpc::StatusCode::CANCELLED, "CANCELLED");
  service_.FailAcquires(2, dropped);
  const Outcome outcome = Leasectl({"acquire", "gpu", "--wait", "1h"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.errors;
  EXPECT_EQ(service_.acquire_count(), 3);
  service_.FailAcquires(1, dropped);
  const Outcome impatient = Leasectl({"acquire", "gpu"});
  EXPECT_EQ(impatient.exit_code, 69);
  EXPECT_TRUE(Has(impatient.errors, "OUTCOME_UNKNOWN: the daemon dropped the call"))
      << impatient.errors;
}

TEST_F(Commands, AWaitThatEndsWithoutSlotIsExitCode75) {
  service_.SetHasSlot(false);
  EXPECT_EQ(Leasectl({"acquire", "gpu"}).exit_code, 75);
  EXPECT_EQ(Leasectl({"acquire", "gpu", "--wait", "1ms"}).exit_code, 75);
}

}  // namespace
}  // namespace leaseplane::testing
