// SPDX-License-Identifier: Apache-2.0
#include "server/rpc/server.h"

#include <absl/strings/str_cat.h>
#include <absl/synchronization/mutex.h>
#include <google/protobuf/stubs/logging.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <chrono>
#include <optional>
#include <utility>

#include "server/rpc/admin_service.h"
#include "server/rpc/health_reporter.h"
#include "server/rpc/lease_service.h"
#include "server/rpc/open_calls.h"
#include "server/rpc/unix_socket_path.h"

namespace leaseplane::rpc {
namespace {

constexpr int kRequestBytesMax = 64 * 1024;
constexpr int kHeaderBytesMax = 16 * 1024;

// Clients may ping every 10 s; a little less here, because their clock and ours do not agree.
constexpr int kPingIntervalMinMs = 9'000;
// A caller that vanished without a word is found after half a minute and ten seconds.
constexpr int kOwnPingIntervalMs = 30'000;
constexpr int kOwnPingTimeoutMs = 10'000;

// Settings of the library that hold for the whole process.
void PrepareLibrary() {
  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  // Protobuf would print a line for each request whose text is not UTF-8: callers are told instead.
  google::protobuf::SetLogHandler(nullptr);
  // The packaged Abseil looks for lock cycles at every lock that gRPC takes.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
}

void SetChannelArguments(const ServerOptions& options, grpc::ServerBuilder* builder) {
  builder->AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  // Messages here are small: there is no bandwidth to probe for, and the probes cost more than the
  // windows they would widen.
  builder->AddChannelArgument(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  builder->AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
                              kPingIntervalMinMs);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kOwnPingIntervalMs);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kOwnPingTimeoutMs);
  builder->AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, options.concurrent_streams_max);
  builder->AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, kHeaderBytesMax);
  builder->SetMaxReceiveMessageSize(kRequestBytesMax);
}

class GrpcServer final : public Server {
 public:
  GrpcServer(plane::Plane& plane, CallObserver& observer)
      : plane_(plane),
        lease_service_(CallEnvironment{plane, observer, open_calls_}),
        admin_service_(CallEnvironment{plane, observer, open_calls_}) {}
  ~GrpcServer() override { Shutdown(absl::ZeroDuration()); }

  absl::Status Listen(const ServerOptions& options);

  const std::vector<int>& tcp_ports() const override { return tcp_ports_; }
  size_t open_call_count() const override { return open_calls_.count(); }
  void BeginDrain() override { health_->Drain(); }
  void Shutdown(absl::Duration grace) override;

 private:
  absl::Status CheckBound(const ServerOptions& options) const;

  plane::Plane& plane_;
  OpenCalls open_calls_;
  LeaseService lease_service_;
  AdminService admin_service_;

  std::optional<UnixSocketPath> unix_path_;
  std::vector<int> tcp_ports_;
  std::unique_ptr<grpc::Server> server_;  // null before Listen and after Shutdown
  std::shared_ptr<HealthReporter> health_;
};

absl::Status GrpcServer::Listen(const ServerOptions& options) {
  grpc::ServerBuilder builder;
  SetChannelArguments(options, &builder);
  const auto credentials = grpc::InsecureServerCredentials();
  tcp_ports_.assign(options.tcp_addresses.size(), 0);
  for (size_t i = 0; i < tcp_ports_.size(); ++i) {
    builder.AddListeningPort(options.tcp_addresses[i], credentials, &tcp_ports_[i]);
  }
  if (!options.unix_socket_path.empty()) {
    auto path = UnixSocketPath::Claim(options.unix_socket_path);
    if (!path.ok()) return path.status();
    unix_path_ = *std::move(path);
    builder.AddListeningPort(unix_path_->address(), credentials);
  }
  builder.RegisterService(&lease_service_);
  builder.RegisterService(&admin_service_);
  {
    const SocketModeScope mode;
    server_ = builder.BuildAndStart();
  }
  if (auto bound = CheckBound(options); !bound.ok()) return bound;
  health_ = std::make_shared<HealthReporter>(server_->GetHealthCheckService(), plane_);
  health_->Start();
  return absl::OkStatus();
}

// The library says only that something failed; the ports say where it stopped.
absl::Status GrpcServer::CheckBound(const ServerOptions& options) const {
  for (size_t i = 0; i < tcp_ports_.size(); ++i) {
    if (tcp_ports_[i] == 0) {
      return absl::AlreadyExistsError(
          absl::StrCat("cannot listen on ", options.tcp_addresses[i],
                       ": the address is taken, not of this host, or not allowed"));
    }
  }
  if (server_ != nullptr) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat("cannot listen on unix:", options.unix_socket_path));
}

void GrpcServer::Shutdown(absl::Duration grace) {
  if (server_ == nullptr) return;
  if (health_ != nullptr) health_->Drain();
  open_calls_.EndAll();
  server_->Shutdown(absl::ToChronoTime(absl::Now() + grace));
  if (health_ != nullptr) health_->Stop();
  server_->Wait();
  server_.reset();
  unix_path_.reset();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Server>> Server::Start(const ServerOptions& options,
                                                      plane::Plane& plane, CallObserver& observer) {
  if (options.tcp_addresses.empty() && options.unix_socket_path.empty()) {
    return absl::InvalidArgumentError("no address to listen on");
  }
  PrepareLibrary();
  auto server = std::make_unique<GrpcServer>(plane, observer);
  if (auto status = server->Listen(options); !status.ok()) return status;
  return std::unique_ptr<Server>(std::move(server));
}

}  // namespace leaseplane::rpc
