// SPDX-License-Identifier: Apache-2.0
// Which way is taken, and what is said when there is none.
#include <stdlib.h>

#include "tests/unit/clients/cpp/local_fixture.h"

namespace leaseplane {
namespace {

class LocalConnectTest : public LocalTest {};

TEST_F(LocalConnectTest, WithoutADaemonTheTargetIsUnreachable) {
  const auto client = Client::Connect(target());
  EXPECT_EQ(ReasonOf(client.status()), Reason::kUnreachable) << client.status();
}

TEST_F(LocalConnectTest, GrpcTargetsNeedTheOtherLibrary) {
  const auto client = Client::Connect("localhost:7070");
  EXPECT_EQ(ReasonOf(client.status()), Reason::kNoRemotePath);
}

TEST_F(LocalConnectTest, AnotherAbiIsSaidToBeThat) {
  daemon_options_.other_abi = true;
  StartDaemon();
  EXPECT_EQ(ReasonOf(Client::Connect(target()).status()), Reason::kAbiMismatch);
  const auto client = Client::Connect(target(), {.require_local = true});
  EXPECT_EQ(ReasonOf(client.status()), Reason::kNoLocalPath);
}

TEST_F(LocalConnectTest, RefusedPoolsSayWhy) {
  daemon_options_.pools[0].refuse = attach::Refusal::kNotAllowed;
  StartDaemon();
  const Client client = Connect();
  EXPECT_EQ(ReasonOf(client.OpenPool("gpu").status()), Reason::kPermissionDenied);
  EXPECT_EQ(ReasonOf(client.OpenPool("none").status()), Reason::kNotFound);
  EXPECT_EQ(ReasonOf(client.OpenPool("").status()), Reason::kInvalidArgument);
  EXPECT_TRUE(client.OpenPool("line").ok());
}

TEST_F(LocalConnectTest, BadOptionsAreRefusedBeforeAnythingIsTried) {
  for (const ClientOptions& options :
       {ClientOptions{.client_id = "with space"}, ClientOptions{.client_id = std::string(64, 'x')},
        ClientOptions{.require_local = true, .forbid_local = true}}) {
    EXPECT_EQ(ReasonOf(Client::Connect(target(), options).status()), Reason::kInvalidArgument);
  }
}

TEST_F(LocalConnectTest, AClosedSessionCanBeMadeAgainAndAgain) {
  StartDaemon();
  for (int i = 0; i < 20; ++i) {
    const Client client = Connect();
    EXPECT_TRUE(Open(client).TryAcquire());
  }
  EXPECT_TRUE(Eventually([this] { return daemon_->SessionCount() == 0; }));
}

}  // namespace
}  // namespace leaseplane
