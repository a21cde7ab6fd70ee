// SPDX-License-Identifier: Apache-2.0
//
// LeaseStreamCall::Acquire: one acquire of a LeaseStream, from its beginning until the plane has
// answered it. Shared by the plane and, while it waits, by the call. For the two files that make up
// LeaseStreamCall.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>

#include "server/rpc/acquire_wait.h"
#include "server/rpc/lease_stream_call.h"

namespace leaseplane::rpc {

class LeaseStreamCall::Acquire final : public plane::AcquireListener {
 public:
  Acquire(std::shared_ptr<LeaseStreamCall> call, int64_t sequence_in)
      : sequence(sequence_in), call_(std::move(call)) {}

  void OnGranted(engine::Grant grant) override;
  void OnRefused(engine::Refusal refusal) override;

  const int64_t sequence;
  AcquireWait wait;  // written before the plane knows of it
  // Guarded by the call's mutex.
  uint64_t ticket = 0;
  bool is_answered = false;

 private:
  const std::shared_ptr<LeaseStreamCall> call_;
};

}  // namespace leaseplane::rpc
