// SPDX-License-Identifier: Apache-2.0
//
// Server: the daemon's gRPC side. Listens on TCP addresses and on one Unix socket; serves
// LeaseService, AdminService, grpc.health.v1 and reflection. Who may do what is the access policy's
// to say; without rules AdminService answers on the Unix socket and on addresses of its own only.
//
// Owner: the composition root. The plane and the observer must outlive it. Block signals that the
// daemon handles before the first Start: the library's threads inherit the mask of that moment.
// Threads: one thread at a time. Errors: those of Start, in words for an operator.
//
// Stopping, in this order, each step of the caller's choosing:
//   BeginDrain()         health says NOT_SERVING; calls are still served
//   (the plane drains: refuses waiters and new grants, tells the streams)
//   Shutdown(grace)      ends what is still open with UNAVAILABLE / DRAINING, waits at most `grace`
//   for
//                        callers to take their answers, cuts the rest
// After Shutdown nothing calls the plane or the observer any more.
#pragma once

#include <absl/status/statusor.h>
#include <absl/time/time.h>

#include <memory>
#include <string>
#include <vector>

#include "server/plane/plane.h"
#include "server/rpc/call_observer.h"
#include "server/security/access.h"
#include "server/security/credentials_watch.h"

namespace leaseplane::rpc {

struct ServerOptions {
  // "127.0.0.1:7070", "[::1]:0"; port 0 picks a free one. May be empty.
  std::vector<std::string> tcp_addresses;
  // As tcp_addresses; AdminService answers there.
  std::vector<std::string> admin_tcp_addresses;
  // Absolute; may be empty.
  std::string unix_socket_path;
  // Calls that one connection may have open.
  int concurrent_streams_max = 10'000;
  security::AccessPolicy access;
  // TLS for all TCP addresses, and tokens; null: neither. Outlives the server.
  const security::CredentialsWatch* credentials = nullptr;
};

class Server {
 public:
  // Binds every address and begins to serve. ALREADY_EXISTS if an address is taken.
  static absl::StatusOr<std::unique_ptr<Server>> Start(const ServerOptions& options,
                                                       plane::Plane& plane, CallObserver& observer);
  virtual ~Server() = default;

  // One a TCP address, in the order of the options, those for administration last.
  virtual const std::vector<int>& tcp_ports() const = 0;
  // Calls that wait for a slot, and KeepAlive streams.
  virtual size_t open_call_count() const = 0;

  virtual void BeginDrain() = 0;
  // Idempotent; the destructor does it without grace.
  virtual void Shutdown(absl::Duration grace) = 0;
};

}  // namespace leaseplane::rpc
