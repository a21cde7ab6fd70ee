// SPDX-License-Identifier: Apache-2.0
//
// The operations of a LeaseStream: from the message to the plane, and from its answer to a result.
#include <algorithm>
#include <utility>
#include <vector>

#include "server/rpc/convert.h"
#include "server/rpc/lease_stream_acquire.h"
#include "server/rpc/lease_stream_call.h"
#include "server/rpc/status_map.h"
#include "server/rpc/validate.h"

namespace leaseplane::rpc {
namespace {

constexpr std::string_view kMethod = "LeaseStream";
constexpr int64_t kPruneInterval = engine::kSecond;

}  // namespace

void LeaseStreamCall::Acquire::OnGranted(engine::Grant grant) {
  RunGuarded(call_->environment_.observer, kMethod, [&] { call_->OnGranted(this, grant); });
}

void LeaseStreamCall::Acquire::OnRefused(engine::Refusal refusal) {
  RunGuarded(call_->environment_.observer, kMethod,
             [&] { call_->OnRefused(this, std::move(refusal)); });
}

void LeaseStreamCall::Begin(Operation& operation, int64_t received_at_ns) {
  switch (operation.operation_case()) {
    case Operation::kAcquire:
      return BeginAcquire(operation, received_at_ns);
    case Operation::kRenew:
      return BeginRenew(operation, received_at_ns);
    case Operation::kRelease:
      return BeginRelease(operation);
    case Operation::OPERATION_NOT_SET:
      break;
  }
  Answer(operation.sequence(),
         InvalidArgument({{"operation", "must be acquire, renew or release"}}));
}

void LeaseStreamCall::BeginAcquire(Operation& operation, int64_t received_at_ns) {
  v1::AcquireLeaseRequest& request = *operation.mutable_acquire();
  if (request.client_id().empty()) request.set_client_id(client_id_);
  const int64_t remaining_ns =
      ends_at_ns_ == engine::kNever ? engine::kNever : ends_at_ns_ - received_at_ns;
  auto acquire = std::make_shared<Acquire>(shared_from_this(), operation.sequence());
  if (const auto status = acquire->wait.Read(principal_, remaining_ns, request, "acquire.",
                                             engine::kStreamWaitMax)) {
    return Answer(operation.sequence(), *status);
  }
  if (releases_at_end_ && !HasRoomToHold()) {
    engine::Refusal refusal;
    refusal.reason = engine::Reason::kClientQuota;
    refusal.text = "a stream with release_on_disconnect holds at most 65536 leases";
    return Answer(operation.sequence(), acquire->wait.ToStatus(std::move(refusal)));
  }
  const uint64_t ticket = environment_.plane.Acquire(
      acquire->wait.pool(), acquire->wait.TakeRequest(), received_at_ns, acquire);
  if (ticket == 0) return;
  {
    absl::MutexLock lock(&mutex_);
    if (acquire->is_answered) return;
    if (!is_ended_) {
      acquire->ticket = ticket;
      waits_.insert(std::move(acquire));
      return;
    }
  }
  environment_.plane.Cancel(acquire->wait.pool(), ticket);
}

// One more lease may be held. When it is full, those that ended by themselves are looked for, now
// and then.
bool LeaseStreamCall::HasRoomToHold() {
  std::vector<HeldLease> all;
  {
    absl::MutexLock lock(&mutex_);
    if (held_.size() + waits_.size() < HeldLeases::kLeasesMax) return true;
    const int64_t now_ns = environment_.plane.NowNs();
    if (pruned_at_ns_ != 0 && now_ns - pruned_at_ns_ < kPruneInterval) return false;
    pruned_at_ns_ = now_ns;
    all = held_.All();
  }
  std::erase_if(all, [this](const HeldLease& lease) { return IsLeaseAlive(lease); });
  absl::MutexLock lock(&mutex_);
  for (const HeldLease& ended : all) held_.Remove(ended.id);
  return held_.size() + waits_.size() < HeldLeases::kLeasesMax;
}

bool LeaseStreamCall::IsLeaseAlive(const HeldLease& lease) const {
  const auto found = environment_.plane.GetLease(lease.pool, lease.id);
  const auto* info = std::get_if<engine::LeaseInfo>(&found);
  return info != nullptr && info->state == engine::LeaseState::kActive;
}

void LeaseStreamCall::BeginRenew(const Operation& operation, int64_t received_at_ns) {
  const v1::RenewLeaseRequest& request = operation.renew();
  FieldChecks checks;
  const LeaseRef lease = checks.Lease("name", request.name());
  engine::HolderRef holder{principal_, checks.ClientId("client_id", request.client_id()), lease.id,
                           checks.Token("fencing_token", request.fencing_token())};
  const int64_t ttl_ns = checks.TtlNs("ttl", request.has_ttl(), request.ttl());
  if (!checks.ok()) {
    checks.PrefixSince(0, "renew.");
    return Answer(operation.sequence(), checks.status());
  }
  if (lease.is_local) return Answer(operation.sequence(), HeldLocally(request.name()));
  if (holder.client_id.empty()) holder.client_id = client_id_;
  environment_.plane.Renew(
      lease.pool, holder, ttl_ns, received_at_ns,
      [self = shared_from_this(), sequence = operation.sequence(),
       name = request.name()](const plane::Result<engine::RenewResult>& result) {
        RunGuarded(self->environment_.observer, kMethod,
                   [&] { self->OnRenewed(sequence, name, result); });
      });
}

void LeaseStreamCall::BeginRelease(const Operation& operation) {
  const v1::ReleaseLeaseRequest& request = operation.release();
  FieldChecks checks;
  const LeaseRef lease = checks.Lease("name", request.name());
  engine::HolderRef holder{principal_, checks.ClientId("client_id", request.client_id()), lease.id,
                           checks.Token("fencing_token", request.fencing_token())};
  if (!checks.ok()) {
    checks.PrefixSince(0, "release.");
    return Answer(operation.sequence(), checks.status());
  }
  if (lease.is_local) return Answer(operation.sequence(), HeldLocally(request.name()));
  if (holder.client_id.empty()) holder.client_id = client_id_;
  environment_.plane.Release(
      lease.pool, holder, request.allow_missing(),
      [self = shared_from_this(), sequence = operation.sequence(), name = request.name(),
       id = lease.id](const plane::Result<plane::Done>& result) {
        RunGuarded(self->environment_.observer, kMethod,
                   [&] { self->OnReleased(sequence, name, id, result); });
      });
}

void LeaseStreamCall::OnGranted(Acquire* acquire, const engine::Grant& grant) {
  const std::string& pool = acquire->wait.pool();
  Leftovers leftovers;
  {
    absl::MutexLock lock(&mutex_);
    acquire->is_answered = true;
    if (!waits_.empty()) waits_.erase(acquire);
    const HeldLease lease{pool, grant.lease.id, grant.lease.token};
    if (!is_ended_) {
      --begun_count_;
      if (releases_at_end_) held_.Add(pool, grant.lease);
      outbox_.AddAcquired(acquire->sequence, pool, grant);
      Proceed();
    } else if (releases_at_end_ && !keeps_held_) {
      leftovers_.held.push_back(lease);
    } else {
      leftovers_.ungiven.push_back(lease);
    }
    leftovers = TakeLeftovers();
  }
  GiveBack(std::move(leftovers));
}

void LeaseStreamCall::OnRefused(Acquire* acquire, engine::Refusal refusal) {
  {
    absl::MutexLock lock(&mutex_);
    acquire->is_answered = true;
    if (!waits_.empty()) waits_.erase(acquire);
  }
  Answer(acquire->sequence, acquire->wait.ToStatus(std::move(refusal)));
}

void LeaseStreamCall::OnRenewed(int64_t sequence, const std::string& name,
                                const plane::Result<engine::RenewResult>& result) {
  if (const auto* refusal = std::get_if<engine::Refusal>(&result)) {
    return Answer(sequence, ToStatus(*refusal, LeaseSubject(name)));
  }
  Leftovers leftovers;
  {
    absl::MutexLock lock(&mutex_);
    if (is_ended_) return;
    --begun_count_;
    outbox_.AddRenewed(sequence, std::get<engine::RenewResult>(result));
    Proceed();
    leftovers = TakeLeftovers();
  }
  GiveBack(std::move(leftovers));
}

void LeaseStreamCall::OnReleased(int64_t sequence, const std::string& name,
                                 const engine::LeaseId& id,
                                 const plane::Result<plane::Done>& result) {
  if (const auto* refusal = std::get_if<engine::Refusal>(&result)) {
    return Answer(sequence, ToStatus(*refusal, LeaseSubject(name)));
  }
  Leftovers leftovers;
  {
    absl::MutexLock lock(&mutex_);
    if (releases_at_end_) held_.Remove(id);
    if (is_ended_) return;
    --begun_count_;
    outbox_.AddReleased(sequence);
    Proceed();
    leftovers = TakeLeftovers();
  }
  GiveBack(std::move(leftovers));
}

void LeaseStreamCall::Answer(int64_t sequence, const grpc::Status& error) {
  Leftovers leftovers;
  {
    absl::MutexLock lock(&mutex_);
    if (is_ended_) return;
    --begun_count_;
    outbox_.AddError(sequence, error);
    Proceed();
    leftovers = TakeLeftovers();
  }
  GiveBack(std::move(leftovers));
}

}  // namespace leaseplane::rpc
