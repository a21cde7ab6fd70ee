// SPDX-License-Identifier: Apache-2.0
//
// Front: one gRPC server of the daemon with its services. The daemon has one for its callers, and a
// second one if administration has an address of its own: within one server a call does not know
// which address it came in by.
//
// Owner: Server. Threads: one at a time. Errors: those of Listen, in words for an operator.
#pragma once

#include <absl/status/status.h>
#include <grpcpp/server.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "server/rpc/admin_service.h"
#include "server/rpc/call_gate.h"
#include "server/rpc/health_reporter.h"
#include "server/rpc/lease_service.h"
#include "server/rpc/open_calls.h"
#include "server/rpc/server.h"
#include "server/rpc/unix_door.h"

namespace leaseplane::rpc {

class Front {
 public:
  // Everything outlives it. Of `options`: what is allowed and how calls are bounded.
  Front(const ServerOptions& options, plane::Plane& plane, CallObserver& observer,
        OpenCalls& open_calls, security::Door tcp_door);
  ~Front();
  Front(const Front&) = delete;
  Front& operator=(const Front&) = delete;

  // `unix_socket_path` may be empty. ALREADY_EXISTS if an address is taken.
  absl::Status Listen(const std::vector<std::string>& tcp_addresses,
                      const std::string& unix_socket_path);
  const std::vector<int>& tcp_ports() const { return tcp_ports_; }

  void BeginDrain() { health_->Drain(); }
  // Waits for the calls to end until `deadline`. Idempotent.
  void Shutdown(std::chrono::system_clock::time_point deadline);

 private:
  void AddTcp(const std::vector<std::string>& addresses, grpc::ServerBuilder* builder);
  std::shared_ptr<grpc::ServerCredentials> MakeTcpCredentials() const;
  absl::Status CheckBound(const std::vector<std::string>& tcp_addresses) const;

  const ServerOptions& options_;
  plane::Plane& plane_;
  CallGate gate_;
  LeaseService lease_service_;
  AdminService admin_service_;

  std::vector<std::shared_ptr<grpc::ServerCredentials>> tcp_credentials_;
  std::vector<int> tcp_ports_;
  UnixDoor unix_door_;
  std::unique_ptr<grpc::Server> server_;  // null before Listen and after Shutdown
  std::shared_ptr<HealthReporter> health_;
};

}  // namespace leaseplane::rpc
