// SPDX-License-Identifier: Apache-2.0
#include "clients/cpp/remote/grpc_connection.h"

#include <algorithm>
#include <chrono>
#include <random>
#include <utility>

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>

#include "clients/cpp/boot_clock.h"
#include "clients/cpp/remote/call_status.h"
#include "clients/cpp/remote/lease_times.h"
#include "clients/cpp/remote/service_config.h"

namespace leaseplane::internal {
namespace {

constexpr int64_t kReleaseTimeoutNs = 10 * kSecondNs;
constexpr int64_t kAbandonTimeoutNs = 5 * kSecondNs;

// An asynchronous call; lives until its answer.
template <class Request, class Response>
struct Call {
  grpc::ClientContext context;
  Request request;
  Response response;
};

std::shared_ptr<grpc::Channel> MakeChannel(
    const std::string& target, const std::shared_ptr<grpc::ChannelCredentials>& credentials) {
  grpc::ChannelArguments arguments;
  arguments.SetServiceConfigJSON(kServiceConfig);
  arguments.SetUserAgentPrefix("leaseplane-cpp");
  // A ttl can be as short as a second: a daemon that comes back has to be found quickly.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 50);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 2'000);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1'000);
  // A peer that vanished is noticed while a call waits; the daemon accepts a ping every 10 s.
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 15'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 5'000);
  return grpc::CreateCustomChannel(target, credentials, arguments);
}

// What the daemon can only answer if the lease is over.
bool MeansLost(Reason reason) {
  switch (reason) {
    case Reason::kNotFound:
    case Reason::kLeaseExpired:
    case Reason::kLeaseRevoked:
    case Reason::kLeaseReleased:
    case Reason::kStaleToken:
    case Reason::kNotHolder:
      return true;
    default:
      return false;
  }
}

}  // namespace

void SetTimeout(grpc::ClientContext& context, int64_t timeout_ns) {
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::nanoseconds(timeout_ns));
}

GrpcConnection::GrpcConnection(const std::string& grpc_target,
                               const std::shared_ptr<grpc::ChannelCredentials>& credentials,
                               std::shared_ptr<const ClientOptions> options)
    : options_(std::move(options)),
      channel_(MakeChannel(grpc_target, credentials)),
      leases_(v1::LeaseService::NewStub(channel_)),
      keep_alive_(*this, std::random_device()()),
      renewer_(std::make_unique<Renewer>(*this, std::random_device()())) {}

void GrpcConnection::Close() {
  warm_.Close();
  {
    const MutexLock lock(&mu_);
    closed_ = true;
    for (const auto& [key, lease] : held_) lease->End(Reason::kSessionEnded);
    const int64_t patience_end_ns = DeadlineAfter(BootNowNs(), options_->shutdown_timeout);
    while (!releases_.empty() && finished_.Await(&mu_, patience_end_ns)) {
    }
    for (grpc::ClientContext* context : calls_) context->TryCancel();
    while (!calls_.empty()) finished_.Await(&mu_, kNeverNs);
  }
  renewer_.reset();
  leases_.reset();
  channel_.reset();
  absl::flat_hash_map<RenewalSchedule::Key, std::shared_ptr<GrpcLease>> held;
  const MutexLock lock(&mu_);
  held.swap(held_);
}

bool GrpcConnection::Begin(grpc::ClientContext* context, bool is_release) {
  const MutexLock lock(&mu_);
  if (closed_) return false;
  calls_.insert(context);
  if (is_release) releases_.insert(context);
  return true;
}

void GrpcConnection::Finished(grpc::ClientContext* context) {
  const MutexLock lock(&mu_);
  calls_.erase(context);
  releases_.erase(context);
  if (closed_) finished_.Tell();
}

std::shared_ptr<GrpcLease> GrpcConnection::Adopt(const v1::AcquireLeaseResponse& granted,
                                                 int64_t sent_ns, const AcquireOptions& asked) {
  const v1::Lease& lease = granted.lease();
  const Renewer::Times times = TimesOf(granted, sent_ns, options_->auto_renew);
  if (times.safe_deadline_ns <= BootNowNs()) {
    SendRelease(lease.name(), lease.fencing_token());
    return nullptr;
  }
  GrpcLease::Facts facts;
  facts.name = lease.name();
  facts.pool = PoolIdOf(lease.pool());
  facts.resource = lease.resource();
  facts.slot = static_cast<SlotIndex>(lease.slot_index());
  facts.token = lease.fencing_token();
  facts.ttl_ns = absl::ToInt64Nanoseconds(asked.ttl);
  // A lease with a name or a description of its own is not another caller's.
  facts.may_be_kept = options_->auto_renew && asked.metadata.empty() && asked.request_id.empty();
  std::shared_ptr<GrpcLease> adopted;
  {
    const MutexLock lock(&mu_);
    const RenewalSchedule::Key key = ++last_key_;
    adopted = std::make_shared<GrpcLease>(shared_from_this(), key, std::move(facts),
                                          times.safe_deadline_ns);
    held_[key] = adopted;
  }
  if (times.renew_interval_ns > 0) keep_alive_.Add(*adopted);
  renewer_->Track(adopted->key(), times);
  return adopted;
}

std::shared_ptr<GrpcLease> GrpcConnection::Find(RenewalSchedule::Key key) {
  const MutexLock lock(&mu_);
  const auto found = held_.find(key);
  return found == held_.end() ? nullptr : found->second;
}

// False: it had ended before, and its holder has been told.
bool GrpcConnection::EndByHolder(GrpcLease& lease) {
  const bool was_held = lease.End(Reason::kNone);
  const MutexLock lock(&mu_);
  if (closed_) return was_held;
  renewer_->Untrack(lease.key());
  keep_alive_.Remove(lease);
  held_.erase(lease.key());
  return was_held;
}

v1::ReleaseLeaseRequest GrpcConnection::MakeRelease(const std::string& name,
                                                    FencingToken token) const {
  v1::ReleaseLeaseRequest request;
  request.set_name(name);
  request.set_fencing_token(token);
  request.set_client_id(options_->client_id);
  return request;
}

absl::Status GrpcConnection::Release(GrpcLease& lease) {
  if (!EndByHolder(lease)) return MakeStatus(lease.ended(), "the lease had ended before");
  const int64_t deadline_ns = BootNowNs() + kReleaseTimeoutNs;
  const v1::ReleaseLeaseRequest request = MakeRelease(lease.name(), lease.token());
  for (int64_t pause_ns = 50 * kMillisecondNs;; pause_ns *= 2) {
    grpc::ClientContext context;
    if (!Begin(&context, true)) {
      return MakeStatus(Reason::kSessionEnded, "the client is gone; the lease ends with its ttl");
    }
    SetTimeout(context, deadline_ns - BootNowNs());
    v1::ReleaseLeaseResponse response;
    absl::Status status = ToStatus(leases_->ReleaseLease(&context, request, &response));
    Finished(&context);
    const bool again = IsTransient(status) && BootNowNs() + pause_ns < deadline_ns;
    if (!again) return status;
    absl::SleepFor(absl::Nanoseconds(pause_ns));
  }
}

void GrpcConnection::ReleaseLater(GrpcLease& lease) {
  if (EndByHolder(lease)) SendRelease(lease.name(), lease.token());
}

void GrpcConnection::SendRelease(const std::string& name, FencingToken token) {
  using ReleaseCall = Call<v1::ReleaseLeaseRequest, v1::ReleaseLeaseResponse>;
  auto call = std::make_shared<ReleaseCall>();
  call->request = MakeRelease(name, token);
  call->request.set_allow_missing(true);
  SetTimeout(call->context, kReleaseTimeoutNs);
  if (!Begin(&call->context, true)) return;
  leases_->async()->ReleaseLease(
      &call->context, &call->request, &call->response,
      [self = shared_from_this(), call](const grpc::Status&) { self->Finished(&call->context); });
}

void GrpcConnection::Abandon(v1::AcquireLeaseRequest request) {
  using AcquireCall = Call<v1::AcquireLeaseRequest, v1::AcquireLeaseResponse>;
  auto call = std::make_shared<AcquireCall>();
  call->request = std::move(request);
  call->request.clear_max_wait_duration();  // takes up a queued place and gives it up at once
  SetTimeout(call->context, kAbandonTimeoutNs);
  if (!Begin(&call->context, true)) return;
  leases_->async()->AcquireLease(&call->context, &call->request, &call->response,
                                 [self = shared_from_this(), call](const grpc::Status& status) {
                                   const v1::Lease& lease = call->response.lease();
                                   if (status.ok())
                                     self->SendRelease(lease.name(), lease.fencing_token());
                                   self->Finished(&call->context);
                                 });
}

void GrpcConnection::StartRenewal(RenewalSchedule::Key key, int64_t timeout_ns) {
  const std::shared_ptr<GrpcLease> lease = Find(key);
  if (lease == nullptr || keep_alive_.Renew(*lease, timeout_ns)) return;
  RenewByCall(lease, timeout_ns);
}

void GrpcConnection::RenewByCall(const std::shared_ptr<GrpcLease>& lease, int64_t timeout_ns) {
  using RenewCall = Call<v1::RenewLeaseRequest, v1::RenewLeaseResponse>;
  auto call = std::make_shared<RenewCall>();
  call->request.set_name(lease->name());
  call->request.set_fencing_token(lease->token());
  call->request.set_client_id(options_->client_id);
  SetTimeout(call->context, timeout_ns);
  if (!Begin(&call->context, false)) return;
  const int64_t sent_ns = BootNowNs();
  leases_->async()->RenewLease(
      &call->context, &call->request, &call->response,
      [self = shared_from_this(), call, lease, sent_ns](const grpc::Status& grpc_status) {
        const absl::Status status = ToStatus(grpc_status);
        if (status.ok()) {
          self->Renewed(*lease, TimesOf(call->response, sent_ns, true));
        } else if (MeansLost(ReasonOf(status))) {
          self->renewer_->Refused(lease->key(), ReasonOf(status));
        } else {
          self->renewer_->Failed(lease->key());
        }
        self->Finished(&call->context);
      });
}

void GrpcConnection::Renewed(GrpcLease& lease, const Renewer::Times& times) {
  if (renewer_->Renewed(lease.key(), times)) lease.Extend(times.safe_deadline_ns);
}

void GrpcConnection::OnLost(RenewalSchedule::Key key, Reason reason) {
  const std::shared_ptr<GrpcLease> lease = Find(key);
  if (lease == nullptr || !lease->End(reason)) return;  // released meanwhile
  {
    const MutexLock lock(&mu_);
    keep_alive_.Remove(*lease);
    held_.erase(key);
  }
  if (warm_.Remove(*lease) || !options_->on_lost) return;
  LostLease lost;
  lost.pool = lease->pool();
  lost.slot = lease->slot();
  lost.token = lease->token();
  lost.resource = lease->resource();
  lost.path = Path::kRemote;
  lost.reason = reason;
  options_->on_lost(lost);
}

void GrpcConnection::OnAlarm() {
  keep_alive_.OnAlarm();
  warm_.OnAlarm();
}

void GrpcConnection::TellRevokeRequested(std::shared_ptr<GrpcLease> lease, absl::Duration grace) {
  // A new stream says again what an earlier one said.
  if (!lease->AskBack()) return;
  if (warm_.Remove(*lease)) return ReleaseLater(*lease);
  if (!options_->on_revoke) return;
  renewer_->Post([this, lease = std::move(lease), grace] {
    if (!lease->StillHeld()) return;  // it was given back meanwhile
    RevokeRequest request;
    request.pool = lease->pool();
    request.slot = lease->slot();
    request.token = lease->token();
    request.grace = grace;
    options_->on_revoke(request);
  });
}

void GrpcConnection::TellDraining() {
  if (!options_->on_draining) return;
  renewer_->Post([this] { options_->on_draining(); });
}

}  // namespace leaseplane::internal
