// SPDX-License-Identifier: Apache-2.0
//
// StreamOutbox: the results of one LeaseStream that have not been handed to gRPC yet, gathered into
// as few messages as their number allows.
//
// Owner: the stream's call; not thread-safe, the call's lock guards it. Memory: what `bytes` says
// and about as much again. Cost: no allocation for a result but for text that does not fit into
// itself, one for each message.
#pragma once

#include <google/protobuf/arena.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/status.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "leaseplane/v1/lease_service.pb.h"
#include "server/engine/types.h"
#include "server/rpc/held_leases.h"

namespace leaseplane::rpc {

class StreamOutbox {
 public:
  static constexpr int kResultsMax = 256;  // in one message

  void AddAcquired(int64_t sequence, const std::string& pool, const engine::Grant& grant);
  void AddRenewed(int64_t sequence, const engine::RenewResult& renewed);
  void AddReleased(int64_t sequence);
  // REQUIRES !status.ok().
  void AddError(int64_t sequence, const grpc::Status& status);
  // Goes out with the next message.
  void AddDraining();

  bool empty() const { return batches_.empty(); }
  size_t result_count() const { return result_count_; }
  size_t bytes() const { return bytes_; }  // about, of all results

  // The oldest message, off the outbox. REQUIRES !empty().
  grpc::ByteBuffer TakeFirst();
  // Empties the outbox; what had been granted in it, and so was never told to anybody.
  std::vector<HeldLease> Clear();

 private:
  struct Batch {
    google::protobuf::Arena arena;
    v1::LeaseStreamResponse* message =
        google::protobuf::Arena::CreateMessage<v1::LeaseStreamResponse>(&arena);
    size_t bytes = 0;
    std::vector<HeldLease> granted;
  };

  Batch& Back();
  v1::LeaseStreamResponse::Result* Add(int64_t sequence, size_t bytes);

  std::deque<std::unique_ptr<Batch>> batches_;
  size_t result_count_ = 0;
  size_t bytes_ = 0;
};

}  // namespace leaseplane::rpc
