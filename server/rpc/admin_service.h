// SPDX-License-Identifier: Apache-2.0
//
// AdminService on top of the plane. Without access rules it answers on the Unix socket, whose file
// mode decides who may open it, and on addresses of its own; with rules those decide.
//
// Owner: a front; outlived by the gate. Threads: gRPC's. Requests and replies are bytes here,
// see request_parser.h.
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include "leaseplane/v1/admin_service.grpc.pb.h"
#include "server/rpc/call_gate.h"

namespace leaseplane::rpc {

namespace internal {
// The generated service with every method taking and giving bytes.
template <class Base>
using RawPoolMethods = v1::AdminService::WithRawCallbackMethod_CreatePool<
    v1::AdminService::WithRawCallbackMethod_GetPool<
        v1::AdminService::WithRawCallbackMethod_ListPools<
            v1::AdminService::WithRawCallbackMethod_DeletePool<Base>>>>;
template <class Base>
using RawDrainMethods = v1::AdminService::WithRawCallbackMethod_DrainPool<
    v1::AdminService::WithRawCallbackMethod_ResumePool<Base>>;
template <class Base>
using RawSlotMethods = v1::AdminService::WithRawCallbackMethod_ListSlots<
    v1::AdminService::WithRawCallbackMethod_LockSlot<
        v1::AdminService::WithRawCallbackMethod_UnlockSlot<Base>>>;
template <class Base>
using RawHolderMethods = v1::AdminService::WithRawCallbackMethod_RevokeLease<
    v1::AdminService::WithRawCallbackMethod_ListWaiters<
        v1::AdminService::WithRawCallbackMethod_CancelWaiter<Base>>>;
}  // namespace internal

class AdminService final
    : public internal::RawPoolMethods<internal::RawDrainMethods<
          internal::RawSlotMethods<internal::RawHolderMethods<v1::AdminService::Service>>>> {
 public:
  explicit AdminService(CallGate& gate) : gate_(gate) {}

  using Context = grpc::CallbackServerContext;
  using Bytes = grpc::ByteBuffer;
  using Reactor = grpc::ServerUnaryReactor;

  Reactor* CreatePool(Context* context, const Bytes* request, Bytes* response) override;
  Reactor* GetPool(Context* context, const Bytes* request, Bytes* response) override;
  Reactor* ListPools(Context* context, const Bytes* request, Bytes* response) override;
  Reactor* DeletePool(Context* context, const Bytes* request, Bytes* response) override;
  Reactor* DrainPool(Context* context, const Bytes* request, Bytes* response) override;
  Reactor* ResumePool(Context* context, const Bytes* request, Bytes* response) override;
  Reactor* ListSlots(Context* context, const Bytes* request, Bytes* response) override;
  Reactor* LockSlot(Context* context, const Bytes* request, Bytes* response) override;
  Reactor* UnlockSlot(Context* context, const Bytes* request, Bytes* response) override;
  Reactor* RevokeLease(Context* context, const Bytes* request, Bytes* response) override;
  Reactor* ListWaiters(Context* context, const Bytes* request, Bytes* response) override;
  Reactor* CancelWaiter(Context* context, const Bytes* request, Bytes* response) override;

 private:
  CallGate& gate_;
};

}  // namespace leaseplane::rpc
