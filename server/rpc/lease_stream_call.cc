// SPDX-License-Identifier: Apache-2.0
#include "server/rpc/lease_stream_call.h"

#include <utility>

#include "server/rpc/acquire_wait.h"
#include "server/rpc/caller.h"
#include "server/rpc/convert.h"
#include "server/rpc/lease_stream_acquire.h"
#include "server/rpc/request_parser.h"
#include "server/rpc/scratch_arena.h"
#include "server/rpc/status_map.h"
#include "server/rpc/validate.h"

namespace leaseplane::rpc {
namespace {

constexpr std::string_view kMethod = "LeaseStream";
constexpr size_t kRequestBytes = 8192;  // what most messages need

int64_t EndsAtNs(int64_t now_ns, int64_t remaining_ns) {
  return remaining_ns == engine::kNever ? engine::kNever : now_ns + remaining_ns;
}

}  // namespace

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* LeaseStreamCall::Start(
    grpc::CallbackServerContext* context, const CallEnvironment& environment) {
  auto call = std::make_shared<LeaseStreamCall>(context, environment);
  call->self_ = call;
  environment.plane.Watch(call.get());
  if (environment.open_calls.Add(call)) {
    absl::MutexLock lock(&call->mutex_);
    call->ReadMore();
  } else {
    call->EndForShutdown();
  }
  // OnDone comes only after gRPC has been given the reactor, so the object is alive here.
  return call.get();
}

LeaseStreamCall::LeaseStreamCall(grpc::CallbackServerContext* context,
                                 const CallEnvironment& environment)
    : environment_(environment),
      principal_(environment.principal()),
      ends_at_ns_(EndsAtNs(environment.plane.NowNs(), RemainingNs(*context))),
      context_(context) {}

void LeaseStreamCall::OnReadDone(bool ok) {
  if (ok) {
    const bool is_sound = RunGuarded(environment_.observer, kMethod, [&] { HandleMessage(); });
    if (!is_sound) Close(ToStatus(engine::Reason::kInternal, "internal error"));
  }
  Leftovers leftovers;
  {
    absl::MutexLock lock(&mutex_);
    is_reading_ = false;
    is_gathering_ = false;
    if (!ok) has_read_all_ = true;
    Proceed();
    ReadMore();
    leftovers = TakeLeftovers();
  }
  GiveBack(std::move(leftovers));
}

void LeaseStreamCall::HandleMessage() {
  const int64_t received_at_ns = environment_.plane.NowNs();
  ScratchArena<kRequestBytes> arena;
  auto* request = arena.New<v1::LeaseStreamRequest>();
  if (const auto violations = ParseRequest(incoming_, request); !violations.empty()) {
    return Close(InvalidArgument(violations));
  }
  if (!AcceptTerms(*request)) return;
  if (request->operations_size() > kOperationsMax) {
    return Close(InvalidArgument({{"operations", "must be at most 256 in a message"}}));
  }
  if (!TakeOn(request->operations_size())) return;
  for (Operation& operation : *request->mutable_operations()) Begin(operation, received_at_ns);
}

// The first message says who the client is and what becomes of its leases; later ones may repeat
// it.
bool LeaseStreamCall::AcceptTerms(const v1::LeaseStreamRequest& request) {
  FieldChecks checks;
  if (!has_terms_ || !request.client_id().empty()) {
    checks.ClientId("client_id", request.client_id());
    if (has_terms_ && request.client_id() != client_id_) {
      checks.Fail("client_id", "must stay the same within a stream");
    }
  }
  if (has_terms_ && request.release_on_disconnect() && !releases_at_end_) {
    checks.Fail("release_on_disconnect", "must be asked for in the stream's first message");
  }
  if (!checks.ok()) {
    Close(checks.status());
    return false;
  }
  if (!has_terms_) {
    client_id_ = request.client_id();
    releases_at_end_ = request.release_on_disconnect();
  }
  has_terms_ = true;
  return true;
}

// Counts the operations of a message in. False: it is too much, and the stream has been ended.
bool LeaseStreamCall::TakeOn(int operation_count) {
  absl::MutexLock lock(&mutex_);
  if (is_ended_ || closing_) return false;
  const size_t outstanding =
      begun_count_ + outbox_.result_count() + static_cast<size_t>(operation_count);
  if (outstanding <= kOutstandingMax && outbox_.bytes() <= kUnsentBytesMax) {
    begun_count_ += static_cast<size_t>(operation_count);
    is_gathering_ = true;
    return true;
  }
  engine::Refusal refusal;
  refusal.reason = engine::Reason::kClientQuota;
  refusal.text = outstanding > kOutstandingMax
                     ? "a stream may have at most 8192 operations outstanding"
                     : "the client does not read its results";
  SetEndTimer();
  End(ToStatus(refusal, Subject{"", "", HolderName(principal_, client_id_)}));
  return false;
}

void LeaseStreamCall::ReadMore() {
  if (is_ended_ || closing_ || is_reading_ || has_read_all_) return;
  is_reading_ = true;
  StartRead(&incoming_);
}

void LeaseStreamCall::Proceed() {
  if (is_ended_ || is_gathering_ || is_writing_) return;
  if (!outbox_.empty()) {
    is_writing_ = true;
    in_flight_ = outbox_.TakeFirst();
    StartWrite(&in_flight_);
  } else if (closing_) {
    End(*closing_);
  } else if (has_read_all_ && begun_count_ == 0) {
    End(grpc::Status::OK);
  }
}

void LeaseStreamCall::OnWriteDone(bool ok) {
  Leftovers leftovers;
  {
    absl::MutexLock lock(&mutex_);
    is_writing_ = false;
    if (!ok && !is_ended_) End(grpc::Status::CANCELLED);
    Proceed();
    leftovers = TakeLeftovers();
  }
  GiveBack(std::move(leftovers));
}

void LeaseStreamCall::OnDraining() {
  absl::MutexLock lock(&mutex_);
  if (is_ended_) return;
  outbox_.AddDraining();
  Proceed();
}

void LeaseStreamCall::OnCancel() {
  Leftovers leftovers;
  {
    absl::MutexLock lock(&mutex_);
    if (!is_ended_) End(grpc::Status::CANCELLED);
    leftovers = TakeLeftovers();
  }
  GiveBack(std::move(leftovers));
}

void LeaseStreamCall::EndForShutdown() {
  {
    absl::MutexLock lock(&mutex_);
    keeps_held_ = true;
  }
  Close(ToStatus(engine::Reason::kDraining, "the daemon is stopping; leases are kept"));
}

void LeaseStreamCall::Close(const grpc::Status& status) {
  Leftovers leftovers;
  {
    absl::MutexLock lock(&mutex_);
    if (is_ended_) return;
    if (!closing_) {
      closing_ = status;
      SetEndTimer();
    }
    Proceed();
    leftovers = TakeLeftovers();
  }
  GiveBack(std::move(leftovers));
}

// The status goes out behind what was written before it, and so never to a client that does not
// read. Such a stream is cut.
void LeaseStreamCall::SetEndTimer() {
  end_timer_.Set(kEndPatience, [self = shared_from_this()] {
    absl::MutexLock lock(&self->context_mutex_);
    if (self->context_ != nullptr) self->context_->TryCancel();
  });
}

void LeaseStreamCall::End(const grpc::Status& status) {
  is_ended_ = true;
  for (const AcquirePtr& wait : waits_) {
    leftovers_.waits.emplace_back(wait->wait.pool(), wait->ticket);
  }
  waits_.clear();
  leftovers_.ungiven = outbox_.Clear();
  if (!keeps_held_) leftovers_.held = held_.All();
  environment_.observer.CallEnded(kMethod, CodeName(status.error_code()));
  Finish(status);
}

LeaseStreamCall::Leftovers LeaseStreamCall::TakeLeftovers() {
  return std::exchange(leftovers_, Leftovers());
}

void LeaseStreamCall::GiveBack(Leftovers leftovers) {
  for (const auto& [pool, ticket] : leftovers.waits) environment_.plane.Cancel(pool, ticket);
  for (const HeldLease& lease : leftovers.ungiven) {
    engine::Grant grant;
    grant.lease.id = lease.id;
    grant.lease.token = lease.token;
    environment_.plane.Abandon(lease.pool, grant);
  }
  for (const HeldLease& lease : leftovers.held) {
    environment_.plane.Release(lease.pool, HolderOf(lease), /*allow_missing=*/true,
                               [](const plane::Result<plane::Done>&) {});
  }
}

engine::HolderRef LeaseStreamCall::HolderOf(const HeldLease& lease) const {
  return {principal_, {}, lease.id, lease.token};
}

void LeaseStreamCall::OnDone() {
  environment_.open_calls.Remove(this);
  environment_.plane.Unwatch(this);
  {
    absl::MutexLock lock(&context_mutex_);
    context_ = nullptr;
  }
  {
    absl::MutexLock lock(&mutex_);
    end_timer_.Cancel();
  }
  self_.reset();
}

}  // namespace leaseplane::rpc
