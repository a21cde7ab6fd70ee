// SPDX-License-Identifier: Apache-2.0
//
// The daemon that a command line names. Errors: as Daemon::Dial.
#pragma once

#include "clients/cli/commands.h"
#include "clients/cli/stub.h"

namespace leaseplane::cli {

inline absl::StatusOr<Daemon> Dial(const Invocation& invocation) {
  return Daemon::Dial(invocation.server, invocation.call_timeout, invocation.tls,
                      invocation.token_file);
}

}  // namespace leaseplane::cli
