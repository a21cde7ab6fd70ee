// SPDX-License-Identifier: Apache-2.0
#include "server/rpc/server.h"

#include <absl/synchronization/mutex.h>
#include <google/protobuf/stubs/logging.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>

#include <utility>

#include "server/rpc/front.h"
#include "server/rpc/open_calls.h"

namespace leaseplane::rpc {
namespace {

// Settings of the library that hold for the whole process.
void PrepareLibrary() {
  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  // Protobuf would print a line for each request whose text is not UTF-8: callers are told instead.
  google::protobuf::SetLogHandler(nullptr);
  // The packaged Abseil looks for lock cycles at every lock that gRPC takes.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
}

class GrpcServer final : public Server {
 public:
  GrpcServer(const ServerOptions& options, plane::Plane& plane, CallObserver& observer)
      : options_(options), plane_(plane), observer_(observer) {}
  ~GrpcServer() override { Shutdown(absl::ZeroDuration()); }

  absl::Status Listen();

  const std::vector<int>& tcp_ports() const override { return tcp_ports_; }
  size_t open_call_count() const override { return open_calls_.count(); }
  void BeginDrain() override {
    for (const auto& front : fronts_) front->BeginDrain();
  }
  void Shutdown(absl::Duration grace) override {
    if (!fronts_.empty()) open_calls_.EndAll();
    const auto deadline = absl::ToChronoTime(absl::Now() + grace);
    for (const auto& front : fronts_) front->Shutdown(deadline);
  }

 private:
  absl::Status AddFront(const std::vector<std::string>& tcp_addresses,
                        const std::string& unix_socket_path, security::Door tcp_door);

  const ServerOptions options_;
  plane::Plane& plane_;
  CallObserver& observer_;
  OpenCalls open_calls_;
  std::vector<int> tcp_ports_;
  std::vector<std::unique_ptr<Front>> fronts_;
};

absl::Status GrpcServer::Listen() {
  auto status = AddFront(options_.tcp_addresses, options_.unix_socket_path, security::Door::kTcp);
  if (!status.ok() || options_.admin_tcp_addresses.empty()) return status;
  return AddFront(options_.admin_tcp_addresses, "", security::Door::kAdminTcp);
}

absl::Status GrpcServer::AddFront(const std::vector<std::string>& tcp_addresses,
                                  const std::string& unix_socket_path, security::Door tcp_door) {
  auto front = std::make_unique<Front>(options_, plane_, observer_, open_calls_, tcp_door);
  if (auto status = front->Listen(tcp_addresses, unix_socket_path); !status.ok()) return status;
  tcp_ports_.insert(tcp_ports_.end(), front->tcp_ports().begin(), front->tcp_ports().end());
  fronts_.push_back(std::move(front));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Server>> Server::Start(const ServerOptions& options,
                                                      plane::Plane& plane, CallObserver& observer) {
  if (options.tcp_addresses.empty() && options.unix_socket_path.empty()) {
    return absl::InvalidArgumentError("no address to listen on");
  }
  PrepareLibrary();
  auto server = std::make_unique<GrpcServer>(options, plane, observer);
  if (auto status = server->Listen(); !status.ok()) return status;
  return std::unique_ptr<Server>(std::move(server));
}

}  // namespace leaseplane::rpc
