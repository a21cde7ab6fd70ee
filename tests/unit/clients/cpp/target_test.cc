// SPDX-License-Identifier: Apache-2.0
#include "clients/cpp/target.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include "leaseplane/status.h"

namespace leaseplane::internal {
namespace {

TEST(TargetTest, NoTargetMeansTheEnvironmentThenTheDefaultSocket) {
  ::unsetenv("LEASEPLANE_SERVER");
  EXPECT_EQ(ParseTarget("")->socket_path, "/run/leaseplane/leaseplane.sock");
  ::setenv("LEASEPLANE_SERVER", "dns:///db.example:7070", 1);
  EXPECT_EQ(ParseTarget("")->grpc_target, "dns:///db.example:7070");
  ::unsetenv("LEASEPLANE_SERVER");
}

TEST(TargetTest, BothFormsOfAUnixTargetAreTheSame) {
  const auto one = ParseTarget("unix:/tmp/a.sock");
  const auto other = ParseTarget("unix:///tmp/a.sock");
  ASSERT_TRUE(one.ok() && other.ok());
  EXPECT_EQ(one->text, other->text);
  EXPECT_EQ(one->grpc_target, "unix:/tmp/a.sock");
  EXPECT_TRUE(one->is_unix());
  EXPECT_EQ(AttachSocketOf(one->socket_path), "/tmp/attach.sock");
}

TEST(TargetTest, AHostAndPortAreResolvedByGrpc) {
  EXPECT_EQ(ParseTarget("localhost:7070")->grpc_target, "dns:///localhost:7070");
  EXPECT_EQ(ParseTarget("ipv4:127.0.0.1:7070")->grpc_target, "ipv4:127.0.0.1:7070");
  EXPECT_EQ(ParseTarget("ipv6:[::1]:7070")->grpc_target, "ipv6:[::1]:7070");
}

TEST(TargetTest, ABadTargetIsRefusedWithWhatWouldBeValid) {
  for (const char* text : {"unix:relative.sock", "localhost", "dns:///host", "ftp://host:1",
                           "host:", "host:port", ":7070"}) {
    const auto target = ParseTarget(text);
    EXPECT_EQ(ReasonOf(target.status()), Reason::kInvalidArgument) << text;
  }
  EXPECT_FALSE(ParseTarget("unix:///" + std::string(200, 'x')).ok());
}

}  // namespace
}  // namespace leaseplane::internal
