// SPDX-License-Identifier: Apache-2.0
#include "server/rpc/stream_acquire_call.h"

#include <algorithm>
#include <utility>

#include "server/rpc/convert.h"
#include "server/rpc/request_parser.h"
#include "server/rpc/status_map.h"

namespace leaseplane::rpc {
namespace {

constexpr std::string_view kMethod = "StreamAcquireLease";

// Told again after this long, changed or not: within the 10 s of the API with room for a late
// timer.
constexpr int64_t kTellInterval = 8 * engine::kSecond;

// How soon to look at the queue again. The further back the less often, so that a long queue is not
// searched all the time for the sake of its end.
int64_t LookInterval(uint32_t position) {
  return std::min(engine::kSecond + position * engine::kMillisecond, kTellInterval);
}

}  // namespace

grpc::ServerWriteReactor<grpc::ByteBuffer>* StreamAcquireCall::Start(
    grpc::CallbackServerContext* context, const grpc::ByteBuffer* bytes,
    const CallEnvironment& environment) {
  auto call = std::make_shared<StreamAcquireCall>(context, environment);
  call->self_ = call;
  const bool is_sound = RunGuarded(environment.observer, kMethod, [&] { call->Begin(*bytes); });
  if (!is_sound) call->Leave(ToStatus(engine::Reason::kInternal, "internal error"));
  // OnDone comes only after gRPC has been given the reactor, so the object is alive here.
  return call.get();
}

StreamAcquireCall::StreamAcquireCall(grpc::CallbackServerContext* context,
                                     const CallEnvironment& environment)
    : context_(context), environment_(environment) {}

void StreamAcquireCall::Begin(const grpc::ByteBuffer& bytes) {
  received_at_ns_ = environment_.plane.NowNs();
  v1::StreamAcquireLeaseRequest request;
  if (const auto violations = ParseRequest(bytes, &request); !violations.empty()) {
    return Leave(InvalidArgument(violations));
  }
  if (const auto status = wait_.Read(*context_, environment_.principal(), request.acquire(),
                                     "acquire.", engine::kStreamWaitMax)) {
    return Leave(*status);
  }
  const uint64_t ticket = environment_.plane.Acquire(wait_.pool(), wait_.TakeRequest(),
                                                     received_at_ns_, shared_from_this());
  if (ticket != 0) Park(ticket);
}

void StreamAcquireCall::Park(uint64_t ticket) {
  {
    absl::MutexLock lock(&mutex_);
    ticket_ = ticket;
  }
  if (!environment_.open_calls.Add(shared_from_this())) return EndForShutdown();
  Tick();
}

void StreamAcquireCall::Tick() {
  uint64_t ticket = 0;
  {
    absl::MutexLock lock(&mutex_);
    if (phase_ != Phase::kWaiting) return;
    ticket = ticket_;
  }
  const auto state = environment_.plane.QueuePosition(wait_.pool(), ticket);
  // A refusal here means that the answer is on its way.
  if (const auto* queued = std::get_if<engine::QueueState>(&state)) Tell(*queued);
}

void StreamAcquireCall::Tell(const engine::QueueState& state) {
  const int64_t now_ns = environment_.plane.NowNs();
  v1::StreamAcquireLeaseResponse message;
  auto* queued = message.mutable_queued();
  queued->set_position(static_cast<int32_t>(state.position));
  if (state.estimated_wait_ns != 0) {
    *queued->mutable_estimated_wait_duration() = ToDuration(state.estimated_wait_ns);
  }
  *queued->mutable_waited_duration() = ToDuration(now_ns - received_at_ns_);

  absl::MutexLock lock(&mutex_);
  if (phase_ != Phase::kWaiting) return;
  queued->set_waiter(WaiterName(wait_.pool(), ticket_));
  if (state.position != told_position_ || now_ns - told_at_ns_ >= kTellInterval) {
    told_position_ = state.position;
    told_at_ns_ = now_ns;
    if (is_writing_) {
      next_position_ = SerializeReply(message);
    } else {
      Write(SerializeReply(message));
    }
  }
  ArmTimer(state.position);
}

void StreamAcquireCall::ArmTimer(uint32_t position) {
  timer_.Set(LookInterval(position), [self = shared_from_this()] {
    RunGuarded(self->environment_.observer, kMethod, [&] { self->Tick(); });
  });
}

void StreamAcquireCall::OnGranted(engine::Grant grant) {
  {
    absl::MutexLock lock(&mutex_);
    if (phase_ == Phase::kWaiting && !context_->IsCancelled()) {
      phase_ = Phase::kAnswered;
      grant_ = std::move(grant);
      if (!is_writing_) Answer();
      return;
    }
  }
  // Nobody is there to take it; if the call is still open, its cancellation ends it.
  environment_.plane.Abandon(wait_.pool(), grant);
}

void StreamAcquireCall::OnRefused(engine::Refusal refusal) {
  absl::MutexLock lock(&mutex_);
  if (phase_ != Phase::kWaiting) return;
  phase_ = Phase::kAnswered;
  status_ = wait_.ToStatus(std::move(refusal));
  if (!is_writing_) Answer();
}

void StreamAcquireCall::OnWriteDone(bool ok) {
  if (!ok) return Leave(grpc::Status::CANCELLED);
  absl::MutexLock lock(&mutex_);
  is_writing_ = false;
  if (phase_ == Phase::kAnswered) {
    Answer();
  } else if (phase_ == Phase::kWaiting && next_position_) {
    const grpc::ByteBuffer message = *next_position_;
    next_position_.reset();
    Write(message);
  }
}

void StreamAcquireCall::OnCancel() { Leave(grpc::Status::CANCELLED); }

void StreamAcquireCall::EndForShutdown() {
  uint64_t ticket = 0;
  {
    absl::MutexLock lock(&mutex_);
    if (phase_ != Phase::kWaiting) return;
    ticket = ticket_;
    phase_ = Phase::kAnswered;
    status_ = ToStatus(engine::Reason::kDraining, "the daemon is stopping; nothing was granted");
    if (!is_writing_) Answer();
  }
  if (ticket != 0) environment_.plane.Cancel(wait_.pool(), ticket);
}

void StreamAcquireCall::Leave(const grpc::Status& status) {
  uint64_t ticket = 0;
  std::optional<engine::Grant> undelivered;
  {
    absl::MutexLock lock(&mutex_);
    if (phase_ == Phase::kEnded) return;
    if (phase_ == Phase::kWaiting) ticket = ticket_;
    undelivered.swap(grant_);
    End(status);
  }
  // The call may be gone, but the caller of this keeps the object alive.
  if (ticket != 0) environment_.plane.Cancel(wait_.pool(), ticket);
  if (undelivered) environment_.plane.Abandon(wait_.pool(), *undelivered);
}

void StreamAcquireCall::Write(const grpc::ByteBuffer& message) {
  is_writing_ = true;
  in_flight_ = message;
  StartWrite(&in_flight_);
}

void StreamAcquireCall::Answer() {
  if (!grant_) return End(status_);
  v1::StreamAcquireLeaseResponse message;
  *message.mutable_granted() = ToAcquireResponse(wait_.pool(), *grant_);
  grant_.reset();
  in_flight_ = SerializeReply(message);
  phase_ = Phase::kEnded;
  timer_.Cancel();
  environment_.observer.CallEnded(kMethod, CodeName(grpc::StatusCode::OK));
  StartWriteAndFinish(&in_flight_, grpc::WriteOptions(), grpc::Status::OK);
}

void StreamAcquireCall::End(const grpc::Status& status) {
  phase_ = Phase::kEnded;
  timer_.Cancel();
  environment_.observer.CallEnded(kMethod, CodeName(status.error_code()));
  Finish(status);
}

void StreamAcquireCall::OnDone() {
  environment_.open_calls.Remove(this);
  self_.reset();
}

}  // namespace leaseplane::rpc
