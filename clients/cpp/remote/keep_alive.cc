// SPDX-License-Identifier: Apache-2.0
#include "clients/cpp/remote/keep_alive.h"

#include <optional>
#include <utility>

#include "clients/cpp/boot_clock.h"
#include "clients/cpp/remote/call_status.h"
#include "clients/cpp/remote/grpc_connection.h"
#include "clients/cpp/remote/lease_times.h"

namespace leaseplane::internal {
namespace {

Reason ReasonOfLoss(v1::ErrorReason reason) {
  const Reason known = ReasonFromName(v1::ErrorReason_Name(reason));
  return known == Reason::kUnknown ? Reason::kLeaseExpired : known;
}

StreamSchedule::End EndOf(const grpc::Status& status) {
  switch (status.error_code()) {
    case grpc::StatusCode::UNIMPLEMENTED:
    case grpc::StatusCode::PERMISSION_DENIED:
    case grpc::StatusCode::UNAUTHENTICATED:
    case grpc::StatusCode::INVALID_ARGUMENT:
      return StreamSchedule::End::kRefused;
    default:
      return StreamSchedule::End::kBroken;
  }
}

void Fill(const GrpcLease& lease, int64_t sequence, v1::KeepAliveRequest::Renewal& renewal) {
  renewal.set_name(lease.name());
  renewal.set_fencing_token(lease.token());
  renewal.set_sequence(sequence);
}

}  // namespace

void KeepAlive::SetAlarm() {
  const int64_t next_ns = schedule_.NextNs();
  if (next_ns != StreamSchedule::kNothing) connection_.renewer().CallAt(next_ns);
}

void KeepAlive::Add(const GrpcLease& lease) {
  const MutexLock lock(&mu_);
  by_name_[lease.name()] = lease.key();
  schedule_.Add(lease.key(), BootNowNs());
  SetAlarm();
}

void KeepAlive::Remove(const GrpcLease& lease) {
  const MutexLock lock(&mu_);
  schedule_.Remove(lease.key());
  const auto found = by_name_.find(lease.name());
  // Two acquires under one request id are granted one lease, which has two keys then.
  if (found != by_name_.end() && found->second == lease.key()) by_name_.erase(found);
}

void KeepAlive::Want() {
  const MutexLock lock(&mu_);
  schedule_.Want();
  SetAlarm();
}

void KeepAlive::HearWaiting() {
  std::shared_ptr<KeepAliveStream> stream;
  {
    const MutexLock lock(&mu_);
    if (std::exchange(hears_waiting_, true)) return;
    stream = stream_;
  }
  if (stream != nullptr) stream->HearWaiting();
}

bool KeepAlive::Renew(const GrpcLease& lease, int64_t timeout_ns) {
  std::shared_ptr<KeepAliveStream> stream;
  std::vector<Renewal> renewals(1);
  {
    const MutexLock lock(&mu_);
    const auto ask = schedule_.AskDue(lease.key(), BootNowNs(), timeout_ns);
    if (!ask.has_value()) return false;
    Fill(lease, ask->sequence, renewals.front());
    stream = stream_;
    SetAlarm();
  }
  if (stream != nullptr) stream->Send(std::move(renewals));
  return true;
}

void KeepAlive::OnAlarm() {
  StreamSchedule::Work work;
  std::shared_ptr<KeepAliveStream> stream;
  {
    const MutexLock lock(&mu_);
    schedule_.Step(BootNowNs(), work);
    stream = stream_;
    SetAlarm();
  }
  if (work.open) {
    stream = KeepAliveStream::Open(connection_.shared_from_this());
    if (stream == nullptr) return;  // the connection is closed, and no alarm matters any more
    bool hears_waiting = false;
    {
      const MutexLock lock(&mu_);
      stream_ = stream;
      hears_waiting = hears_waiting_;
    }
    if (hears_waiting) stream->HearWaiting();
  }
  if (stream == nullptr) return;
  if (work.cancel) return stream->Cancel();
  stream->Send(MakeRenewals(work.announce));
}

// Leases that ended meanwhile are left out; their renewals count as unanswered until the stream
// has answered another, so they are taken back here.
std::vector<KeepAlive::Renewal> KeepAlive::MakeRenewals(
    const std::vector<StreamSchedule::Ask>& asks) {
  std::vector<Renewal> renewals;
  renewals.reserve(asks.size());
  for (const StreamSchedule::Ask& ask : asks) {
    const std::shared_ptr<GrpcLease> lease = connection_.Find(ask.key);
    if (lease != nullptr) {
      Fill(*lease, ask.sequence, renewals.emplace_back());
    } else {
      const MutexLock lock(&mu_);
      schedule_.TakeBack(ask.sequence);
    }
  }
  return renewals;
}

std::optional<StreamSchedule::Asked> KeepAlive::Answered(int64_t sequence) {
  const MutexLock lock(&mu_);
  return schedule_.Answered(sequence);
}

std::shared_ptr<GrpcLease> KeepAlive::Named(const std::string& name) {
  Key key = 0;
  {
    const MutexLock lock(&mu_);
    const auto found = by_name_.find(name);
    if (found == by_name_.end()) return nullptr;
    key = found->second;
  }
  return connection_.Find(key);
}

void KeepAlive::OnAnswer(const v1::KeepAliveResponse& answer) {
  switch (answer.event_case()) {
    case v1::KeepAliveResponse::kRenewed:
      return OnRenewed(answer.renewed());
    case v1::KeepAliveResponse::kLost:
      return OnLost(answer.lost());
    case v1::KeepAliveResponse::kRejected:
      return OnRejected(answer.rejected());
    case v1::KeepAliveResponse::kRevokeRequested:
      return OnRevokeRequested(answer.revoke_requested());
    case v1::KeepAliveResponse::kDraining:
      return connection_.TellDraining();
    case v1::KeepAliveResponse::kWaiting:
      return connection_.warm().OnWaiting(PoolIdOf(answer.waiting().pool()));
    case v1::KeepAliveResponse::EVENT_NOT_SET:
      return;  // of a newer daemon
  }
}

void KeepAlive::OnRenewed(const v1::KeepAliveResponse::Renewed& renewed) {
  const auto asked = Answered(renewed.sequence());
  if (!asked.has_value()) return;
  const std::shared_ptr<GrpcLease> lease = connection_.Find(asked->key);
  if (lease == nullptr || lease->name() != renewed.name()) return;
  connection_.Renewed(*lease, TimesOf(renewed, asked->sent_ns, true));
}

void KeepAlive::OnLost(const v1::KeepAliveResponse::Lost& lost) {
  std::shared_ptr<GrpcLease> lease;
  if (lost.sequence() == 0) {
    lease = Named(lost.name());
  } else if (const auto asked = Answered(lost.sequence()); asked.has_value()) {
    lease = connection_.Find(asked->key);
  }
  if (lease != nullptr && lease->name() == lost.name()) {
    connection_.renewer().Refused(lease->key(), ReasonOfLoss(lost.reason()));
  }
}

void KeepAlive::OnRejected(const v1::KeepAliveResponse::Rejected& rejected) {
  const auto asked = Answered(rejected.sequence());
  if (asked.has_value() && asked->is_due) connection_.renewer().Failed(asked->key);
}

void KeepAlive::OnRevokeRequested(const v1::KeepAliveResponse::RevokeRequested& request) {
  const std::shared_ptr<GrpcLease> lease = Named(request.name());
  if (lease == nullptr) return;
  connection_.TellRevokeRequested(lease, absl::Nanoseconds(ToNs(request.grace_duration())));
}

void KeepAlive::OnEnded(const KeepAliveStream& stream, const grpc::Status& status) {
  std::vector<Key> unanswered;
  {
    const MutexLock lock(&mu_);
    unanswered = schedule_.Ended(BootNowNs(), EndOf(status));
    if (stream_.get() == &stream) stream_.reset();
    SetAlarm();
  }
  for (Key key : unanswered) connection_.renewer().Failed(key);
}

}  // namespace leaseplane::internal
