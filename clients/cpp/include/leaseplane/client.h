// SPDX-License-Identifier: Apache-2.0
//
// Client: a connection to one daemon, the authority of its pools. Start here:
//
//   auto client = leaseplane::Client::Connect();              // or "unix:///run/...",
//   "dns:///h:7070" if (!client.ok()) return client.status(); auto pool = client->OpenPool("gpu");
//   if (leaseplane::Lease lease = pool->TryAcquire()) Work(lease.slot(), lease.token());
//
// Two libraries offer it. leaseplane::local knows shared memory only and links no gRPC;
// leaseplane::client adds the remote path to the same classes. Nothing else differs.
//
// Targets:
//   ""                        the environment variable LEASEPLANE_SERVER, else
//                             unix:///run/leaseplane/leaseplane.sock
//   unix:PATH, unix:///PATH   the daemon's Unix socket. Shared memory if the attach is allowed,
//   else
//                             gRPC on the same socket
//   dns:HOST:PORT, ipv4:..., ipv6:..., HOST:PORT
//                             gRPC; shared memory if the daemon of this host turns out to be the
//                             same one (same instance_id)
//
// Ownership: a copyable handle. Copies, and the Pools opened, share one connection, which ends with
// the last of them; local leases that are still held end with it. Clients of one process with the
// same Unix socket and liveness share one session with the daemon.
// Threads: all methods, from any thread.
// Errors: absl::Status with a Reason (leaseplane/status.h).
// fork(): in the child, everything made before says kOtherProcess, holds nothing and releases
// nothing; connect anew there. exec(): ends a kProcess session.
// Restarts: a restart of the daemon's worker is not noticed on the local path. When the whole
// daemon is replaced, the library attaches to the new one by itself and claims the leases that are
// held; those that it does not get back are reported by on_lost.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "leaseplane/lease.h"
#include "leaseplane/lost_lease.h"
#include "leaseplane/options.h"
#include "leaseplane/pool.h"
#include "leaseplane/status.h"

namespace leaseplane {

class Client {
 public:
  // Connects within options.connect_timeout. Reasons: kInvalidArgument (target, options),
  // kUnreachable, kNoLocalPath, kNoRemotePath, kUntrustedServer, kAbiMismatch (local library only).
  static absl::StatusOr<Client> Connect(std::string_view target = {}, ClientOptions options = {});

  // Opens a pool by its id, within connect_timeout. Opening one again is cheap. Reasons: kNotFound,
  // kPermissionDenied (the local path is refused and there is no other), kUnreachable,
  // kNoLocalPath, kOtherProcess.
  absl::StatusOr<Pool> OpenPool(std::string_view name) const;

  // How pools are reached unless they say otherwise (Pool::path).
  Path path() const;
  // Why it is that path, one sentence for people: "the daemon's shared memory has version 2".
  std::string path_reason() const;

  // As connected to, with the defaults filled in.
  const std::string& target() const;
  // Names the authority: one state directory, for ever. Empty if not known.
  std::string instance_id() const;

  // The descriptor that keeps a session of Liveness::kTree alive; -1 without a local path. It stays
  // the library's and has close-on-exec set: in a child, between fork() and exec(), clear that flag
  // (fcntl F_SETFD 0) and the child, and what it starts, keeps the leases of this session until all
  // have closed it. The number is valid until the session is renewed (the daemon was replaced).
  int InheritableSessionFd() const;

 private:
  explicit Client(std::shared_ptr<internal::ClientState> state) : state_(std::move(state)) {}

  std::shared_ptr<internal::ClientState> state_;
};

}  // namespace leaseplane
