// SPDX-License-Identifier: Apache-2.0
//
// The remote side of clients/cpp/remote_port.h.
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "clients/cpp/boot_clock.h"
#include "clients/cpp/remote/call_status.h"
#include "clients/cpp/remote/channel_security.h"
#include "clients/cpp/remote/grpc_connection.h"
#include "clients/cpp/remote/grpc_pool.h"
#include "clients/cpp/remote_port.h"

namespace leaseplane::internal {
namespace {

class GrpcClient final : public RemoteClient {
 public:
  GrpcClient(const std::string& target,
             const std::shared_ptr<grpc::ChannelCredentials>& credentials,
             std::shared_ptr<const ClientOptions> options)
      : connection_(std::make_shared<GrpcConnection>(target, credentials, std::move(options))) {}
  ~GrpcClient() override { connection_->Close(); }

  absl::StatusOr<std::string> InstanceId(int64_t deadline_ns) override {
    grpc::ClientContext context;
    SetTimeout(context, deadline_ns - BootNowNs());
    v1::GetServerInfoResponse info;
    absl::Status status = ToStatus(connection_->leases().GetServerInfo(&context, {}, &info));
    if (!status.ok()) return status;
    return info.instance_id();
  }

  absl::StatusOr<std::shared_ptr<RemotePool>> OpenPool(std::string_view name,
                                                       int64_t deadline_ns) override {
    const std::string id(name);
    absl::StatusOr<v1::Pool> pool = Describe(id, deadline_ns);
    if (!pool.ok()) return pool.status();
    const ClientOptions& options = connection_->options();
    // A daemon that says nothing of the pool may cap its leases.
    const bool keeps =
        options.prefetch > 0 && !pool->name().empty() && ToNs(pool->max_duration()) == 0;
    if (keeps) {
      connection_->warm().Open(id, options.prefetch,
                               absl::ToInt64Nanoseconds(options.prefetch_idle));
      connection_->keep_alive().HearWaiting();
    }
    // Leases open the stream by themselves; who wants to hear of a drain or of waiters has it at
    // once.
    if (keeps || options.on_draining) connection_->keep_alive().Want();
    return std::make_shared<GrpcPool>(connection_, id, static_cast<uint32_t>(pool->capacity()));
  }

 private:
  // Empty if the daemon is too old to tell. Fails if there is no such pool.
  absl::StatusOr<v1::Pool> Describe(const std::string& id, int64_t deadline_ns) {
    v1::GetServerInfoRequest request;
    request.set_pool(absl::StrCat("pools/", id));
    grpc::ClientContext context;
    SetTimeout(context, deadline_ns - BootNowNs());
    v1::GetServerInfoResponse info;
    absl::Status status = ToStatus(connection_->leases().GetServerInfo(&context, request, &info));
    if (!status.ok()) return status;
    if (info.has_pool()) return std::move(*info.mutable_pool());

    v1::ListLeasesRequest list;
    list.set_parent(request.pool());
    list.set_page_size(1);
    grpc::ClientContext list_context;
    SetTimeout(list_context, deadline_ns - BootNowNs());
    v1::ListLeasesResponse leases;
    status = ToStatus(connection_->leases().ListLeases(&list_context, list, &leases));
    if (!status.ok()) return status;
    return v1::Pool();
  }

  const std::shared_ptr<GrpcConnection> connection_;
};

class GrpcBackend final : public RemoteBackend {
 public:
  absl::StatusOr<std::unique_ptr<RemoteClient>> Connect(
      const std::string& grpc_target, std::shared_ptr<const ClientOptions> options) override {
    const auto credentials = MakeChannelCredentials(grpc_target, options->tls, options->token_file);
    if (!credentials.ok()) return credentials.status();
    return std::make_unique<GrpcClient>(grpc_target, *credentials, std::move(options));
  }
};

// Keeps gRPC's queue for callbacks, and the library itself, for ever. The queue belongs to all
// channels that have made a call with a callback; when the last of them is destroyed, gRPC 1.51
// takes the queue down while its threads may still be leaving it, and aborts. So one channel that
// leads nowhere makes one such call, which fails at once, and stays.
struct EternalCall {
  std::shared_ptr<grpc::Channel> channel =
      grpc::CreateChannel("unix:/nonexistent", grpc::InsecureChannelCredentials());
  std::unique_ptr<v1::LeaseService::Stub> stub = v1::LeaseService::NewStub(channel);
  grpc::ClientContext context;
  v1::GetServerInfoRequest request;
  v1::GetServerInfoResponse response;
};

void KeepCallbackQueue() {
  static auto* const call = new EternalCall;
  call->context.set_deadline(std::chrono::system_clock::now());
  call->stub->async()->GetServerInfo(&call->context, &call->request, &call->response,
                                     [](const grpc::Status&) {});
}

}  // namespace
}  // namespace leaseplane::internal

extern "C" leaseplane::internal::RemoteBackend* leaseplane_remote_backend_v1() {
  static auto* const backend = [] {
    leaseplane::internal::KeepCallbackQueue();
    return new leaseplane::internal::GrpcBackend;  // needed until the very end
  }();
  return backend;
}
