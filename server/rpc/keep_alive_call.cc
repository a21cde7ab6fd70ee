// SPDX-License-Identifier: Apache-2.0
#include "server/rpc/keep_alive_call.h"

#include <utility>

#include "server/rpc/convert.h"
#include "server/rpc/request_parser.h"
#include "server/rpc/status_map.h"
#include "server/rpc/validate.h"

namespace leaseplane::rpc {
namespace {

constexpr std::string_view kMethod = "KeepAlive";

// Whether a refused renewal means that the caller does not hold the lease; if not, it means nothing
// about the lease.
bool IsLoss(engine::Reason reason) {
  switch (reason) {
    case engine::Reason::kNotFound:
    case engine::Reason::kLeaseExpired:
    case engine::Reason::kLeaseRevoked:
    case engine::Reason::kLeaseReleased:
    case engine::Reason::kStaleToken:
    case engine::Reason::kNotHolder:
    case engine::Reason::kPermissionDenied:
      return true;
    case engine::Reason::kUnauthenticated:
    case engine::Reason::kNone:
    case engine::Reason::kInvalidArgument:
    case engine::Reason::kRequestIdConflict:
    case engine::Reason::kAlreadyExists:
    case engine::Reason::kNoFreeSlot:
    case engine::Reason::kWaitTimeout:
    case engine::Reason::kQueueFull:
    case engine::Reason::kClientQuota:
    case engine::Reason::kPoolDraining:
    case engine::Reason::kSlotLocked:
    case engine::Reason::kFailedPrecondition:
    case engine::Reason::kDraining:
    case engine::Reason::kRecovering:
    case engine::Reason::kStoreFailed:
    case engine::Reason::kDataLoss:
    case engine::Reason::kCancelled:
    case engine::Reason::kUnimplemented:
    case engine::Reason::kInternal:
      return false;
  }
  return false;
}

v1::KeepAliveResponse MakeLost(const std::string& name, engine::Reason reason, int64_t sequence) {
  v1::KeepAliveResponse message;
  message.mutable_lost()->set_name(name);
  message.mutable_lost()->set_reason(StatusOf(reason).reason);
  message.mutable_lost()->set_sequence(sequence);
  return message;
}

v1::KeepAliveResponse MakeRejected(const v1::KeepAliveRequest::Renewal& renewal,
                                   engine::Reason reason, const std::string& text) {
  v1::KeepAliveResponse message;
  message.mutable_rejected()->set_name(renewal.name());
  message.mutable_rejected()->set_reason(StatusOf(reason).reason);
  message.mutable_rejected()->set_sequence(renewal.sequence());
  message.mutable_rejected()->set_message(text);
  return message;
}

v1::KeepAliveResponse MakeRenewed(const v1::KeepAliveRequest::Renewal& renewal,
                                  const engine::RenewResult& result) {
  v1::KeepAliveResponse message;
  auto* renewed = message.mutable_renewed();
  renewed->set_name(renewal.name());
  renewed->set_sequence(renewal.sequence());
  *renewed->mutable_remaining_duration() = ToDuration(result.lease.remaining_ns);
  *renewed->mutable_queued_duration() = ToDuration(result.queued_ns);
  *renewed->mutable_renew_interval() = ToDuration(result.renew_interval_ns);
  return message;
}

}  // namespace

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* KeepAliveCall::Start(
    const CallEnvironment& environment) {
  auto call = std::make_shared<KeepAliveCall>(environment);
  call->self_ = call;
  environment.plane.Watch(call.get());
  if (!environment.guard->is_known()) {
    call->Close(ToStatus(engine::Reason::kUnauthenticated, ""));
  } else if (environment.open_calls.Add(call)) {
    call->ReadMore();
  } else {
    call->EndForShutdown();
  }
  // OnDone comes only after gRPC has been given the reactor, so the object is alive here.
  return call.get();
}

KeepAliveCall::KeepAliveCall(const CallEnvironment& environment)
    : environment_(environment), principal_(environment.principal()) {}

void KeepAliveCall::OnReadDone(bool ok) {
  if (!ok) {
    absl::MutexLock lock(&mutex_);
    is_reading_ = false;
    has_read_all_ = true;
    return EndIfDone();
  }
  const bool is_sound = RunGuarded(environment_.observer, kMethod, [&] { HandleMessage(); });
  if (!is_sound) Close(ToStatus(engine::Reason::kInternal, "internal error"));
  {
    absl::MutexLock lock(&mutex_);
    is_reading_ = false;
  }
  WatchRenewed();
  ReadMore();
}

void KeepAliveCall::HandleMessage() {
  const int64_t received_at_ns = environment_.plane.NowNs();
  v1::KeepAliveRequest request;
  if (const auto violations = ParseRequest(incoming_, &request); !violations.empty()) {
    return Close(InvalidArgument(violations));
  }
  if (!AcceptClientId(request.client_id())) return;
  if (request.renewals_size() > kRenewalsMax) {
    return Close(InvalidArgument({{"renewals", "must be at most 256 in a message"}}));
  }
  if (request.hear_waiting()) environment_.plane.HearWaiting(this);
  for (const Renewal& renewal : request.renewals()) Renew(renewal, received_at_ns);
}

// The first message says who the client is; later ones may repeat it.
bool KeepAliveCall::AcceptClientId(const std::string& client_id) {
  FieldChecks checks;
  checks.ClientId("client_id", client_id);
  if (has_client_id_ && !client_id.empty() && client_id != client_id_) {
    checks.Fail("client_id", "must stay the same within a stream");
  }
  if (!checks.ok()) {
    Close(checks.status());
    return false;
  }
  if (!has_client_id_) client_id_ = client_id;
  has_client_id_ = true;
  return true;
}

void KeepAliveCall::Renew(const Renewal& renewal, int64_t received_at_ns) {
  FieldChecks checks;
  const LeaseRef lease = checks.Lease("name", renewal.name());
  const FencingToken token = checks.Token("fencing_token", renewal.fencing_token());
  const int64_t ttl_ns = checks.TtlNs("ttl", renewal.has_ttl(), renewal.ttl());
  if (!checks.ok()) {
    const FieldViolation& first = checks.violations().front();
    return Send(MakeRejected(renewal, engine::Reason::kInvalidArgument,
                             first.field + ": " + first.description));
  }
  if (lease.is_local) {
    return Send(MakeLost(renewal.name(), engine::Reason::kNotHolder, renewal.sequence()));
  }
  {
    absl::MutexLock lock(&mutex_);
    ++open_renewal_count_;
  }
  environment_.plane.Renew(
      lease.pool, engine::HolderRef{principal_, client_id_, lease.id, token}, ttl_ns,
      received_at_ns,
      [self = shared_from_this(), lease, renewal](plane::Result<engine::RenewResult> result) {
        RunGuarded(self->environment_.observer, kMethod,
                   [&] { self->OnRenewed(lease, renewal, result); });
      });
}

void KeepAliveCall::OnRenewed(const LeaseRef& lease, const Renewal& renewal,
                              const plane::Result<engine::RenewResult>& result) {
  absl::MutexLock lock(&mutex_);
  --open_renewal_count_;
  if (const auto* refusal = std::get_if<engine::Refusal>(&result)) {
    SendLocked(IsLoss(refusal->reason)
                   ? MakeLost(renewal.name(), refusal->reason, renewal.sequence())
                   : MakeRejected(renewal, refusal->reason, refusal->text));
    return;
  }
  // Watched by the reaction to the read or to this write: the plane may be in the midst of calling.
  if (watched_.insert(renewal.name()).second) to_watch_.push_back(lease);
  SendLocked(MakeRenewed(renewal, std::get<engine::RenewResult>(result)));
}

void KeepAliveCall::WatchRenewed() {
  std::vector<LeaseRef> leases;
  {
    absl::MutexLock lock(&mutex_);
    leases.swap(to_watch_);
  }
  for (const LeaseRef& lease : leases) environment_.plane.WatchLease(this, lease.pool, lease.id);
}

void KeepAliveCall::OnLost(const std::string& pool, const engine::LeaseId& id,
                           engine::Reason reason) {
  const std::string name = LeaseName(pool, id);
  absl::MutexLock lock(&mutex_);
  watched_.erase(name);
  SendLocked(MakeLost(name, reason, 0));
}

void KeepAliveCall::OnRevokeRequested(const std::string& pool, const engine::LeaseId& id,
                                      int64_t grace_ns) {
  v1::KeepAliveResponse message;
  message.mutable_revoke_requested()->set_name(LeaseName(pool, id));
  *message.mutable_revoke_requested()->mutable_grace_duration() = ToDuration(grace_ns);
  Send(message);
}

void KeepAliveCall::OnDraining() {
  v1::KeepAliveResponse message;
  message.mutable_draining();
  Send(message);
}

void KeepAliveCall::OnWaiting(const std::string& pool) {
  if (!environment_.guard->knows(pool)) return;
  v1::KeepAliveResponse message;
  message.mutable_waiting()->set_pool(PoolName(pool));
  absl::MutexLock lock(&mutex_);
  // Said again soon; a client that does not read is owed no more of it.
  if (outgoing_.size() < kBacklogMax) SendLocked(message);
}

void KeepAliveCall::ReadMore() {
  absl::MutexLock lock(&mutex_);
  if (is_ended_ || closing_ || is_reading_ || has_read_all_) return;
  if (outgoing_.size() + open_renewal_count_ >= kBacklogMax) return;
  is_reading_ = true;
  StartRead(&incoming_);
}

void KeepAliveCall::Send(const v1::KeepAliveResponse& message) {
  absl::MutexLock lock(&mutex_);
  SendLocked(message);
}

void KeepAliveCall::SendLocked(const v1::KeepAliveResponse& message) {
  if (is_ended_) return;
  outgoing_.push_back(SerializeReply(message));
  if (!is_writing_) WriteNext();
}

void KeepAliveCall::WriteNext() {
  is_writing_ = true;
  in_flight_.Swap(&outgoing_.front());
  outgoing_.pop_front();
  StartWrite(&in_flight_);
}

void KeepAliveCall::OnWriteDone(bool ok) {
  {
    absl::MutexLock lock(&mutex_);
    is_writing_ = false;
    if (is_ended_) return;
    if (!ok) return End(grpc::Status::CANCELLED);
    if (!outgoing_.empty()) WriteNext();
    EndIfDone();
  }
  WatchRenewed();
  ReadMore();
}

void KeepAliveCall::OnCancel() {
  absl::MutexLock lock(&mutex_);
  if (!is_ended_) End(grpc::Status::CANCELLED);
}

void KeepAliveCall::EndForShutdown() {
  Close(ToStatus(engine::Reason::kDraining, "the daemon is stopping; leases are kept"));
}

void KeepAliveCall::Close(const grpc::Status& status) {
  absl::MutexLock lock(&mutex_);
  if (!closing_) closing_ = status;
  EndIfDone();
}

void KeepAliveCall::EndIfDone() {
  if (is_ended_ || is_writing_ || !outgoing_.empty()) return;
  if (closing_) return End(*closing_);
  if (has_read_all_ && open_renewal_count_ == 0) End(grpc::Status::OK);
}

void KeepAliveCall::End(const grpc::Status& status) {
  is_ended_ = true;
  outgoing_.clear();
  environment_.observer.CallEnded(kMethod, CodeName(status.error_code()));
  Finish(status);
}

void KeepAliveCall::OnDone() {
  environment_.open_calls.Remove(this);
  environment_.plane.Unwatch(this);
  self_.reset();
}

}  // namespace leaseplane::rpc
