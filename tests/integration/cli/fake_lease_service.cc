// SPDX-License-Identifier: Apache-2.0
#include "tests/integration/cli/fake_lease_service.h"

#include <google/protobuf/util/time_util.h>

#include <cstdlib>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "tests/integration/cli/child_program.h"

namespace leaseplane::testing {
namespace {

using google::protobuf::util::TimeUtil;

constexpr int64_t kToken = (int64_t{7} << 36) + 12;
constexpr char kPool[] = "pools/gpu";
constexpr char kLease[] = "pools/gpu/leases/00112233445566778899aabbccddeeff";

}  // namespace

grpc::Status ApiStatus(grpc::StatusCode code, const std::string& reason, const std::string& message,
                       const std::string& field) {
  google::rpc::Status status;
  status.set_code(code);
  status.set_message(message);
  google::rpc::ErrorInfo info;
  info.set_domain("leaseplane");
  info.set_reason(reason);
  status.add_details()->PackFrom(info);
  if (!field.empty()) {
    google::rpc::BadRequest bad_request;
    bad_request.add_field_violations()->set_field(field);
    bad_request.mutable_field_violations(0)->set_description(message);
    status.add_details()->PackFrom(bad_request);
  }
  return {code, message, status.SerializeAsString()};
}

FakeLeaseService::FakeLeaseService() : socket_path_(FreshFolder() + "/leaseplane.sock") {
  grpc::ServerBuilder builder;
  builder.AddListeningPort("unix:" + socket_path_, grpc::InsecureServerCredentials());
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
  builder.RegisterService(static_cast<v1::LeaseService::Service*>(this));
  builder.RegisterService(static_cast<v1::AdminService::Service*>(this));
  server_ = builder.BuildAndStart();
  if (server_ == nullptr || port_ == 0) std::abort();
}

FakeLeaseService::~FakeLeaseService() {
  {
    const std::lock_guard<std::mutex> lock(mu_);
    stopping_ = true;
  }
  changed_.notify_all();
  server_->Shutdown(std::chrono::system_clock::now());
}

void FakeLeaseService::FailAll(std::optional<grpc::Status> status) {
  const std::lock_guard<std::mutex> lock(mu_);
  failure_ = std::move(status);
}

void FakeLeaseService::FailAcquires(int count, grpc::Status status) {
  const std::lock_guard<std::mutex> lock(mu_);
  failing_acquires_ = count;
  acquire_failure_ = std::move(status);
}

void FakeLeaseService::Drain(const std::string& reason) {
  const std::lock_guard<std::mutex> lock(mu_);
  drain_reason_ = reason;
}

void FakeLeaseService::FailRenewals(std::optional<grpc::Status> status) {
  const std::lock_guard<std::mutex> lock(mu_);
  renewal_failure_ = std::move(status);
}

void FakeLeaseService::SetRenewalsHang(bool hang) {
  {
    const std::lock_guard<std::mutex> lock(mu_);
    renewals_hang_ = hang;
  }
  changed_.notify_all();
}

std::string FakeLeaseService::last_request_id() {
  const std::lock_guard<std::mutex> lock(mu_);
  return last_request_id_;
}

grpc::Status FakeLeaseService::Failure() {
  const std::lock_guard<std::mutex> lock(mu_);
  return failure_.value_or(grpc::Status::OK);
}

void FakeLeaseService::FillLease(v1::Lease* lease) {
  lease->set_name(kLease);
  lease->set_pool(kPool);
  lease->set_slot_index(2);
  lease->set_fencing_token(kToken);
  lease->set_resource("gpu-c");
  lease->set_state(v1::Lease::STATE_ACTIVE);
  lease->set_principal("anonymous");
  lease->set_client_id("somebody");
  lease->set_path(v1::LEASE_PATH_REMOTE);
  *lease->mutable_ttl() = TimeUtil::NanosecondsToDuration(ttl_ns_);
  lease->mutable_acquire_time()->set_seconds(1'700'000'000);
  lease->mutable_expire_time()->set_seconds(1'700'000'015);
}

void FakeLeaseService::FillSlot(v1::Slot* slot) {
  slot->set_name("pools/gpu/slots/2");
  slot->set_index(2);
  slot->set_state(v1::Slot::STATE_BUSY);
  slot->set_resource("gpu-c");
  slot->set_lease(kLease);
  slot->set_fencing_token(kToken);
  slot->set_lock_pending(true);
  slot->set_lock_reason("fan\nbroken");
}

grpc::Status FakeLeaseService::AcquireLease(Context*, const v1::AcquireLeaseRequest* request,
                                            v1::AcquireLeaseResponse* response) {
  ++acquires_;
  {
    const std::lock_guard<std::mutex> lock(mu_);
    last_request_id_ = request->request_id();
    if (failing_acquires_ > 0 && failing_acquires_-- > 0) return acquire_failure_;
  }
  const grpc::Status failure = Failure();
  if (!failure.ok()) return failure;
  if (request->parent() != kPool) {
    return ApiStatus(grpc::StatusCode::NOT_FOUND, "NOT_FOUND", "there is no " + request->parent());
  }
  if (!has_slot_) {
    const bool waits = TimeUtil::DurationToNanoseconds(request->max_wait_duration()) > 0;
    return ApiStatus(grpc::StatusCode::RESOURCE_EXHAUSTED, waits ? "WAIT_TIMEOUT" : "NO_FREE_SLOT",
                     "no slot");
  }
  if (request->has_ttl()) ttl_ns_ = TimeUtil::DurationToNanoseconds(request->ttl());
  expires_at_ns_ = BootNowNs() + ttl_ns_;
  FillLease(response->mutable_lease());
  *response->mutable_remaining_duration() = TimeUtil::NanosecondsToDuration(ttl_ns_);
  *response->mutable_renew_interval() = TimeUtil::NanosecondsToDuration(ttl_ns_ / 3);
  response->mutable_queued_duration();
  return grpc::Status::OK;
}

grpc::Status FakeLeaseService::RenewLease(Context* context, const v1::RenewLeaseRequest* request,
                                          v1::RenewLeaseResponse* response) {
  ++renewals_;
  {
    std::unique_lock<std::mutex> lock(mu_);
    while (renewals_hang_ && !stopping_ && !context->IsCancelled()) {
      changed_.wait_for(lock, std::chrono::milliseconds(10));
    }
    if (renewal_failure_.has_value()) return *renewal_failure_;
    if (failure_.has_value()) return *failure_;
  }
  if (request->fencing_token() != kToken) {
    return ApiStatus(grpc::StatusCode::ABORTED, "STALE_TOKEN", "not the lease's token");
  }
  expires_at_ns_ = BootNowNs() + ttl_ns_;
  FillLease(response->mutable_lease());
  *response->mutable_remaining_duration() = TimeUtil::NanosecondsToDuration(ttl_ns_);
  *response->mutable_renew_interval() = TimeUtil::NanosecondsToDuration(ttl_ns_ / 3);
  response->mutable_queued_duration();
  return grpc::Status::OK;
}

grpc::Status FakeLeaseService::ReleaseLease(Context*, const v1::ReleaseLeaseRequest* request,
                                            v1::ReleaseLeaseResponse*) {
  ++releases_;
  const grpc::Status failure = Failure();
  if (!failure.ok()) return failure;
  if (request->fencing_token() == kToken) return grpc::Status::OK;
  return ApiStatus(grpc::StatusCode::ABORTED, "STALE_TOKEN", "not the lease's token");
}

grpc::Status FakeLeaseService::GetLease(Context*, const v1::GetLeaseRequest*, v1::Lease* lease) {
  FillLease(lease);
  return Failure();
}

grpc::Status FakeLeaseService::ListLeases(Context*, const v1::ListLeasesRequest* request,
                                          v1::ListLeasesResponse* response) {
  // Two pages, so that whoever lists has to ask twice.
  FillLease(response->add_leases());
  if (request->page_token().empty()) response->set_next_page_token("second");
  return Failure();
}

grpc::Status FakeLeaseService::CheckToken(Context*, const v1::CheckTokenRequest* request,
                                          v1::CheckTokenResponse* response) {
  response->set_valid(request->fencing_token() == kToken);
  response->set_current_fencing_token(kToken);
  response->set_state(v1::Slot::STATE_BUSY);
  return Failure();
}

grpc::Status FakeLeaseService::GetServerInfo(Context*, const v1::GetServerInfoRequest*,
                                             v1::GetServerInfoResponse* response) {
  response->set_version("9.8.7");
  response->set_instance_id("instance-a");
  response->mutable_pool_defaults()->mutable_default_ttl()->set_seconds(15);
  return Failure();
}

void FakeLeaseService::FillPool(v1::Pool* pool) {
  const std::lock_guard<std::mutex> lock(mu_);
  pool->set_name(kPool);
  pool->set_state(drain_reason_ ? v1::Pool::STATE_DRAINING : v1::Pool::STATE_ACTIVE);
  pool->set_drained(drain_reason_.has_value());
  pool->set_drain_reason(drain_reason_.value_or(""));
  pool->set_capacity(8);
  pool->set_fairness(v1::Pool::FAIRNESS_BOUNDED);
  pool->mutable_default_ttl()->set_seconds(15);
  pool->mutable_counts()->set_free_count(7);
  pool->mutable_counts()->set_busy_count(leases_ < 0 ? 1 : leases_.load());
}

grpc::Status FakeLeaseService::GetPool(Context*, const v1::GetPoolRequest*, v1::Pool* pool) {
  if (leases_ > 0) --leases_;
  FillPool(pool);
  return Failure();
}

grpc::Status FakeLeaseService::DrainPool(Context*, const v1::DrainPoolRequest* request,
                                         v1::DrainPoolResponse* response) {
  Drain(request->reason());
  FillPool(response->mutable_pool());
  return Failure();
}

grpc::Status FakeLeaseService::ResumePool(Context*, const v1::ResumePoolRequest*,
                                          v1::ResumePoolResponse* response) {
  {
    const std::lock_guard<std::mutex> lock(mu_);
    drain_reason_.reset();
  }
  FillPool(response->mutable_pool());
  return Failure();
}

grpc::Status FakeLeaseService::ListPools(Context* context, const v1::ListPoolsRequest*,
                                         v1::ListPoolsResponse* response) {
  return GetPool(context, nullptr, response->add_pools());
}

grpc::Status FakeLeaseService::ListSlots(Context*, const v1::ListSlotsRequest*,
                                         v1::ListSlotsResponse* response) {
  FillSlot(response->add_slots());
  return Failure();
}

grpc::Status FakeLeaseService::ListWaiters(Context*, const v1::ListWaitersRequest*,
                                           v1::ListWaitersResponse* response) {
  v1::Waiter* waiter = response->add_waiters();
  waiter->set_name("pools/gpu/waiters/5");
  waiter->set_position(1);
  waiter->set_path(v1::LEASE_PATH_LOCAL);
  waiter->set_principal("uid:1000");
  waiter->mutable_waited_duration()->set_seconds(3);
  return Failure();
}

grpc::Status FakeLeaseService::LockSlot(Context*, const v1::LockSlotRequest*,
                                        v1::LockSlotResponse* response) {
  FillSlot(response->mutable_slot());
  return Failure();
}

grpc::Status FakeLeaseService::UnlockSlot(Context*, const v1::UnlockSlotRequest*,
                                          v1::UnlockSlotResponse* response) {
  FillSlot(response->mutable_slot());
  return Failure();
}

grpc::Status FakeLeaseService::RevokeLease(Context*, const v1::RevokeLeaseRequest*,
                                           v1::RevokeLeaseResponse* response) {
  FillLease(response->mutable_lease());
  response->mutable_lease()->set_state(v1::Lease::STATE_REVOKED);
  return Failure();
}

}  // namespace leaseplane::testing
