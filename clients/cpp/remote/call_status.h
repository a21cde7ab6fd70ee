// SPDX-License-Identifier: Apache-2.0
//
// From gRPC's status, with the details the daemon attaches, to the status this library returns.
// Pure functions; any thread.
#pragma once

#include <cstdint>
#include <string>

#include <google/protobuf/duration.pb.h>
#include <grpcpp/support/status.h>

#include "absl/status/status.h"
#include "leaseplane/status.h"

namespace leaseplane::internal {

// Reason from google.rpc.ErrorInfo (domain "leaseplane") in grpc-status-details-bin; without one:
// kUnreachable for UNAVAILABLE, kOutcomeUnknown for DEADLINE_EXCEEDED and CANCELLED, else
// kInternal.
absl::Status ToStatus(const grpc::Status& status);

// The call did not reach a decision, so the same request may be sent again.
bool IsTransient(const absl::Status& status);

// The daemon may have carried the call out although it failed.
bool IsOutcomeUnknown(const absl::Status& status);

// The last part of a resource name: "gpu" of "pools/gpu".
std::string PoolIdOf(const std::string& pool_name);

int64_t ToNs(const google::protobuf::Duration& duration);
void SetNs(int64_t ns, google::protobuf::Duration* duration);

}  // namespace leaseplane::internal
