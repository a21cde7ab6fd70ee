// SPDX-License-Identifier: Apache-2.0
//
// FakeLeaseService: LeaseService and AdminService of one pool `gpu`, over real gRPC, that do what a
// test tells them. They keep just enough state to say who was granted what and when.
//
// Destruction stops the server. Threads: any. Errors: aborts.
#pragma once

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "leaseplane/v1/admin_service.grpc.pb.h"
#include "leaseplane/v1/lease_service.grpc.pb.h"

namespace leaseplane::testing {

// A status as the daemon sends it, with ErrorInfo and, if `field` is not empty, BadRequest.
grpc::Status ApiStatus(grpc::StatusCode code, const std::string& reason, const std::string& message,
                       const std::string& field = {});

class FakeLeaseService final : public v1::LeaseService::Service, public v1::AdminService::Service {
 public:
  // Listens on a Unix socket in a fresh folder and on a TCP port.
  FakeLeaseService();
  ~FakeLeaseService() override;

  std::string unix_target() const { return "unix://" + socket_path_; }
  std::string tcp_target() const { return "127.0.0.1:" + std::to_string(port_); }

  // Every method answers this until it is taken back.
  void FailAll(std::optional<grpc::Status> status);
  // The next `count` acquires are answered so.
  void FailAcquires(int count, grpc::Status status);
  void FailRenewals(std::optional<grpc::Status> status);
  // Renewals are received and not answered.
  void SetRenewalsHang(bool hang);
  // Acquire answers NO_FREE_SLOT or WAIT_TIMEOUT.
  void SetHasSlot(bool has_slot) { has_slot_ = has_slot; }

  void Drain(const std::string& reason);
  // From now on each look at the pool finds a lease less.
  void SetLeases(int count) { leases_ = count; }

  int acquire_count() const { return acquires_; }
  int renew_count() const { return renewals_; }
  int release_count() const { return releases_; }
  std::string last_request_id();
  // CLOCK_BOOTTIME when the present lease ends unless renewed; what a real daemon would act on.
  int64_t expires_at_ns() const { return expires_at_ns_; }
  int64_t last_ttl_ns() const { return ttl_ns_; }

  using Context = grpc::ServerContext;
  using Status = grpc::Status;
  // clang-format off
  Status AcquireLease(Context*, const v1::AcquireLeaseRequest*, v1::AcquireLeaseResponse*) override;
  Status RenewLease(Context*, const v1::RenewLeaseRequest*, v1::RenewLeaseResponse*) override;
  Status ReleaseLease(Context*, const v1::ReleaseLeaseRequest*, v1::ReleaseLeaseResponse*) override;
  Status GetLease(Context*, const v1::GetLeaseRequest*, v1::Lease*) override;
  Status ListLeases(Context*, const v1::ListLeasesRequest*, v1::ListLeasesResponse*) override;
  Status CheckToken(Context*, const v1::CheckTokenRequest*, v1::CheckTokenResponse*) override;
  Status GetServerInfo(Context*, const v1::GetServerInfoRequest*,
                       v1::GetServerInfoResponse*) override;
  Status ListPools(Context*, const v1::ListPoolsRequest*, v1::ListPoolsResponse*) override;
  Status GetPool(Context*, const v1::GetPoolRequest*, v1::Pool*) override;
  Status DrainPool(Context*, const v1::DrainPoolRequest*, v1::DrainPoolResponse*) override;
  Status ResumePool(Context*, const v1::ResumePoolRequest*, v1::ResumePoolResponse*) override;
  Status ListSlots(Context*, const v1::ListSlotsRequest*, v1::ListSlotsResponse*) override;
  Status ListWaiters(Context*, const v1::ListWaitersRequest*, v1::ListWaitersResponse*) override;
  Status LockSlot(Context*, const v1::LockSlotRequest*, v1::LockSlotResponse*) override;
  Status UnlockSlot(Context*, const v1::UnlockSlotRequest*, v1::UnlockSlotResponse*) override;
  Status RevokeLease(Context*, const v1::RevokeLeaseRequest*, v1::RevokeLeaseResponse*) override;
  // clang-format on

 private:
  grpc::Status Failure();
  void FillLease(v1::Lease* lease);
  void FillSlot(v1::Slot* slot);
  void FillPool(v1::Pool* pool);

  std::string socket_path_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;

  std::mutex mu_;
  std::condition_variable changed_;
  std::optional<grpc::Status> failure_, renewal_failure_;
  bool renewals_hang_ = false, stopping_ = false;
  std::string last_request_id_;
  int failing_acquires_ = 0;
  grpc::Status acquire_failure_;
  std::optional<std::string> drain_reason_;
  std::atomic<bool> has_slot_{true};
  std::atomic<int> leases_{-1};  // negative: always one
  std::atomic<int> acquires_{0}, renewals_{0}, releases_{0};
  std::atomic<int64_t> expires_at_ns_{0}, ttl_ns_{15'000'000'000};
};

}  // namespace leaseplane::testing
