// SPDX-License-Identifier: Apache-2.0
//
// Handshake: from a path to an attached session, and from the answer to OpenPool to mapped, checked
// segments. Free functions; blocking up to their deadline; no state.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "clients/cpp/local/attach_socket.h"
#include "core/attach/messages.h"
#include "core/base/unique_fd.h"
#include "core/shm/segment.h"
#include "leaseplane/options.h"
#include "leaseplane/status.h"

namespace leaseplane::internal {

struct SessionConfig {
  std::string attach_path;
  Liveness liveness = Liveness::kProcess;
  std::optional<uint32_t> server_uid;
  std::string client_name;  // the first client's of the session

  // Clients that agree in this share a session.
  bool SameSession(const SessionConfig& other) const {
    return attach_path == other.attach_path && liveness == other.liveness &&
           server_uid == other.server_uid;
  }
};

// A session as the daemon granted it.
struct Connection {
  std::unique_ptr<AttachSocket> socket;
  UniqueFd lifeline;
  attach::Welcome welcome{};
  UniqueFd sess_fd;
};

// Connects, greets, waits for the welcome. Reasons: kUnreachable, kUntrustedServer, kAbiMismatch,
// and what the daemon refuses with.
absl::StatusOr<Connection> GreetDaemon(const SessionConfig& config, int64_t deadline_ns);

// Maps what came with PoolOpened. Reasons: kAbiMismatch, kInternal.
absl::StatusOr<std::unique_ptr<shm::AttachedPool>> MapPool(const Incoming& opened);
absl::StatusOr<shm::Mapping> MapSess(int sess_fd);

// The status for a refusal of the daemon; `what` was asked for.
absl::Status RefusedStatus(const attach::Refused& refused, std::string_view what);
Reason ReasonOfRefusal(attach::Refusal refusal);

}  // namespace leaseplane::internal
