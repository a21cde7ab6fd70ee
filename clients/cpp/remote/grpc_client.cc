// SPDX-License-Identifier: Apache-2.0
//
// The remote side of clients/cpp/remote_port.h.
#include <grpc/grpc.h>
#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "clients/cpp/boot_clock.h"
#include "clients/cpp/remote/call_status.h"
#include "clients/cpp/remote/grpc_connection.h"
#include "clients/cpp/remote/grpc_pool.h"
#include "clients/cpp/remote_port.h"

namespace leaseplane::internal {
namespace {

class GrpcClient final : public RemoteClient {
 public:
  GrpcClient(const std::string& target, std::shared_ptr<const ClientOptions> options)
      : connection_(std::make_shared<GrpcConnection>(target, std::move(options))) {}
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
    absl::StatusOr<uint32_t> capacity = CapacityOf(id, deadline_ns);
    if (!capacity.ok()) return capacity.status();
    return std::make_shared<GrpcPool>(connection_, id, *capacity);
  }

 private:
  // 0 if this connection is not told. Fails if there is no such pool.
  absl::StatusOr<uint32_t> CapacityOf(const std::string& id, int64_t deadline_ns) {
    v1::GetPoolRequest request;
    request.set_name(absl::StrCat("pools/", id));
    grpc::ClientContext context;
    SetTimeout(context, deadline_ns - BootNowNs());
    v1::Pool pool;
    absl::Status status = ToStatus(connection_->admin().GetPool(&context, request, &pool));
    if (status.ok()) return static_cast<uint32_t>(pool.capacity());
    const Reason reason = ReasonOf(status);
    if (reason != Reason::kPermissionDenied && reason != Reason::kUnimplemented) return status;

    // Not an operator's connection: ask in a way that everybody may.
    v1::ListLeasesRequest list;
    list.set_parent(request.name());
    list.set_page_size(1);
    grpc::ClientContext list_context;
    SetTimeout(list_context, deadline_ns - BootNowNs());
    v1::ListLeasesResponse leases;
    status = ToStatus(connection_->leases().ListLeases(&list_context, list, &leases));
    if (!status.ok()) return status;
    return 0u;
  }

  const std::shared_ptr<GrpcConnection> connection_;
};

class GrpcBackend final : public RemoteBackend {
 public:
  absl::StatusOr<std::unique_ptr<RemoteClient>> Connect(
      const std::string& grpc_target, std::shared_ptr<const ClientOptions> options) override {
    return std::make_unique<GrpcClient>(grpc_target, std::move(options));
  }
};

}  // namespace
}  // namespace leaseplane::internal

extern "C" leaseplane::internal::RemoteBackend* leaseplane_remote_backend_v1() {
  // gRPC stays initialized from here on. Without it the destruction of the last channel shuts gRPC
  // down while its callback threads may still be leaving a call, and gRPC 1.51 aborts.
  static auto* const backend = [] {
    grpc_init();
    return new leaseplane::internal::GrpcBackend;  // needed until the very end
  }();
  return backend;
}
