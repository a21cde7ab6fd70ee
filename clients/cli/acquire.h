// SPDX-License-Identifier: Apache-2.0
//
// AcquireLease over gRPC with any wait: calls of at most 50 s, chained by one request_id so that
// the place in the queue is kept.
//
// Threads: one; blocks. Errors: as AcquireLease, and kInvalidArgument for a bad pool name.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "clients/cli/stub.h"

namespace leaseplane::cli {

struct AcquireArguments {
  std::string pool;
  absl::Duration wait = absl::ZeroDuration();
  absl::Duration ttl = absl::ZeroDuration();  // zero: the pool's default
  std::string client_id = "leasectl";
  std::string request_id;  // empty: a fresh one
};

absl::StatusOr<v1::AcquireLeaseResponse> AcquireLease(Daemon& daemon,
                                                      const AcquireArguments& arguments);

}  // namespace leaseplane::cli
