// SPDX-License-Identifier: Apache-2.0
//
// The attach listener, and the lock that keeps two daemons off one socket directory.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "core/base/unique_fd.h"

namespace leaseplane::keeper {

// Takes an exclusive lock on the file `path`, made if it is not there; ALREADY_EXISTS if another
// process has it. The lock lasts until all copies of the descriptor are closed.
absl::StatusOr<UniqueFd> LockFile(const std::string& path);

// Binds and listens on the Unix socket `path` (SOCK_SEQPACKET, mode 0660, at most 107 bytes),
// replacing a file that a daemon left behind. REQUIRES the lock above: whoever has it is the only
// daemon that uses this path.
absl::StatusOr<UniqueFd> ListenOn(const std::string& path);

}  // namespace leaseplane::keeper
