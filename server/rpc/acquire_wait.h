// SPDX-License-Identifier: Apache-2.0
//
// AcquireWait: what an acquire asks of the plane, with its wait cut to fit the call's own deadline.
// The server ends a wait 100 ms before that deadline, so that the caller hears that nothing was
// granted instead of having to guess. Libraries round a deadline up on its way here, by as much as
// a hundredth, so it also ends a hundredth earlier than it would have to.
//
// A value; one call, one thread.
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/status.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "leaseplane/v1/lease_service.pb.h"
#include "server/engine/types.h"
#include "server/rpc/convert.h"

namespace leaseplane::rpc {

inline constexpr int64_t kAnswerBeforeDeadline = 100 * engine::kMillisecond;

class AcquireWait {
 public:
  // Reads the request; `prefix` and `wait_max_ns` as for ReadAcquire. The status if it must not go
  // to the plane: a bad field, or a deadline that has passed.
  std::optional<grpc::Status> Read(const grpc::ServerContextBase& context, std::string principal,
                                   const v1::AcquireLeaseRequest& request, std::string_view prefix,
                                   int64_t wait_max_ns);
  // The same for a call whose caller is known and whose deadline is `remaining_ns` away.
  std::optional<grpc::Status> Read(std::string principal, int64_t remaining_ns,
                                   const v1::AcquireLeaseRequest& request, std::string_view prefix,
                                   int64_t wait_max_ns);

  const std::string& pool() const { return command_.pool; }
  // For the plane; once.
  engine::AcquireRequest TakeRequest() { return std::move(command_.request); }

  // The status of a refusal by the plane.
  grpc::Status ToStatus(engine::Refusal refusal) const;

 private:
  AcquireCommand command_;
  std::string holder_;
  bool is_cut_to_nothing_ = false;  // asked to wait, but the deadline left no time for it
};

}  // namespace leaseplane::rpc
