// SPDX-License-Identifier: Apache-2.0
#include "server/rpc/lease_service.h"

#include <string>

#include "server/rpc/acquire_call.h"
#include "server/rpc/convert.h"
#include "server/rpc/keep_alive_call.h"
#include "server/rpc/lease_stream_call.h"
#include "server/rpc/list_leases.h"
#include "server/rpc/stream_acquire_call.h"
#include "server/rpc/unary_reply.h"
#include "server/rpc/validate.h"

namespace leaseplane::rpc {
namespace {

template <class Request>
engine::HolderRef ReadHolder(const Request& request, const LeaseRef& lease, std::string principal,
                             FieldChecks* checks) {
  return {std::move(principal), checks->ClientId("client_id", request.client_id()), lease.id,
          checks->Token("fencing_token", request.fencing_token())};
}

void Renew(const CallEnvironment& environment, const v1::RenewLeaseRequest& request,
           std::string principal, int64_t received_at_ns, const UnaryReplyPtr& reply) {
  FieldChecks checks;
  const LeaseRef lease = checks.Lease("name", request.name());
  const auto holder = ReadHolder(request, lease, std::move(principal), &checks);
  const int64_t ttl_ns = checks.TtlNs("ttl", request.has_ttl(), request.ttl());
  if (!checks.ok()) return reply->Fail(checks.status());
  if (lease.is_local) return reply->Fail(HeldLocally(request.name()));
  environment.plane.Renew(
      lease.pool, holder, ttl_ns, received_at_ns,
      [reply, pool = lease.pool, name = request.name()](plane::Result<engine::RenewResult> result) {
        if (const auto* refusal = std::get_if<engine::Refusal>(&result)) {
          return reply->Fail(ToStatus(*refusal, LeaseSubject(name)));
        }
        reply->Succeed(ToRenewResponse(pool, std::get<engine::RenewResult>(result)));
      });
}

void Release(const CallEnvironment& environment, const v1::ReleaseLeaseRequest& request,
             std::string principal, const UnaryReplyPtr& reply) {
  FieldChecks checks;
  const LeaseRef lease = checks.Lease("name", request.name());
  const auto holder = ReadHolder(request, lease, std::move(principal), &checks);
  if (!checks.ok()) return reply->Fail(checks.status());
  if (lease.is_local) return reply->Fail(HeldLocally(request.name()));
  environment.plane.Release(lease.pool, holder, request.allow_missing(),
                            [reply, name = request.name()](plane::Result<plane::Done> result) {
                              if (const auto* refusal = std::get_if<engine::Refusal>(&result)) {
                                return reply->Fail(ToStatus(*refusal, LeaseSubject(name)));
                              }
                              reply->Succeed(v1::ReleaseLeaseResponse());
                            });
}

void Get(plane::Plane& plane, const v1::GetLeaseRequest& request, const UnaryReplyPtr& reply) {
  FieldChecks checks;
  const LeaseRef lease = checks.Lease("name", request.name());
  if (!checks.ok()) return reply->Fail(checks.status());
  const auto result = lease.is_local ? plane.GetLocalLease(lease.pool, lease.slot, lease.token)
                                     : plane.GetLease(lease.pool, lease.id);
  if (const auto* refusal = std::get_if<engine::Refusal>(&result)) {
    return reply->Fail(ToStatus(*refusal, LeaseSubject(request.name())));
  }
  reply->Succeed(ToLease(lease.pool, std::get<engine::LeaseInfo>(result)));
}

void Check(plane::Plane& plane, const v1::CheckTokenRequest& request, const UnaryReplyPtr& reply) {
  FieldChecks checks;
  const SlotRef slot = checks.Slot("name", request.name());
  const FencingToken token = checks.Token("fencing_token", request.fencing_token());
  if (!checks.ok()) return reply->Fail(checks.status());
  const auto result = plane.CheckToken(slot.pool, slot.slot, token);
  if (const auto* refusal = std::get_if<engine::Refusal>(&result)) {
    return reply->Fail(ToStatus(*refusal, SlotSubject(request.name())));
  }
  const auto& check = std::get<engine::TokenCheck>(result);
  v1::CheckTokenResponse response;
  response.set_valid(check.valid);
  response.set_current_fencing_token(check.current_token);
  response.set_state(ToSlotState(check.state));
  reply->Succeed(response);
}

void Describe(plane::Plane& plane, const v1::GetServerInfoRequest& request,
              const UnaryReplyPtr& reply) {
  v1::GetServerInfoResponse response = ToServerInfo(plane.Info(), plane.readiness());
  if (!request.pool().empty()) {
    FieldChecks checks;
    const std::string pool = checks.Pool("pool", request.pool());
    if (!checks.ok()) return reply->Fail(checks.status());
    const auto result = plane.GetPool(pool);
    if (const auto* refusal = std::get_if<engine::Refusal>(&result)) {
      return reply->Fail(ToStatus(*refusal, PoolSubject(pool)));
    }
    *response.mutable_pool() = ToPool(std::get<plane::PoolInfo>(result));
    // Who holds and who waits is for operators.
    response.mutable_pool()->clear_counts();
    response.mutable_pool()->clear_epoch();
    response.mutable_pool()->clear_labels();
  }
  reply->Succeed(response);
}

}  // namespace

grpc::ServerUnaryReactor* LeaseService::AcquireLease(Context* context, const Bytes* request,
                                                     Bytes* response) {
  return AcquireCall::Start(context, request, response, gate_.Admit(*context));
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* LeaseService::StreamAcquireLease(Context* context,
                                                                             const Bytes* request) {
  return StreamAcquireCall::Start(context, request, gate_.Admit(*context));
}

grpc::ServerUnaryReactor* LeaseService::RenewLease(Context* context, const Bytes* request,
                                                   Bytes* response) {
  const CallEnvironment environment = gate_.Admit(*context);
  const int64_t received_at_ns = environment.plane.NowNs();
  return ServeUnary<v1::RenewLeaseRequest>(
      context, request, response, environment.observer, "RenewLease",
      [&](const auto& message, const UnaryReplyPtr& reply) {
        Renew(environment, message, environment.principal(), received_at_ns, reply);
      });
}

grpc::ServerUnaryReactor* LeaseService::ReleaseLease(Context* context, const Bytes* request,
                                                     Bytes* response) {
  const CallEnvironment environment = gate_.Admit(*context);
  return ServeUnary<v1::ReleaseLeaseRequest>(
      context, request, response, environment.observer, "ReleaseLease",
      [&](const auto& message, const UnaryReplyPtr& reply) {
        Release(environment, message, environment.principal(), reply);
      });
}

grpc::ServerUnaryReactor* LeaseService::GetLease(Context* context, const Bytes* request,
                                                 Bytes* response) {
  const CallEnvironment environment = gate_.Admit(*context);
  return ServeUnary<v1::GetLeaseRequest>(context, request, response, environment.observer,
                                         "GetLease",
                                         [&](const auto& message, const UnaryReplyPtr& reply) {
                                           Get(environment.plane, message, reply);
                                         });
}

grpc::ServerUnaryReactor* LeaseService::ListLeases(Context* context, const Bytes* request,
                                                   Bytes* response) {
  const CallEnvironment environment = gate_.Admit(*context);
  return ServeUnary<v1::ListLeasesRequest>(context, request, response, environment.observer,
                                           "ListLeases",
                                           [&](const auto& message, const UnaryReplyPtr& reply) {
                                             rpc::ListLeases(environment.plane, message, reply);
                                           });
}

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* LeaseService::KeepAlive(
    Context* context) {
  return KeepAliveCall::Start(gate_.Admit(*context));
}

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* LeaseService::LeaseStream(
    Context* context) {
  return LeaseStreamCall::Start(context, gate_.Admit(*context));
}

grpc::ServerUnaryReactor* LeaseService::CheckToken(Context* context, const Bytes* request,
                                                   Bytes* response) {
  const CallEnvironment environment = gate_.Admit(*context);
  return ServeUnary<v1::CheckTokenRequest>(context, request, response, environment.observer,
                                           "CheckToken",
                                           [&](const auto& message, const UnaryReplyPtr& reply) {
                                             Check(environment.plane, message, reply);
                                           });
}

grpc::ServerUnaryReactor* LeaseService::GetServerInfo(Context* context, const Bytes* request,
                                                      Bytes* response) {
  const CallEnvironment environment = gate_.Admit(*context);
  return ServeUnary<v1::GetServerInfoRequest>(
      context, request, response, environment.observer, "GetServerInfo",
      [&](const auto& message, const UnaryReplyPtr& reply) {
        if (!environment.guard->is_known()) {
          return reply->Fail(engine::Reason::kUnauthenticated, "");
        }
        Describe(environment.plane, message, reply);
      });
}

}  // namespace leaseplane::rpc
