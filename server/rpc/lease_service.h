// SPDX-License-Identifier: Apache-2.0
//
// LeaseService on top of the plane: checks a request, converts it, calls the plane, finishes the
// call. Nothing here waits; a call that has to is parked in a reactor of its own.
//
// Owner: Server; outlived by the environment. Threads: gRPC's. Requests and replies are bytes here,
// see request_parser.h.
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include "leaseplane/v1/lease_service.grpc.pb.h"
#include "server/rpc/call_gate.h"

namespace leaseplane::rpc {

namespace internal {
// The generated service with every method taking and giving bytes.
template <class Base>
using RawLeaseReads = v1::LeaseService::WithRawCallbackMethod_GetLease<
    v1::LeaseService::WithRawCallbackMethod_ListLeases<
        v1::LeaseService::WithRawCallbackMethod_CheckToken<
            v1::LeaseService::WithRawCallbackMethod_GetServerInfo<Base>>>>;
template <class Base>
using RawLeaseWrites = v1::LeaseService::WithRawCallbackMethod_AcquireLease<
    v1::LeaseService::WithRawCallbackMethod_StreamAcquireLease<
        v1::LeaseService::WithRawCallbackMethod_RenewLease<
            v1::LeaseService::WithRawCallbackMethod_ReleaseLease<
                v1::LeaseService::WithRawCallbackMethod_KeepAlive<
                    v1::LeaseService::WithRawCallbackMethod_LeaseStream<Base>>>>>>;
}  // namespace internal

class LeaseService final
    : public internal::RawLeaseWrites<internal::RawLeaseReads<v1::LeaseService::Service>> {
 public:
  explicit LeaseService(CallGate& gate) : gate_(gate) {}

  using Context = grpc::CallbackServerContext;
  using Bytes = grpc::ByteBuffer;

  grpc::ServerUnaryReactor* AcquireLease(Context* context, const Bytes* request,
                                         Bytes* response) override;
  grpc::ServerWriteReactor<Bytes>* StreamAcquireLease(Context* context,
                                                      const Bytes* request) override;
  grpc::ServerUnaryReactor* RenewLease(Context* context, const Bytes* request,
                                       Bytes* response) override;
  grpc::ServerUnaryReactor* ReleaseLease(Context* context, const Bytes* request,
                                         Bytes* response) override;
  grpc::ServerUnaryReactor* GetLease(Context* context, const Bytes* request,
                                     Bytes* response) override;
  grpc::ServerUnaryReactor* ListLeases(Context* context, const Bytes* request,
                                       Bytes* response) override;
  grpc::ServerBidiReactor<Bytes, Bytes>* KeepAlive(Context* context) override;
  grpc::ServerBidiReactor<Bytes, Bytes>* LeaseStream(Context* context) override;
  grpc::ServerUnaryReactor* CheckToken(Context* context, const Bytes* request,
                                       Bytes* response) override;
  grpc::ServerUnaryReactor* GetServerInfo(Context* context, const Bytes* request,
                                          Bytes* response) override;

 private:
  CallGate& gate_;
};

}  // namespace leaseplane::rpc
