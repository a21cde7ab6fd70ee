// SPDX-License-Identifier: Apache-2.0
//
// LeaseStreamCall: one LeaseStream. Begins each operation as it comes, gathers the results, and
// writes what has gathered whenever the write before is done. No thread waits with an acquire.
//
// Owner: itself, from Start until OnDone; operations under way share it.
// Threads: any; mutex_ is never held while the plane is called. One read and one write are under
// way at most. Memory: bounded by kOutstandingMax and kUnsentBytesMax; a client beyond them is
// sent RESOURCE_EXHAUSTED, and cut off if it does not even take that within kEndPatience.
// Not promised: that a result reaches the client; grants that were not handed to gRPC are given
// back, for the others request_id, ttl and release_on_disconnect are the net.
#pragma once

#include <absl/base/thread_annotations.h>
#include <absl/container/flat_hash_set.h>
#include <absl/synchronization/mutex.h>
#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "leaseplane/v1/lease_service.pb.h"
#include "server/plane/plane.h"
#include "server/rpc/call_environment.h"
#include "server/rpc/held_leases.h"
#include "server/rpc/one_shot_timer.h"
#include "server/rpc/open_calls.h"
#include "server/rpc/resource_name.h"
#include "server/rpc/stream_outbox.h"

namespace leaseplane::rpc {

class LeaseStreamCall final : public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>,
                              public plane::LeaseWatcher,
                              public OpenCall,
                              public std::enable_shared_from_this<LeaseStreamCall> {
 public:
  static constexpr int kOperationsMax = 256;       // in one message
  static constexpr size_t kOutstandingMax = 8192;  // begun, and not handed to gRPC as a result
  static constexpr size_t kUnsentBytesMax = 1 << 20;
  static constexpr int64_t kEndPatience = 5 * engine::kSecond;

  static grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* Start(
      grpc::CallbackServerContext* context, const CallEnvironment& environment);

  LeaseStreamCall(grpc::CallbackServerContext* context, const CallEnvironment& environment);

  // plane::LeaseWatcher; of a stream's leases nobody is told here
  void OnLost(const std::string&, const engine::LeaseId&, engine::Reason) override {}
  void OnRevokeRequested(const std::string&, const engine::LeaseId&, int64_t) override {}
  void OnDraining() override;
  // grpc::ServerBidiReactor
  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;
  // OpenCall
  void EndForShutdown() override;

 private:
  using Operation = v1::LeaseStreamRequest::Operation;
  class Acquire;
  using AcquirePtr = std::shared_ptr<Acquire>;

  // What a stream that ended leaves to be done, without its lock.
  struct Leftovers {
    std::vector<std::pair<std::string, uint64_t>> waits;  // pool and ticket
    std::vector<HeldLease> ungiven;                       // granted, and nobody was told
    std::vector<HeldLease> held;                          // to release
  };

  // -- lease_stream_operations.cc: one operation, from the message to its result
  void Begin(Operation& operation, int64_t received_at_ns);
  void BeginAcquire(Operation& operation, int64_t received_at_ns);
  void BeginRenew(const Operation& operation, int64_t received_at_ns);
  void BeginRelease(const Operation& operation);
  bool HasRoomToHold();
  bool IsLeaseAlive(const HeldLease& lease) const;
  engine::HolderRef HolderOf(const HeldLease& lease) const;
  void OnGranted(Acquire* acquire, const engine::Grant& grant);
  void OnRefused(Acquire* acquire, engine::Refusal refusal);
  void OnRenewed(int64_t sequence, const std::string& name,
                 const plane::Result<engine::RenewResult>& result);
  void OnReleased(int64_t sequence, const std::string& name, const engine::LeaseId& id,
                  const plane::Result<plane::Done>& result);
  void Answer(int64_t sequence, const grpc::Status& error);

  // -- lease_stream_call.cc: the stream
  void HandleMessage();
  bool AcceptTerms(const v1::LeaseStreamRequest& request);
  bool TakeOn(int operation_count);
  void ReadMore() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Ends the stream once what waits to be written is out.
  void Close(const grpc::Status& status);
  void GiveBack(Leftovers leftovers);
  void SetEndTimer() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Proceed() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);  // writes, or ends, what can be
  void End(const grpc::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Leftovers TakeLeftovers() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const CallEnvironment environment_;
  const std::string principal_;
  const int64_t ends_at_ns_;  // the stream's deadline; kNever: none

  // Of the one reaction to reads.
  grpc::ByteBuffer incoming_;
  std::string client_id_;
  bool releases_at_end_ = false;
  bool has_terms_ = false;
  int64_t pruned_at_ns_ = 0;

  absl::Mutex context_mutex_;  // never together with mutex_
  grpc::CallbackServerContext* context_ ABSL_GUARDED_BY(context_mutex_);  // null: done

  absl::Mutex mutex_;
  bool is_ended_ ABSL_GUARDED_BY(mutex_) = false;  // Finish has been called
  bool is_reading_ ABSL_GUARDED_BY(mutex_) = false;
  bool has_read_all_ ABSL_GUARDED_BY(mutex_) = false;
  bool is_gathering_ ABSL_GUARDED_BY(mutex_) = false;  // a message is handled: write after it
  bool is_writing_ ABSL_GUARDED_BY(mutex_) = false;
  size_t begun_count_ ABSL_GUARDED_BY(mutex_) = 0;  // operations that have no result yet
  std::optional<grpc::Status> closing_ ABSL_GUARDED_BY(mutex_);
  grpc::ByteBuffer in_flight_ ABSL_GUARDED_BY(mutex_);
  StreamOutbox outbox_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_set<AcquirePtr> waits_ ABSL_GUARDED_BY(mutex_);
  HeldLeases held_ ABSL_GUARDED_BY(mutex_);
  bool keeps_held_ ABSL_GUARDED_BY(mutex_) = false;  // the daemon itself ends the stream
  Leftovers leftovers_ ABSL_GUARDED_BY(mutex_);
  OneShotTimer end_timer_ ABSL_GUARDED_BY(mutex_);
  std::shared_ptr<LeaseStreamCall> self_;
};

}  // namespace leaseplane::rpc
