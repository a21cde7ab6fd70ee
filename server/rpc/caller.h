// SPDX-License-Identifier: Apache-2.0
//
// Who calls, from where, and how long it will wait: what the rpc layer reads from a call's context.
//
// Pure functions on a context that is alive, any thread.
#pragma once

#include <grpcpp/server_context.h>

#include <cstdint>
#include <string>

namespace leaseplane::rpc {

// "anonymous": gRPC without credentials establishes nobody, on either kind of socket.
std::string PrincipalOf(const grpc::ServerContextBase& context);

// The call came over the daemon's Unix socket.
bool IsOnUnixSocket(const grpc::ServerContextBase& context);

// Nanoseconds until the caller's deadline: 0 or less if it has passed, kNever if it set none or one
// further away than a day.
int64_t RemainingNs(const grpc::ServerContextBase& context);

}  // namespace leaseplane::rpc
