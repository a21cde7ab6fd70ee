// SPDX-License-Identifier: Apache-2.0
//
// AcquireCall: one AcquireLease call, from its arrival until it is answered; parked while it waits
// in a pool's queue. No thread waits with it.
//
// Owner: itself, from Start until OnDone; the plane shares it while it may still answer.
// Threads: the plane, gRPC (cancellation) and the shutdown may all want to end it at the same time;
// whoever claims it first finishes it, the others do nothing, except that a grant that comes too
// late is given back. Not promised: that a granted lease reaches the caller; request_id and ttl are
// the net for that.
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "server/plane/plane.h"
#include "server/rpc/acquire_wait.h"
#include "server/rpc/call_environment.h"
#include "server/rpc/open_calls.h"

namespace leaseplane::rpc {

class AcquireCall final : public grpc::ServerUnaryReactor,
                          public plane::AcquireListener,
                          public OpenCall,
                          public std::enable_shared_from_this<AcquireCall> {
 public:
  static grpc::ServerUnaryReactor* Start(grpc::CallbackServerContext* context,
                                         const grpc::ByteBuffer* bytes, grpc::ByteBuffer* response,
                                         const CallEnvironment& environment);

  AcquireCall(grpc::CallbackServerContext* context, grpc::ByteBuffer* response,
              const CallEnvironment& environment);

  // plane::AcquireListener
  void OnGranted(engine::Grant grant) override;
  void OnRefused(engine::Refusal refusal) override;
  // grpc::ServerUnaryReactor
  void OnCancel() override;
  void OnDone() override;
  // OpenCall
  void EndForShutdown() override;

 private:
  void Begin(const grpc::ByteBuffer& bytes);
  void Park(uint64_t ticket);
  void Leave(const grpc::Status& status);

  // True for one caller only, who then must call End and may touch context_ and response_ before.
  bool Claim() { return !is_claimed_.exchange(true, std::memory_order_acq_rel); }
  void End(const grpc::Status& status);

  grpc::CallbackServerContext* const context_;
  grpc::ByteBuffer* const response_;
  const CallEnvironment environment_;

  // Written by Begin, before the plane or gRPC can know of the call.
  AcquireWait wait_;

  // Of the thread that runs Start, and touched by it alone. gRPC ends its own reactor without going
  // to another thread, so a call that is answered at once is answered by that.
  const std::thread::id starter_ = std::this_thread::get_id();
  bool is_starting_ = true;
  std::optional<grpc::Status> answer_;  // if there was one before Start returned

  std::atomic<bool> is_claimed_{false};
  std::atomic<uint64_t> ticket_{0};  // 0 until parked
  std::shared_ptr<AcquireCall> self_;
};

}  // namespace leaseplane::rpc
