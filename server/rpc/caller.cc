// SPDX-License-Identifier: Apache-2.0
#include "server/rpc/caller.h"

#include <chrono>

#include "server/engine/types.h"

namespace leaseplane::rpc {

std::string PrincipalOf(const grpc::ServerContextBase&) { return "anonymous"; }

bool IsOnUnixSocket(const grpc::ServerContextBase& context) {
  return context.peer().rfind("unix:", 0) == 0;
}

int64_t RemainingNs(const grpc::ServerContextBase& context) {
  using std::chrono::system_clock;
  const system_clock::time_point deadline = context.deadline();
  const system_clock::time_point now = system_clock::now();
  // Without a deadline it is the end of time, from which nothing may be subtracted.
  if (deadline > now + std::chrono::hours(24)) return engine::kNever;
  if (deadline < now - std::chrono::hours(24)) return 0;
  return std::chrono::duration_cast<std::chrono::nanoseconds>(deadline - now).count();
}

}  // namespace leaseplane::rpc
