// SPDX-License-Identifier: Apache-2.0
//
// The one place where a reason of the engine becomes a gRPC status: its code, the name in
// ErrorInfo, and the details that help with it (RetryInfo, BadRequest, QuotaFailure,
// PreconditionFailure, ResourceInfo), packed into grpc-status-details-bin.
//
// Pure functions, any thread.
#pragma once

#include <grpcpp/support/status.h>

#include <string>
#include <string_view>
#include <vector>

#include "leaseplane/v1/lease.pb.h"
#include "server/engine/types.h"

namespace leaseplane::rpc {

inline constexpr std::string_view kErrorDomain = "leaseplane";

// What a request was about, for the details of its refusal.
struct Subject {
  std::string type;    // "leaseplane.v1.Lease"
  std::string name;    // "pools/gpu/leases/..."
  std::string holder;  // "anonymous/worker-7"; for quotas only
};

Subject PoolSubject(std::string_view pool, std::string holder = {});
Subject SlotSubject(std::string_view name);
Subject LeaseSubject(std::string_view name);
Subject WaiterSubject(std::string_view name);

struct FieldViolation {
  std::string field;        // snake_case path, "pool.capacity"
  std::string description;  // what would be valid
};

struct ReasonStatus {
  grpc::StatusCode code = grpc::StatusCode::INTERNAL;
  v1::ErrorReason reason = v1::INTERNAL;
};

// kNone, which is no reason to refuse anything, counts as a fault of the daemon.
ReasonStatus StatusOf(engine::Reason reason);

// The status of a refusal. A kNotFound whose `field` is "pool" or "parent" is about the subject's
// pool, whatever the subject is.
grpc::Status ToStatus(const engine::Refusal& refusal, const Subject& subject);

// INVALID_ARGUMENT naming each field. REQUIRES at least one violation.
grpc::Status InvalidArgument(const std::vector<FieldViolation>& violations);

// A lease that a local process holds is renewed and released by that process alone.
grpc::Status HeldLocally(std::string_view lease_name);

// A refusal that is about nothing in particular.
grpc::Status ToStatus(engine::Reason reason, std::string_view text);

// "OK", "NOT_FOUND"; a literal. "UNKNOWN" for what is no code.
std::string_view CodeName(grpc::StatusCode code);

}  // namespace leaseplane::rpc
