// SPDX-License-Identifier: Apache-2.0
//
// StreamAcquireCall: one StreamAcquireLease call. Tells the caller where in the queue it is, at the
// begin, when that changes and at least every 10 s, until it is granted or refused.
//
// Owner: itself, from Start until OnDone; the plane and the timer share it while they may call.
// Threads: any; mutex_ decides what is next, and is never held while the plane is called. One write
// is under way at most; a newer position replaces one that has not been written. Not promised: as
// for AcquireCall.
#pragma once

#include <absl/base/thread_annotations.h>
#include <absl/synchronization/mutex.h>
#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <cstdint>
#include <memory>
#include <optional>

#include "server/plane/plane.h"
#include "server/rpc/acquire_wait.h"
#include "server/rpc/call_environment.h"
#include "server/rpc/one_shot_timer.h"
#include "server/rpc/open_calls.h"

namespace leaseplane::rpc {

class StreamAcquireCall final : public grpc::ServerWriteReactor<grpc::ByteBuffer>,
                                public plane::AcquireListener,
                                public OpenCall,
                                public std::enable_shared_from_this<StreamAcquireCall> {
 public:
  static grpc::ServerWriteReactor<grpc::ByteBuffer>* Start(grpc::CallbackServerContext* context,
                                                           const grpc::ByteBuffer* bytes,
                                                           const CallEnvironment& environment);

  StreamAcquireCall(grpc::CallbackServerContext* context, const CallEnvironment& environment);

  // plane::AcquireListener
  void OnGranted(engine::Grant grant) override;
  void OnRefused(engine::Refusal refusal) override;
  // grpc::ServerWriteReactor
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;
  // OpenCall
  void EndForShutdown() override;

 private:
  enum class Phase {
    kWaiting,   // the plane may still answer
    kAnswered,  // the last message or status is decided, a write is under way
    kEnded,     // Finish has been called
  };

  void Begin(const grpc::ByteBuffer& bytes);
  void Park(uint64_t ticket);
  void Tick();
  // Writes the position if it is news.
  void Tell(const engine::QueueState& state);
  void ArmTimer(uint32_t position) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Ends at once, because nobody listens any more or the call never began; gives back what was
  // granted and not yet sent.
  void Leave(const grpc::Status& status);

  void Write(const grpc::ByteBuffer& message) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Answer() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void End(const grpc::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  grpc::CallbackServerContext* const context_;
  const CallEnvironment environment_;

  // Written by Begin, before anybody else knows of the call.
  AcquireWait wait_;
  int64_t received_at_ns_ = 0;

  absl::Mutex mutex_;
  Phase phase_ ABSL_GUARDED_BY(mutex_) = Phase::kWaiting;
  uint64_t ticket_ ABSL_GUARDED_BY(mutex_) = 0;  // 0 until parked
  bool is_writing_ ABSL_GUARDED_BY(mutex_) = false;
  grpc::ByteBuffer in_flight_ ABSL_GUARDED_BY(mutex_);
  std::optional<grpc::ByteBuffer> next_position_ ABSL_GUARDED_BY(mutex_);
  std::optional<engine::Grant> grant_ ABSL_GUARDED_BY(mutex_);
  grpc::Status status_ ABSL_GUARDED_BY(mutex_);
  uint32_t told_position_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t told_at_ns_ ABSL_GUARDED_BY(mutex_) = 0;
  OneShotTimer timer_ ABSL_GUARDED_BY(mutex_);
  std::shared_ptr<StreamAcquireCall> self_;
};

}  // namespace leaseplane::rpc
