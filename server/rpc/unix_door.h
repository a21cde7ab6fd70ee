// SPDX-License-Identifier: Apache-2.0
//
// UnixDoor: the Unix socket of a gRPC server, which tells who is on the other end. gRPC itself does
// not: so connections are accepted here, the kernel is asked for the peer's user, and the
// connection goes to one of the server's acceptors that is that user's alone. Its credentials
// write the user into the context of each connection (kUidProperty).
//
// Owner: a front. Use: Open, AddTo the builder, build, Start; Stop before the server goes.
// Threads: one of its own accepts. Limit: kUsersMax different users; who comes later is turned away
// with a line in the log, until the daemon's worker starts anew.
#pragma once

#include <absl/container/flat_hash_map.h>
#include <absl/status/status.h>
#include <grpcpp/server_builder.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "core/base/unique_fd.h"
#include "server/obs/log.h"
#include "server/rpc/unix_socket_path.h"

namespace leaseplane::rpc {

class UnixDoor {
 public:
  static constexpr size_t kUsersMax = 256;

  UnixDoor() = default;
  ~UnixDoor() { Stop(); }
  UnixDoor(const UnixDoor&) = delete;
  UnixDoor& operator=(const UnixDoor&) = delete;

  // Claims the path, binds with mode 0660 and listens. Errors as UnixSocketPath::Claim.
  absl::Status Open(const std::string& path);
  void AddTo(grpc::ServerBuilder* builder);
  // REQUIRES that the builder has built its server.
  void Start();
  // Nothing is accepted any more; the path is free. Idempotent.
  void Stop();

 private:
  class Mark;  // the credentials' processor of one acceptor
  struct Acceptor {
    std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> acceptor;
    std::shared_ptr<Mark> mark;
  };

  void Run();
  void Accept();
  // The acceptor of a user, null if there is none left.
  Acceptor* AcceptorOf(uint32_t uid);

  std::optional<UnixSocketPath> path_;
  UniqueFd listener_, stop_;
  std::vector<Acceptor> acceptors_;
  // Of the accepting thread.
  absl::flat_hash_map<uint32_t, size_t> acceptor_of_uid_;
  obs::RateLimit refusal_log_{10'000'000'000};
  std::thread thread_;
};

}  // namespace leaseplane::rpc
