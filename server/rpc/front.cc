// SPDX-License-Identifier: Apache-2.0
#include "server/rpc/front.h"

#include <absl/strings/str_cat.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server_builder.h>

#include <utility>

#include "server/rpc/tls_credentials.h"

namespace leaseplane::rpc {
namespace {

constexpr int kRequestBytesMax = 64 * 1024;
constexpr int kHeaderBytesMax = 16 * 1024;

// Clients may ping every 10 s; a little less here, because their clock and ours do not agree.
constexpr int kPingIntervalMinMs = 9'000;
// A caller that vanished without a word is found after half a minute and ten seconds.
constexpr int kOwnPingIntervalMs = 30'000;
constexpr int kOwnPingTimeoutMs = 10'000;

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

}  // namespace

Front::Front(const ServerOptions& options, plane::Plane& plane, CallObserver& observer,
             OpenCalls& open_calls, security::Door tcp_door)
    : options_(options),
      plane_(plane),
      gate_(plane, observer, open_calls, options.access, options.credentials, tcp_door),
      lease_service_(gate_),
      admin_service_(gate_) {}

Front::~Front() { Shutdown(std::chrono::system_clock::now()); }

absl::Status Front::Listen(const std::vector<std::string>& tcp_addresses,
                           const std::string& unix_socket_path) {
  grpc::ServerBuilder builder;
  SetChannelArguments(options_, &builder);
  AddTcp(tcp_addresses, &builder);
  if (!unix_socket_path.empty()) {
    if (auto opened = unix_door_.Open(unix_socket_path); !opened.ok()) return opened;
    unix_door_.AddTo(&builder);
  }
  builder.RegisterService(&lease_service_);
  builder.RegisterService(&admin_service_);
  server_ = builder.BuildAndStart();
  if (auto bound = CheckBound(tcp_addresses); !bound.ok()) return bound;
  if (!unix_socket_path.empty()) unix_door_.Start();
  health_ = std::make_shared<HealthReporter>(server_->GetHealthCheckService(), plane_);
  health_->Start();
  return absl::OkStatus();
}

void Front::AddTcp(const std::vector<std::string>& addresses, grpc::ServerBuilder* builder) {
  tcp_ports_.assign(addresses.size(), 0);
  for (size_t i = 0; i < addresses.size(); ++i) {
    tcp_credentials_.push_back(MakeTcpCredentials());
    builder->AddListeningPort(addresses[i], tcp_credentials_.back(), &tcp_ports_[i]);
  }
}

std::shared_ptr<grpc::ServerCredentials> Front::MakeTcpCredentials() const {
  const auto tls = options_.credentials == nullptr ? nullptr : options_.credentials->tls();
  if (tls == nullptr) return grpc::InsecureServerCredentials();
  if (tls->client_ca_pem.empty()) {
    return MakeTlsCredentials(*options_.credentials, ClientCertificate::kNone);
  }
  // Who has a token needs no certificate; who has neither is refused call by call.
  const bool has_tokens = options_.credentials->tokens() != nullptr;
  return MakeTlsCredentials(*options_.credentials,
                            has_tokens ? ClientCertificate::kIfAny : ClientCertificate::kRequired);
}

// The library says only that something failed; the ports say where it stopped.
absl::Status Front::CheckBound(const std::vector<std::string>& tcp_addresses) const {
  for (size_t i = 0; i < tcp_ports_.size(); ++i) {
    if (tcp_ports_[i] == 0) {
      return absl::AlreadyExistsError(
          absl::StrCat("cannot listen on ", tcp_addresses[i],
                       ": the address is taken, not of this host, or not allowed"));
    }
  }
  if (server_ != nullptr) return absl::OkStatus();
  return absl::UnavailableError("the gRPC server does not start");
}

void Front::Shutdown(std::chrono::system_clock::time_point deadline) {
  unix_door_.Stop();
  if (server_ == nullptr) return;
  if (health_ != nullptr) health_->Drain();
  server_->Shutdown(deadline);
  if (health_ != nullptr) health_->Stop();
  server_->Wait();
  server_.reset();
}

}  // namespace leaseplane::rpc
