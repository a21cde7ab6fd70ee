// SPDX-License-Identifier: Apache-2.0
#include "server/rpc/admin_service.h"

#include <string_view>

#include "server/rpc/admin_methods.h"
#include "server/rpc/unary_reply.h"

namespace leaseplane::rpc {
namespace {

// Refuses callers from elsewhere before the request is looked at, so that they learn nothing from
// the answer. `method` is one of admin_methods.h.
template <class Request>
grpc::ServerUnaryReactor* Serve(CallGate& gate, grpc::CallbackServerContext* context,
                                const grpc::ByteBuffer* request, grpc::ByteBuffer* response,
                                std::string_view name,
                                void (*method)(plane::Plane&, const Request&, UnaryReply&)) {
  const CallEnvironment environment = gate.Admit(*context);
  const engine::Reason refusal = environment.guard->AdminServiceRefusal();
  if (refusal != engine::Reason::kNone) {
    UnaryReply denial(context, response, environment.observer, name);
    denial.Fail(refusal, refusal == engine::Reason::kPermissionDenied
                             ? "AdminService does not answer here: use the daemon's Unix socket"
                             : "");
    return denial.reactor();
  }
  return ServeUnary<Request>(context, request, response, environment.observer, name,
                             [&](const Request& message, const UnaryReplyPtr& reply) {
                               method(environment.plane, message, *reply);
                             });
}

}  // namespace

grpc::ServerUnaryReactor* AdminService::CreatePool(Context* context, const Bytes* request,
                                                   Bytes* response) {
  return Serve(gate_, context, request, response, "CreatePool", admin::CreatePool);
}

grpc::ServerUnaryReactor* AdminService::GetPool(Context* context, const Bytes* request,
                                                Bytes* response) {
  return Serve(gate_, context, request, response, "GetPool", admin::GetPool);
}

grpc::ServerUnaryReactor* AdminService::ListPools(Context* context, const Bytes* request,
                                                  Bytes* response) {
  return Serve(gate_, context, request, response, "ListPools", admin::ListPools);
}

grpc::ServerUnaryReactor* AdminService::DeletePool(Context* context, const Bytes* request,
                                                   Bytes* response) {
  return Serve(gate_, context, request, response, "DeletePool", admin::DeletePool);
}

grpc::ServerUnaryReactor* AdminService::DrainPool(Context* context, const Bytes* request,
                                                  Bytes* response) {
  return Serve(gate_, context, request, response, "DrainPool", admin::DrainPool);
}

grpc::ServerUnaryReactor* AdminService::ResumePool(Context* context, const Bytes* request,
                                                   Bytes* response) {
  return Serve(gate_, context, request, response, "ResumePool", admin::ResumePool);
}

grpc::ServerUnaryReactor* AdminService::ListSlots(Context* context, const Bytes* request,
                                                  Bytes* response) {
  return Serve(gate_, context, request, response, "ListSlots", admin::ListSlots);
}

grpc::ServerUnaryReactor* AdminService::LockSlot(Context* context, const Bytes* request,
                                                 Bytes* response) {
  return Serve(gate_, context, request, response, "LockSlot", admin::LockSlot);
}

grpc::ServerUnaryReactor* AdminService::UnlockSlot(Context* context, const Bytes* request,
                                                   Bytes* response) {
  return Serve(gate_, context, request, response, "UnlockSlot", admin::UnlockSlot);
}

grpc::ServerUnaryReactor* AdminService::RevokeLease(Context* context, const Bytes* request,
                                                    Bytes* response) {
  return Serve(gate_, context, request, response, "RevokeLease", admin::RevokeLease);
}

grpc::ServerUnaryReactor* AdminService::ListWaiters(Context* context, const Bytes* request,
                                                    Bytes* response) {
  return Serve(gate_, context, request, response, "ListWaiters", admin::ListWaiters);
}

grpc::ServerUnaryReactor* AdminService::CancelWaiter(Context* context, const Bytes* request,
                                                     Bytes* response) {
  return Serve(gate_, context, request, response, "CancelWaiter", admin::CancelWaiter);
}

}  // namespace leaseplane::rpc
