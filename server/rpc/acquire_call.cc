// SPDX-License-Identifier: Apache-2.0
#include "server/rpc/acquire_call.h"

#include <utility>

#include "server/rpc/convert.h"
#include "server/rpc/request_parser.h"
#include "server/rpc/scratch_arena.h"
#include "server/rpc/status_map.h"

namespace leaseplane::rpc {
namespace {

constexpr std::string_view kMethod = "AcquireLease";

}  // namespace

grpc::ServerUnaryReactor* AcquireCall::Start(grpc::CallbackServerContext* context,
                                             const grpc::ByteBuffer* bytes,
                                             grpc::ByteBuffer* response,
                                             const CallEnvironment& environment) {
  auto call = std::make_shared<AcquireCall>(context, response, environment);
  call->self_ = call;
  const bool is_sound = RunGuarded(environment.observer, kMethod, [&] { call->Begin(*bytes); });
  if (!is_sound) call->Leave(ToStatus(engine::Reason::kInternal, "internal error"));
  call->is_starting_ = false;
  if (!call->answer_) return call.get();  // OnDone, which lets go of it, comes later
  call->self_.reset();
  grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
  reactor->Finish(*call->answer_);
  return reactor;
}

AcquireCall::AcquireCall(grpc::CallbackServerContext* context, grpc::ByteBuffer* response,
                         const CallEnvironment& environment)
    : context_(context), response_(response), environment_(environment) {}

void AcquireCall::Begin(const grpc::ByteBuffer& bytes) {
  const int64_t received_at_ns = environment_.plane.NowNs();
  ScratchArena<1024> arena;
  auto* request = arena.New<v1::AcquireLeaseRequest>();
  if (const auto violations = ParseRequest(bytes, request); !violations.empty()) {
    return Leave(InvalidArgument(violations));
  }
  if (const auto status =
          wait_.Read(*context_, environment_.principal(), *request, "", engine::kUnaryWaitMax)) {
    return Leave(*status);
  }
  const uint64_t ticket = environment_.plane.Acquire(wait_.pool(), wait_.TakeRequest(),
                                                     received_at_ns, shared_from_this());
  // What is answered already may have a ticket all the same. It is not parked: gRPC's own reactor
  // ends it, and no OnDone takes it off the open calls.
  if (ticket != 0 && !answer_) return Park(ticket);
  environment_.observer.CallTook(kMethod, environment_.plane.NowNs() - received_at_ns);
}

void AcquireCall::Park(uint64_t ticket) {
  ticket_.store(ticket, std::memory_order_release);
  if (!environment_.open_calls.Add(shared_from_this())) EndForShutdown();
}

void AcquireCall::OnGranted(engine::Grant grant) {
  if (!Claim()) return environment_.plane.Abandon(wait_.pool(), grant);
  if (context_->IsCancelled()) {
    environment_.plane.Abandon(wait_.pool(), grant);
    return End(grpc::Status::CANCELLED);
  }
  const bool is_sound = RunGuarded(environment_.observer, kMethod, [&] {
    ScratchArena<1024> arena;
    auto* reply = arena.New<v1::AcquireLeaseResponse>();
    FillAcquireResponse(wait_.pool(), grant, reply);
    *response_ = SerializeReply(*reply);
  });
  if (is_sound) return End(grpc::Status::OK);
  environment_.plane.Abandon(wait_.pool(), grant);
  End(ToStatus(engine::Reason::kInternal, "internal error"));
}

void AcquireCall::OnRefused(engine::Refusal refusal) {
  if (Claim()) End(wait_.ToStatus(std::move(refusal)));
}

void AcquireCall::OnCancel() { Leave(grpc::Status::CANCELLED); }

void AcquireCall::EndForShutdown() {
  Leave(ToStatus(engine::Reason::kDraining, "the daemon is stopping; nothing was granted"));
}

// Ends the call without an answer of the plane, and takes it out of the queue. A grant that is on
// its way finds the call claimed and is given back.
void AcquireCall::Leave(const grpc::Status& status) {
  if (!Claim()) return;
  const uint64_t ticket = ticket_.load(std::memory_order_acquire);
  if (ticket != 0) environment_.plane.Cancel(wait_.pool(), ticket);
  End(status);
}

void AcquireCall::End(const grpc::Status& status) {
  environment_.observer.CallEnded(kMethod, CodeName(status.error_code()));
  if (std::this_thread::get_id() == starter_ && is_starting_) {
    answer_ = status;
  } else {
    Finish(status);
  }
}

void AcquireCall::OnDone() {
  if (ticket_.load(std::memory_order_acquire) != 0) environment_.open_calls.Remove(this);
  self_.reset();
}

}  // namespace leaseplane::rpc
