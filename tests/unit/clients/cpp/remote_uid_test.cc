// SPDX-License-Identifier: Apache-2.0
// gRPC over a Unix socket asks whose daemon it is, like the local path.
#include <stdlib.h>

#include "tests/unit/clients/cpp/as_user.h"
#include "tests/unit/clients/cpp/remote_fixture.h"

namespace leaseplane {
namespace {

TEST(RemoteUidTest, ADaemonOfAnotherUserIsRefusedOverGrpcToo) {
  if (!CanBeAnotherUser()) GTEST_SKIP() << "only root can be another user";
  std::string folder = ::testing::TempDir() + "leaseplane-XXXXXX";
  ASSERT_NE(::mkdtemp(folder.data()), nullptr);
  ASSERT_EQ(::chown(folder.c_str(), kOtherUid, static_cast<gid_t>(-1)), 0);
  const std::string socket = folder + "/leaseplane.sock";
  FakeLeaseService service(1);
  {
    const AsUser other(kOtherUid);
    service.Start("unix:" + socket);
  }
  for (const bool forbid_local :
       {true, false}) {  // without an attach socket there is no local path
    ClientOptions options{.forbid_local = forbid_local};
    const absl::Status status = Client::Connect("unix://" + socket, options).status();
    EXPECT_EQ(ReasonOf(status), Reason::kUntrustedServer) << status;
    options.server_uid = kOtherUid;
    const auto client = Client::Connect("unix://" + socket, options);
    ASSERT_TRUE(client.ok()) << client.status();
    EXPECT_EQ(client->path(), Path::kRemote);
  }
}

}  // namespace
}  // namespace leaseplane
