// SPDX-License-Identifier: Apache-2.0
//
// UnixSocketPath: the exclusive right to serve on a path. gRPC removes whatever socket it finds at
// a path before it binds, and so would take the path from a daemon that is alive.
//
// Owner: Server, for as long as it serves. The right is a lock on `PATH.lock`, which the kernel
// drops with the process however that ends; the file stays. A socket that a dead process left at
// the path does no harm. Threads: one.
#pragma once

#include <absl/status/statusor.h>

#include <string>

#include "core/base/unique_fd.h"

namespace leaseplane::rpc {

class UnixSocketPath {
 public:
  // Errors: INVALID_ARGUMENT for a path that cannot be one (too long, not absolute, something else
  // is there); ALREADY_EXISTS if another process serves on it; what the system says otherwise.
  static absl::StatusOr<UnixSocketPath> Claim(const std::string& path);

  const std::string& path() const { return path_; }
  // For gRPC: "unix:/run/x.sock".
  std::string address() const { return "unix:" + path_; }

 private:
  UnixSocketPath(std::string path, UniqueFd lock)
      : path_(std::move(path)), lock_(std::move(lock)) {}

  std::string path_;
  UniqueFd lock_;
};

// While it lives, sockets are made with mode 0660. Of the whole process: use it at start-up.
class SocketModeScope {
 public:
  SocketModeScope();
  ~SocketModeScope();
  SocketModeScope(const SocketModeScope&) = delete;
  SocketModeScope& operator=(const SocketModeScope&) = delete;

 private:
  unsigned int previous_;
};

}  // namespace leaseplane::rpc
