// SPDX-License-Identifier: Apache-2.0
#include "server/rpc/server.h"

#include <gmock/gmock.h>
#include <grpcpp/generic/generic_stub.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <atomic>
#include <cstring>
#include <fstream>
#include <future>
#include <thread>
#include <vector>

#include "core/base/unique_fd.h"
#include "server/rpc/health_reporter.h"
#include "tests/unit/server/rpc/rpc_fixture.h"

namespace leaseplane::rpc {
namespace {

// A call with bytes of the test's own making.
grpc::Status CallWithBytes(const std::shared_ptr<grpc::Channel>& channel, const std::string& method,
                           const std::string& request, std::string* response = nullptr) {
  Call call;
  grpc::GenericStub stub(channel);
  const grpc::Slice slice(request);
  const grpc::ByteBuffer bytes(&slice, 1);
  grpc::ByteBuffer reply;
  std::promise<grpc::Status> done;
  stub.UnaryCall(&call, method, grpc::StubOptions(), &bytes, &reply,
                 [&](grpc::Status status) { done.set_value(std::move(status)); });
  const grpc::Status status = done.get_future().get();
  std::vector<grpc::Slice> slices;
  if (response != nullptr && status.ok() && reply.Dump(&slices).ok()) {
    response->clear();
    for (const auto& part : slices) {
      response->append(reinterpret_cast<const char*>(part.begin()), part.size());
    }
  }
  return status;
}

class ServerTest : public RpcTest {
 protected:
  // grpc.health.v1: field 1 of the request is the service, field 1 of the reply its status.
  std::string Health(const std::string& service) {
    std::string request;
    if (!service.empty()) request = "\x0a" + std::string(1, static_cast<char>(service.size()));
    std::string reply;
    const auto status =
        CallWithBytes(tcp_channel, "/grpc.health.v1.Health/Check", request + service, &reply);
    if (!status.ok()) return "error " + std::to_string(status.error_code());
    if (reply == std::string("\x08\x01", 2)) return "SERVING";
    return reply == std::string("\x08\x02", 2) ? "NOT_SERVING" : "other";
  }
  bool AwaitHealth(const std::string& service, const std::string& wanted) {
    return FakePlane::Await([&] { return Health(service) == wanted; });
  }
};

TEST_F(ServerTest, HealthFollowsThePlane) {
  EXPECT_TRUE(AwaitHealth(kHealthOverall, "SERVING"));
  EXPECT_TRUE(AwaitHealth(kHealthLeaseService, "SERVING"));
  EXPECT_TRUE(AwaitHealth(kHealthLive, "SERVING"));
  EXPECT_EQ(Health("no.such.Service"), "error 5");
  for (const auto readiness : {plane::Readiness::kRecovering, plane::Readiness::kStoreFailed,
                               plane::Readiness::kDraining}) {
    plane.readiness_now = readiness;
    EXPECT_TRUE(AwaitHealth(kHealthOverall, "NOT_SERVING"));
    EXPECT_TRUE(AwaitHealth(kHealthLeaseService, "NOT_SERVING"));
    EXPECT_EQ(Health(kHealthLive), "SERVING") << "not ready is not dead";
    plane.readiness_now = plane::Readiness::kServing;
    EXPECT_TRUE(AwaitHealth(kHealthLeaseService, "SERVING"));
  }
}

TEST_F(ServerTest, AStuckEngineIsNeitherReadyNorLive) {
  plane.is_live = false;
  EXPECT_TRUE(AwaitHealth(kHealthLive, "NOT_SERVING"));
  EXPECT_TRUE(AwaitHealth(kHealthOverall, "NOT_SERVING"));
}

TEST_F(ServerTest, ADrainingServerIsNotReadyButStillAnswers) {
  EXPECT_TRUE(AwaitHealth(kHealthOverall, "SERVING"));
  server_->BeginDrain();
  EXPECT_EQ(Health(kHealthOverall), "NOT_SERVING");
  EXPECT_EQ(Health(kHealthLive), "SERVING");
  Call call;
  v1::GetServerInfoResponse info;
  EXPECT_TRUE(leases->GetServerInfo(&call, v1::GetServerInfoRequest(), &info).ok());
}

TEST_F(ServerTest, ReflectionListsTheServices) {
  Call call;
  grpc::GenericStub stub(tcp_channel);
  // ServerReflectionRequest{list_services: "x"}; the names come back as text.
  std::promise<grpc::Status> done;
  struct Reactor : grpc::ClientBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
    void OnReadDone(bool ok) override {
      if (ok) {
        std::vector<grpc::Slice> slices;
        if (in.Dump(&slices).ok()) {
          for (const auto& part : slices) {
            text.append(reinterpret_cast<const char*>(part.begin()), part.size());
          }
        }
      }
      StartWritesDone();
    }
    void OnDone(const grpc::Status& status) override { finished.set_value(status); }
    grpc::ByteBuffer in;
    std::string text;
    std::promise<grpc::Status> finished;
  } reactor;
  const grpc::Slice slice(std::string("\x3a\x01x"));
  const grpc::ByteBuffer request(&slice, 1);
  stub.PrepareBidiStreamingCall(&call,
                                "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
                                grpc::StubOptions(), &reactor);
  reactor.StartWrite(&request);
  reactor.StartRead(&reactor.in);
  reactor.StartCall();
  EXPECT_TRUE(reactor.finished.get_future().get().ok());
  EXPECT_THAT(reactor.text, testing::HasSubstr("leaseplane.v1.LeaseService"));
  EXPECT_THAT(reactor.text, testing::HasSubstr("leaseplane.v1.AdminService"));
  EXPECT_THAT(reactor.text, testing::HasSubstr("grpc.health.v1.Health"));
}

TEST_F(ServerTest, RubbishIsRefusedInWords) {
  for (const std::string& bytes : {std::string("\x0a\x7f"), std::string(100, '\xff')}) {
    const auto status =
        CallWithBytes(tcp_channel, "/leaseplane.v1.LeaseService/AcquireLease", bytes);
    EXPECT_REFUSED(status, INVALID_ARGUMENT, "INVALID_ARGUMENT");
  }
  EXPECT_THAT(plane.acquired(), testing::IsEmpty());
}

TEST_F(ServerTest, AMessageBeyondTheLimitIsRefused) {
  const auto status = CallWithBytes(tcp_channel, "/leaseplane.v1.LeaseService/AcquireLease",
                                    std::string(65 * 1024, 'x'));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
}

TEST_F(ServerTest, AMethodThatDoesNotExistIsUnimplemented) {
  EXPECT_EQ(CallWithBytes(tcp_channel, "/leaseplane.v1.LeaseService/Nothing", "").error_code(),
            grpc::StatusCode::UNIMPLEMENTED);
}

TEST_F(ServerTest, TheUnixSocketServesBothServices) {
  auto stub = v1::LeaseService::NewStub(unix_channel);
  Call call;
  v1::GetServerInfoResponse info;
  EXPECT_TRUE(stub->GetServerInfo(&call, v1::GetServerInfoRequest(), &info).ok());
}

TEST_F(ServerTest, ASecondServerOnAPortIsRefused) {
  ServerOptions options;
  options.tcp_addresses = {"127.0.0.1:" + std::to_string(server_->tcp_ports()[0])};
  const auto second = Server::Start(options, plane, observer);
  ASSERT_FALSE(second.ok());
  EXPECT_TRUE(absl::IsAlreadyExists(second.status()));
  EXPECT_THAT(std::string(second.status().message()), testing::HasSubstr(options.tcp_addresses[0]));
}

TEST_F(ServerTest, AShutdownWithoutOpenCallsIsPromptAndRepeatable) {
  server_->Shutdown(absl::Minutes(10));
  server_->Shutdown(absl::Minutes(10));
  EXPECT_EQ(server_->open_call_count(), 0u);
}

class UnixSocketTest : public testing::Test {
 protected:
  absl::StatusOr<std::unique_ptr<Server>> Start(const std::string& path) {
    ServerOptions options;
    options.unix_socket_path = path;
    return Server::Start(options, plane, observer);
  }
  static std::string Path(const std::string& name) {
    return testing::TempDir() + "/" + name + "-" + std::to_string(getpid()) + ".sock";
  }
  static bool Answers(const std::string& path) {
    auto channel = grpc::CreateChannel("unix:" + path, grpc::InsecureChannelCredentials());
    Call call;
    v1::GetServerInfoResponse info;
    return v1::LeaseService::NewStub(channel)
        ->GetServerInfo(&call, v1::GetServerInfoRequest(), &info)
        .ok();
  }

  FakePlane plane;
  CountingObserver observer;
};

TEST_F(UnixSocketTest, OnlyOwnerAndGroupMayOpenIt) {
  const std::string path = Path("mode");
  const auto server = Start(path);
  ASSERT_TRUE(server.ok()) << server.status();
  struct stat info {};
  ASSERT_EQ(stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0660u);
}

TEST_F(UnixSocketTest, ASecondServerIsRefusedAndTheFirstGoesOn) {
  const std::string path = Path("twice");
  const auto first = Start(path);
  ASSERT_TRUE(first.ok()) << first.status();
  const auto second = Start(path);
  EXPECT_TRUE(absl::IsAlreadyExists(second.status())) << second.status();
  EXPECT_TRUE(Answers(path));
}

TEST_F(UnixSocketTest, AnotherProgramsSocketIsNotTaken) {
  const std::string path = Path("foreign");
  const UniqueFd listener(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
  ASSERT_EQ(bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(listen(listener.get(), 1), 0);
  EXPECT_TRUE(absl::IsAlreadyExists(Start(path).status()));
}

TEST_F(UnixSocketTest, ASocketThatADeadProcessLeftIsReplaced) {
  const std::string path = Path("stale");
  {
    const UniqueFd dead(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
    ASSERT_EQ(bind(dead.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  }
  const auto server = Start(path);
  ASSERT_TRUE(server.ok()) << server.status();
  EXPECT_TRUE(Answers(path));
}

TEST_F(UnixSocketTest, APathThatCannotBeASocketIsRefusedInWords) {
  const std::string file = Path("file");
  std::ofstream(file) << "precious";
  EXPECT_TRUE(absl::IsInvalidArgument(Start(file).status()));
  EXPECT_TRUE(std::ifstream(file).good()) << "left alone";
  EXPECT_TRUE(absl::IsInvalidArgument(Start("relative.sock").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(Start("/" + std::string(200, 'x')).status()));
  EXPECT_FALSE(Start(testing::TempDir() + "/no/such/folder/x.sock").ok());
  EXPECT_FALSE(Start("").ok()) << "nothing to listen on";
}

// Connections of the same moment, and calls of the same moment on each of them.
TEST_F(UnixSocketTest, EveryCallComesFromTheUserOfTheSocket) {
  const std::string path = Path("users");
  const auto server = Start(path);
  ASSERT_TRUE(server.ok()) << server.status();
  plane.is_slot_free = true;
  constexpr int kThreads = 8, kCalls = 20;
  std::vector<std::thread> threads;
  std::atomic<int> ok{0};
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      grpc::ChannelArguments own;
      own.SetInt("test.channel", i / 2);  // two threads share a connection
      auto stub = v1::LeaseService::NewStub(
          grpc::CreateCustomChannel("unix:" + path, grpc::InsecureChannelCredentials(), own));
      for (int j = 0; j < kCalls; ++j) {
        Call call;
        v1::AcquireLeaseRequest request;
        request.set_parent("pools/gpu");
        v1::AcquireLeaseResponse response;
        if (stub->AcquireLease(&call, request, &response).ok()) ++ok;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(ok, kThreads * kCalls);
  const auto acquired = plane.acquired();
  ASSERT_EQ(acquired.size(), size_t{kThreads * kCalls});
  for (const auto& request : acquired) {
    ASSERT_EQ(request.principal, "uid:" + std::to_string(getuid()));
  }
}

TEST_F(UnixSocketTest, AServerThatEndedLeavesThePathToTheNext) {
  const std::string path = Path("next");
  for (int round = 0; round < 3; ++round) {
    const auto server = Start(path);
    ASSERT_TRUE(server.ok()) << server.status();
    EXPECT_TRUE(Answers(path));
  }
}

}  // namespace
}  // namespace leaseplane::rpc
