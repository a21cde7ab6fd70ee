// SPDX-License-Identifier: Apache-2.0
//
// FakeLeaseService: one pool over real gRPC on a loopback port, without time: leases end when the
// test says so. Counts what it is asked and can be told to fail.
#pragma once

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "leaseplane/v1/lease_service.grpc.pb.h"
#include "tests/unit/clients/cpp/fake_keep_alive.h"

namespace leaseplane {

inline grpc::Status Failure(grpc::StatusCode code, const std::string& reason) {
  google::rpc::Status details;
  google::rpc::ErrorInfo info;
  info.set_reason(reason);
  info.set_domain("leaseplane");
  details.add_details()->PackFrom(info);
  return grpc::Status(code, reason, details.SerializeAsString());
}

class FakeLeaseService final : public v1::LeaseService::Service {
 public:
  explicit FakeLeaseService(int capacity) : capacity_(capacity) {
    for (int slot = 0; slot < capacity; ++slot) free_.push_back(slot);
  }

  void Start(const std::string& address = "127.0.0.1:0") {
    grpc::ServerBuilder builder;
    builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
    builder.AddListeningPort(address, grpc::InsecureServerCredentials(), &port_);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
  }
  void Stop() { server_->Shutdown(std::chrono::system_clock::now()); }
  int port() const { return port_; }
  std::string target() const { return "127.0.0.1:" + std::to_string(port_); }

  // The next calls of a method ("Acquire", "Renew", "Release") are answered with these.
  void FailNext(const std::string& method, grpc::Status status) {
    const std::lock_guard<std::mutex> lock(mu_);
    failures_[method].push_back(std::move(status));
  }
  // Renewals are answered only when this is undone.
  void HoldRenewals(bool hold) {
    const std::lock_guard<std::mutex> lock(mu_);
    hold_ = hold;
    changed_.notify_all();
  }
  void EndAll() {
    const std::lock_guard<std::mutex> lock(mu_);
    for (const auto& [name, lease] : leases_) free_.push_back(lease.slot_index());
    leases_.clear();
  }
  void SetTtl(int64_t ms) { ttl_ms_ = ms; }
  FakeKeepAlive& streams() { return streams_; }
  // No call waits longer than that, whatever it asks for.
  void CapWaits(int64_t ms) { wait_cap_ms_ = ms; }
  // The pool has a max_duration.
  void CapLeases(bool caps) { caps_leases_ = caps; }
  // Says nothing about pools.
  void BeOld() { is_old_ = true; }

  int count(const std::string& method) {
    const std::lock_guard<std::mutex> lock(mu_);
    return counts_[method];
  }
  int waiting() {
    const std::lock_guard<std::mutex> lock(mu_);
    return waiting_;
  }
  size_t held() {
    const std::lock_guard<std::mutex> lock(mu_);
    return leases_.size();
  }
  size_t request_ids() {
    const std::lock_guard<std::mutex> lock(mu_);
    return by_request_id_.size();
  }

  grpc::Status AcquireLease(grpc::ServerContext*, const v1::AcquireLeaseRequest* request,
                            v1::AcquireLeaseResponse* response) override {
    std::unique_lock<std::mutex> lock(mu_);
    ++counts_["Acquire"];
    grpc::Status failure;
    if (TakeFailure("Acquire", failure)) return failure;
    if (request->parent() != "pools/gpu") return NotFound();
    std::chrono::nanoseconds wait = std::chrono::seconds(request->max_wait_duration().seconds());
    wait += std::chrono::nanoseconds(request->max_wait_duration().nanos());
    if (wait > std::chrono::seconds(50)) {
      return Failure(grpc::StatusCode::INVALID_ARGUMENT, "INVALID_ARGUMENT");
    }
    const bool waits = wait.count() > 0;
    wait = std::min<std::chrono::nanoseconds>(wait, std::chrono::milliseconds(wait_cap_ms_));
    std::string& name = by_request_id_[request->request_id()];
    if (name.empty() || leases_.count(name) == 0) {
      ++waiting_;
      const bool is_free = changed_.wait_for(lock, wait, [this] { return !free_.empty(); });
      --waiting_;
      if (!is_free) {
        return Failure(grpc::StatusCode::RESOURCE_EXHAUSTED,
                       waits ? "WAIT_TIMEOUT" : "NO_FREE_SLOT");
      }
      v1::Lease lease;
      lease.set_slot_index(free_.front());
      free_.pop_front();
      lease.set_fencing_token(++last_token_);
      lease.set_name("pools/gpu/leases/" + std::to_string(last_token_));
      lease.set_pool("pools/gpu");
      lease.set_resource("card");
      name = lease.name();
      leases_[name] = lease;
    }
    *response->mutable_lease() = leases_[name];
    SetTimes(response);
    return grpc::Status::OK;
  }

  grpc::Status RenewLease(grpc::ServerContext* context, const v1::RenewLeaseRequest* request,
                          v1::RenewLeaseResponse* response) override {
    std::unique_lock<std::mutex> lock(mu_);
    ++counts_["Renew"];
    while (hold_ && !context->IsCancelled()) changed_.wait_for(lock, std::chrono::milliseconds(5));
    grpc::Status failure;
    if (TakeFailure("Renew", failure)) return failure;
    if (leases_.count(request->name()) == 0) return Expired();
    SetTimes(response);
    return grpc::Status::OK;
  }

  grpc::Status KeepAlive(grpc::ServerContext* context, FakeKeepAlive::Stream* stream) override {
    return streams_.Serve(context, stream, [this](const FakeKeepAlive::Renewal& renewal) {
      const std::lock_guard<std::mutex> lock(mu_);
      v1::KeepAliveResponse answer;
      if (leases_.count(renewal.name()) == 0) {
        answer.mutable_lost()->set_name(renewal.name());
        answer.mutable_lost()->set_reason(v1::LEASE_EXPIRED);
        answer.mutable_lost()->set_sequence(renewal.sequence());
      } else {
        answer.mutable_renewed()->set_name(renewal.name());
        answer.mutable_renewed()->set_sequence(renewal.sequence());
        SetTimes(answer.mutable_renewed());
      }
      return answer;
    });
  }

  grpc::Status ReleaseLease(grpc::ServerContext*, const v1::ReleaseLeaseRequest* request,
                            v1::ReleaseLeaseResponse*) override {
    const std::lock_guard<std::mutex> lock(mu_);
    ++counts_["Release"];
    grpc::Status failure;
    if (TakeFailure("Release", failure)) return failure;
    const auto found = leases_.find(request->name());
    if (found == leases_.end()) {
      return request->allow_missing() ? grpc::Status::OK : Expired();
    }
    free_.push_back(found->second.slot_index());
    leases_.erase(found);
    changed_.notify_all();
    return grpc::Status::OK;
  }

  grpc::Status ListLeases(grpc::ServerContext*, const v1::ListLeasesRequest* request,
                          v1::ListLeasesResponse*) override {
    return request->parent() == "pools/gpu" ? grpc::Status::OK : NotFound();
  }

  grpc::Status GetServerInfo(grpc::ServerContext*, const v1::GetServerInfoRequest* request,
                             v1::GetServerInfoResponse* response) override {
    response->set_instance_id("instance-a");
    if (request->pool().empty() || is_old_) return grpc::Status::OK;
    if (request->pool() != "pools/gpu") return NotFound();
    response->mutable_pool()->set_name(request->pool());
    response->mutable_pool()->set_capacity(capacity_);
    if (caps_leases_) response->mutable_pool()->mutable_max_duration()->set_seconds(60);
    return grpc::Status::OK;
  }

 private:
  static grpc::Status NotFound() { return Failure(grpc::StatusCode::NOT_FOUND, "NOT_FOUND"); }
  static grpc::Status Expired() {
    return Failure(grpc::StatusCode::FAILED_PRECONDITION, "LEASE_EXPIRED");
  }
  bool TakeFailure(const std::string& method, grpc::Status& failure) {
    std::deque<grpc::Status>& queue = failures_[method];
    if (queue.empty()) return false;
    failure = queue.front();
    queue.pop_front();
    return true;
  }
  template <class Response>
  void SetTimes(Response* response) const {
    const int64_t ms = ttl_ms_;
    response->mutable_remaining_duration()->set_seconds(ms / 1000);
    response->mutable_remaining_duration()->set_nanos(static_cast<int>(ms % 1000) * 1'000'000);
    response->mutable_renew_interval()->set_seconds(ms / 3000);
    response->mutable_renew_interval()->set_nanos(static_cast<int>(ms / 3 % 1000) * 1'000'000);
  }

  std::mutex mu_;
  std::condition_variable changed_;
  const int capacity_;
  std::atomic<int64_t> ttl_ms_{30'000}, wait_cap_ms_{50'000};
  std::atomic<bool> is_old_{false}, caps_leases_{false};
  int waiting_ = 0;
  bool hold_ = false;
  int64_t last_token_ = 0;
  std::deque<int> free_;
  std::map<std::string, v1::Lease> leases_;
  std::map<std::string, std::string> by_request_id_;
  std::map<std::string, std::deque<grpc::Status>> failures_;
  std::map<std::string, int> counts_;
  FakeKeepAlive streams_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace leaseplane
