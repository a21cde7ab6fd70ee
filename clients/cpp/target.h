// SPDX-License-Identifier: Apache-2.0
//
// Where a client connects: parses the target of Client::Connect. Pure values, no I/O but for the
// environment. Errors: kInvalidArgument naming what would be valid.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace leaseplane::internal {

inline constexpr char kDefaultSocket[] = "/run/leaseplane/leaseplane.sock";

struct Target {
  std::string text;         // as understood, for people and as a key
  std::string socket_path;  // unix: targets only
  std::string grpc_target;  // what gRPC is given

  bool is_unix() const { return !socket_path.empty(); }
};

// `target` empty: LEASEPLANE_SERVER, else the default socket.
absl::StatusOr<Target> ParseTarget(std::string_view target);

// The attach socket beside a daemon's Unix socket.
std::string AttachSocketOf(const std::string& socket_path);

}  // namespace leaseplane::internal
