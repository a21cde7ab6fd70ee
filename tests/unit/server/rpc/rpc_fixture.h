// SPDX-License-Identifier: Apache-2.0
//
// RpcTest: a Server over a FakePlane, with stubs on its TCP port and on its Unix socket, and
// matchers for statuses with details.
#pragma once

#include <gmock/gmock.h>
#include <google/protobuf/util/time_util.h>
#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "leaseplane/v1/admin_service.grpc.pb.h"
#include "leaseplane/v1/lease_service.grpc.pb.h"
#include "server/rpc/server.h"
#include "tests/unit/server/rpc/fake_plane.h"

namespace leaseplane::rpc {

// The detail of one type, nothing if the status has none of it.
template <class Detail>
std::optional<Detail> DetailOf(const grpc::Status& status) {
  google::rpc::Status details;
  if (!details.ParseFromString(status.error_details())) return std::nullopt;
  Detail detail;
  for (const auto& any : details.details()) {
    if (any.UnpackTo(&detail)) return detail;
  }
  return std::nullopt;
}

inline std::string ReasonOf(const grpc::Status& status) {
  const auto info = DetailOf<google::rpc::ErrorInfo>(status);
  return info && info->domain() == "leaseplane" ? info->reason() : "(none)";
}

inline std::vector<std::string> BadFieldsOf(const grpc::Status& status) {
  std::vector<std::string> fields;
  if (const auto bad = DetailOf<google::rpc::BadRequest>(status)) {
    for (const auto& violation : bad->field_violations()) fields.push_back(violation.field());
  }
  return fields;
}

#define EXPECT_REFUSED(status, expected_code, expected_reason)                                   \
  do {                                                                                           \
    const grpc::Status& refused = (status);                                                      \
    EXPECT_EQ(refused.error_code(), grpc::StatusCode::expected_code) << refused.error_message(); \
    EXPECT_EQ(ReasonOf(refused), expected_reason);                                               \
  } while (false)

class CountingObserver final : public CallObserver {
 public:
  void CallEnded(std::string_view method, std::string_view code) override {
    absl::MutexLock lock(&mutex_);
    ++counts_[std::string(method) + " " + std::string(code)];
  }
  void HandlerFailed(std::string_view, std::string_view) override { ++failure_count; }

  int count(const std::string& method_and_code) const {
    absl::MutexLock lock(&mutex_);
    const auto it = counts_.find(method_and_code);
    return it == counts_.end() ? 0 : it->second;
  }

  std::atomic<int> failure_count{0};

 private:
  mutable absl::Mutex mutex_;
  std::map<std::string, int> counts_ ABSL_GUARDED_BY(mutex_);
};

// A context whose call ends after a minute: no test waits for ever.
class Call : public grpc::ClientContext {
 public:
  explicit Call(absl::Duration limit = absl::Minutes(1)) {
    set_deadline(absl::ToChronoTime(absl::Now() + limit));
  }
};

class RpcTest : public testing::Test {
 protected:
  RpcTest() {
    ServerOptions options;
    options.tcp_addresses = {"127.0.0.1:0"};
    options.unix_socket_path = SocketPath();
    auto server = Server::Start(options, plane, observer);
    EXPECT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    tcp_channel = grpc::CreateChannel("127.0.0.1:" + std::to_string(server_->tcp_ports()[0]),
                                      grpc::InsecureChannelCredentials());
    unix_channel =
        grpc::CreateChannel("unix:" + options.unix_socket_path, grpc::InsecureChannelCredentials());
    leases = v1::LeaseService::NewStub(tcp_channel);
    admin = v1::AdminService::NewStub(unix_channel);
  }

  static std::string SocketPath() {
    static std::atomic<int> number{0};
    return testing::TempDir() + "/rpc-" + std::to_string(getpid()) + "-" +
           std::to_string(number++) + ".sock";
  }

  static v1::AcquireLeaseRequest AcquireRequest(int wait_seconds = 0) {
    v1::AcquireLeaseRequest request;
    request.set_parent("pools/gpu");
    if (wait_seconds != 0) request.mutable_max_wait_duration()->set_seconds(wait_seconds);
    return request;
  }

  FakePlane plane;
  CountingObserver observer;
  std::unique_ptr<Server> server_;
  std::shared_ptr<grpc::Channel> tcp_channel, unix_channel;
  std::unique_ptr<v1::LeaseService::Stub> leases;
  std::unique_ptr<v1::AdminService::Stub> admin;
};

inline const char* const kLeaseName = "pools/gpu/leases/112233445566778899aabbccddeeff00";

}  // namespace leaseplane::rpc
