// SPDX-License-Identifier: Apache-2.0
//
// GrpcPool: acquiring over gRPC. One wish of the caller may become many calls: a wait longer than
// one call may last, and retries while the daemon restarts, all under one request id, so that the
// place in the queue is kept and no slot is taken twice.
//
// Threads: any; Acquire blocks its caller. Errors: absl::Status with a Reason.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "clients/cpp/remote/grpc_connection.h"
#include "clients/cpp/remote_port.h"

namespace leaseplane::internal {

class GrpcPool final : public RemotePool {
 public:
  GrpcPool(std::shared_ptr<GrpcConnection> connection, std::string name, uint32_t capacity)
      : connection_(std::move(connection)), name_(std::move(name)), capacity_(capacity) {}

  absl::StatusOr<RemoteLease*> Acquire(const AcquireOptions& options) override;
  const std::string& name() const override { return name_; }
  uint32_t capacity() const override { return capacity_; }
  bool OthersWait() const override;

 private:
  // A lease that was kept; null if none fits.
  std::shared_ptr<GrpcLease> TakeWarm(const AcquireOptions& options);
  AcquireOptions WithDefaults(const AcquireOptions& options) const;
  absl::StatusOr<v1::AcquireLeaseRequest> MakeRequest(const AcquireOptions& options) const;

  const std::shared_ptr<GrpcConnection> connection_;
  const std::string name_;
  const uint32_t capacity_;
};

}  // namespace leaseplane::internal
