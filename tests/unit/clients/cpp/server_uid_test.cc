// SPDX-License-Identifier: Apache-2.0
// Whose daemon is believed at a Unix socket.
#include <stdlib.h>

#include "tests/unit/clients/cpp/as_user.h"
#include "tests/unit/clients/cpp/local_fixture.h"

namespace leaseplane {
namespace {

constexpr char kVariable[] = "LEASEPLANE_SERVER_UID";

class ServerUidTest : public LocalTest {
 protected:
  void SetUp() override {
    ::unsetenv(kVariable);
    if (!CanBeAnotherUser()) GTEST_SKIP() << "only root can be another user";
    ASSERT_EQ(::chown(folder_.c_str(), kOtherUid, static_cast<gid_t>(-1)), 0);
    const AsUser other(kOtherUid);
    StartDaemon();
  }
  void TearDown() override { ::unsetenv(kVariable); }
};

TEST_F(ServerUidTest, ADaemonOfAnotherUserIsRefused) {
  const absl::Status status = Client::Connect(target()).status();
  EXPECT_EQ(ReasonOf(status), Reason::kUntrustedServer) << status;
  EXPECT_EQ(status.code(), absl::StatusCode::kPermissionDenied);
  EXPECT_NE(status.message().find("65534"), status.message().npos) << status;
  EXPECT_EQ(ReasonOf(Client::Connect(target(), {.server_uid = 12345}).status()),
            Reason::kUntrustedServer);
}

TEST_F(ServerUidTest, ItIsBelievedIfTheOptionsNameItsUser) {
  EXPECT_TRUE(Open(Connect({.server_uid = kOtherUid})).TryAcquire());
}

TEST_F(ServerUidTest, TheEnvironmentNamesItsUserIfTheOptionsDoNot) {
  ::setenv(kVariable, "65534", 1);
  EXPECT_TRUE(Open(Connect()).TryAcquire());
  EXPECT_EQ(ReasonOf(Client::Connect(target(), {.server_uid = 12345}).status()),
            Reason::kUntrustedServer);
  ::setenv(kVariable, "12345", 1);
  EXPECT_EQ(ReasonOf(Client::Connect(target()).status()), Reason::kUntrustedServer);
}

TEST_F(ServerUidTest, AUserThatIsNoNumberIsAnError) {
  for (const char* text : {"nobody", "-1", "65534x", "99999999999"}) {
    ::setenv(kVariable, text, 1);
    const absl::Status status = Client::Connect(target()).status();
    EXPECT_EQ(ReasonOf(status), Reason::kInvalidArgument) << text << ": " << status;
    EXPECT_NE(status.message().find(kVariable), status.message().npos) << status;
  }
  ::setenv(kVariable, "", 1);
  EXPECT_EQ(ReasonOf(Client::Connect(target()).status()), Reason::kUntrustedServer);
}

}  // namespace
}  // namespace leaseplane
