// SPDX-License-Identifier: Apache-2.0
//
// Who calls, from where, and how long it will wait: what the rpc layer reads from a call's context.
//
// Pure functions on a context that is alive, any thread.
#pragma once

#include <grpcpp/server_context.h>

#include <cstdint>
#include <string>

#include "server/security/access.h"
#include "server/security/tokens.h"

namespace leaseplane::rpc {

struct Caller {
  std::string principal;  // empty: nobody, although somebody is asked for
  std::string holder;     // the principal as leases have it, see security::HolderPrincipal
  security::Door door = security::Door::kTcp;
};

// Where the peer's user id stands in the context of a connection over the Unix socket.
inline constexpr char kUidProperty[] = "leaseplane_uid";

// Who a call comes from: the owner of its bearer token, if there are `tokens`; else, on the Unix
// socket, the user; else the first URI of the client's certificate, its first DNS name, its common
// name; else, unless `needs_identity`, anonymous. A token that is not known makes it nobody.
Caller IdentifyCaller(const grpc::ServerContextBase& context, security::Door tcp_door,
                      const security::TokenTable* tokens, bool needs_identity);

// The call came over the daemon's Unix socket.
bool IsOnUnixSocket(const grpc::ServerContextBase& context);

// Nanoseconds until the caller's deadline: 0 or less if it has passed, kNever if it set none or one
// further away than a day.
int64_t RemainingNs(const grpc::ServerContextBase& context);

}  // namespace leaseplane::rpc
