// SPDX-License-Identifier: Apache-2.0
//
// What of a command line is refused before anything is asked from a daemon. Nobody listens at the
// server that is named, so a line that is understood ends with 69, or 125 for `run`.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "clients/cli/commands.h"

namespace leaseplane::cli {
namespace {

struct Outcome {
  int exit_code = 0;
  std::string error;
};

Outcome Leasectl(std::vector<const char*> words) {
  words.insert(words.begin(), "leasectl");
  ::testing::internal::CaptureStderr();
  ::testing::internal::CaptureStdout();
  Outcome outcome;
  outcome.exit_code = RunCommandLine(static_cast<int>(words.size()), words.data());
  outcome.error = ::testing::internal::GetCapturedStderr();
  ::testing::internal::GetCapturedStdout();
  return outcome;
}

TEST(CommandLine, MistakesAreUsageErrorsToldInOneLine) {
  const std::vector<std::vector<const char*>> mistakes = {
      {},
      {"nonsense"},
      {"slots"},
      {"slots", "a", "b"},
      {"pools", "-o", "xml"},
      {"pools", "--server", "ftp://x"},
      {"pools", "--timeout", "5"},
      {"acquire", "gpu", "--wait", "-1s"},
      {"acquire", "gpu", "--ttl", "soon"},
      {"acquire", "a/b"},
      {"check", "gpu/1"},
      {"check", "gpu/1", "token"},
      {"check", "gpu", "1"},
      {"renew", "gpu"},
      {"release", "gpu/x", "--token", "x"},
      {"lock", "gpu/1"},
      {"revoke", "gpu/x"},
      {"revoke", "gpu/x", "--reason", "r", "--grace", "inf"},
      {"run"},
      {"run", "gpu"},
      {"run", "gpu", "--"},
      {"run", "gpu", "true"},
      {"run", "gpu", "--conflict-exit-code", "256", "--", "true"},
      {"run", "gpu", "--conflict-exit-code", "-1", "--", "true"},
      {"run", "gpu", "--path", "fast", "--", "true"},
      {"run", "gpu", "--path", "local", "--server", "127.0.0.1:1", "--", "true"},
      {"pools", "--", "true"},
  };
  for (const auto& words : mistakes) {
    std::string line;
    for (const char* word : words) line.append(word).append(" ");
    const Outcome outcome = Leasectl(words);
    EXPECT_EQ(outcome.exit_code, 64) << line;
    EXPECT_EQ(outcome.error.rfind("leasectl: ", 0), 0u) << line << outcome.error;
    EXPECT_EQ(outcome.error.find('\n'), outcome.error.size() - 1) << line << outcome.error;
  }
}

TEST(CommandLine, HelpAndVersionSucceed) {
  for (const char* word : {"--help", "--version"}) EXPECT_EQ(Leasectl({word}).exit_code, 0) << word;
  EXPECT_EQ(Leasectl({"run", "--help"}).exit_code, 0);
}

TEST(CommandLine, WithoutADaemonEveryCommandSaysUnavailable) {
  const std::vector<std::vector<const char*>> lines = {
      {"pools"},
      {"slots", "gpu"},
      {"leases"},
      {"leases", "gpu"},
      {"waiters", "gpu"},
      {"acquire", "gpu", "--wait", "1m"},
      {"renew", "gpu/x"},
      {"release", "gpu/x", "--token", "7"},
      {"check", "gpu/1", "7"},
      {"lock", "gpu/1", "--reason", "r"},
      {"unlock", "gpu/1"},
      {"revoke", "gpu/x", "--reason", "r"},
      {"health"},
      {"health", "--live"},
  };
  for (std::vector<const char*> words : lines) {
    words.insert(words.end(), {"--server", "unix:///nonexistent/leaseplane.sock", "-o", "json"});
    const Outcome outcome = Leasectl(words);
    EXPECT_EQ(outcome.exit_code, 69) << words[0] << ": " << outcome.error;
    EXPECT_EQ(outcome.error.rfind("leasectl: UN", 0), 0u) << words[0] << ": " << outcome.error;
  }
}

}  // namespace
}  // namespace leaseplane::cli
