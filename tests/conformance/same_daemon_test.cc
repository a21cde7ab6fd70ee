// SPDX-License-Identifier: Apache-2.0
// A target that names a host and a port is served through shared memory only if the daemon of this
// host is the one that answers there.
#include "tests/conformance/lease_suite.h"

namespace leaseplane {
namespace {

class SameDaemonTest : public ::testing::Test {
 protected:
  static constexpr char kConfig[] = "pools: [{id: gpu, capacity: 1}]";

  SameDaemonTest() : daemon_({LEASEPLANED, kConfig, {}}), other_({LEASEPLANED, kConfig, {}}) {
    daemon_.Start();
    other_.Start();
  }

  testing::DaemonProcess daemon_, other_;
};

TEST_F(SameDaemonTest, TheDaemonOfThisHostIsReachedThroughSharedMemory) {
  for (const std::string& target :
       {daemon_.tcp_target(), "dns:///" + daemon_.tcp_target(), "ipv4:" + daemon_.tcp_target()}) {
    ClientOptions options;
    options.local_socket = daemon_.socket_path();
    const auto client = Client::Connect(target, options);
    ASSERT_TRUE(client.ok()) << client.status();
    EXPECT_EQ(client->path(), Path::kLocal) << client->path_reason();
    const auto pool = client->OpenPool("gpu");
    ASSERT_TRUE(pool.ok()) << pool.status();
    EXPECT_EQ(pool->path(), Path::kLocal);
    EXPECT_TRUE(pool->TryAcquire());
  }
}

TEST_F(SameDaemonTest, AnotherDaemonOfThisHostIsNot) {
  ClientOptions options;
  options.local_socket = other_.socket_path();
  const auto client = Client::Connect(daemon_.tcp_target(), options);
  ASSERT_TRUE(client.ok()) << client.status();
  EXPECT_EQ(client->path(), Path::kRemote);
  EXPECT_NE(client->path_reason().find("another"), std::string::npos) << client->path_reason();
  const auto pool = client->OpenPool("gpu");
  ASSERT_TRUE(pool.ok()) << pool.status();
  // The lease is of the target's daemon, and the other's slot stays free.
  const Lease lease = pool->TryAcquire();
  ASSERT_TRUE(lease);
  EXPECT_EQ(lease.path(), Path::kRemote);
  const auto beside = Client::Connect(other_.unix_target());
  ASSERT_TRUE(beside.ok()) << beside.status();
  EXPECT_NE(beside->instance_id(), client->instance_id());
  const auto other_pool = beside->OpenPool("gpu");
  ASSERT_TRUE(other_pool.ok()) << other_pool.status();
  EXPECT_TRUE(other_pool->TryAcquire());

  options.require_local = true;
  EXPECT_EQ(ReasonOf(Client::Connect(daemon_.tcp_target(), options).status()),
            Reason::kNoLocalPath);
}

TEST_F(SameDaemonTest, WithoutADaemonOnThisHostItIsGrpc) {
  ClientOptions options;
  options.local_socket = daemon_.folder() + "/none/leaseplane.sock";
  const auto client = Client::Connect(daemon_.tcp_target(), options);
  ASSERT_TRUE(client.ok()) << client.status();
  EXPECT_EQ(client->path(), Path::kRemote);
}

}  // namespace
}  // namespace leaseplane
