// SPDX-License-Identifier: Apache-2.0
//
// The port through which the client library reaches gRPC without linking it. The library
// leaseplane::client implements it; leaseplane::local is complete without.
//
// How it is found: FindRemoteBackend() is a weak reference here and defined in leaseplane::client
// alone, whose link options make the linker take that definition out of the archive. So the same
// Client::Connect serves both libraries, and one program cannot have two versions of it.
//
// Threads: every method from any thread, unless said otherwise. Deadlines are instants of
// CLOCK_BOOTTIME in nanoseconds.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "leaseplane/internal/remote_lease.h"
#include "leaseplane/options.h"

namespace leaseplane::internal {

class RemotePool {
 public:
  virtual ~RemotePool() = default;

  // A lease with one reference for the caller. Blocks. The pool's client must outlive the call.
  virtual absl::StatusOr<RemoteLease*> Acquire(const AcquireOptions& options) = 0;

  virtual const std::string& name() const = 0;
  virtual uint32_t capacity() const = 0;  // 0: the daemon does not tell
  virtual bool OthersWait() const = 0;    // for a slot, as far as this process has heard
};

// One connection. Destruction waits for releases under way, at most
// ClientOptions::shutdown_timeout; leases that are left stop being renewed.
class RemoteClient {
 public:
  virtual ~RemoteClient() = default;

  virtual absl::StatusOr<std::string> InstanceId(int64_t deadline_ns) = 0;
  virtual absl::StatusOr<std::shared_ptr<RemotePool>> OpenPool(std::string_view name,
                                                               int64_t deadline_ns) = 0;
};

class RemoteBackend {
 public:
  virtual ~RemoteBackend() = default;

  // Makes a connection without waiting for the daemon.
  virtual absl::StatusOr<std::unique_ptr<RemoteClient>> Connect(
      const std::string& grpc_target, std::shared_ptr<const ClientOptions> options) = 0;
};

}  // namespace leaseplane::internal

// Null in a program that links leaseplane::local only.
extern "C" leaseplane::internal::RemoteBackend* leaseplane_remote_backend_v1()
    __attribute__((weak));
