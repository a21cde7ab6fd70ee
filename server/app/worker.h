// SPDX-License-Identifier: Apache-2.0
//
// The worker process: builds the plane, the gRPC server and the metrics endpoint, serves until it
// is told to stop, and takes everything down in order. The only place that makes long-lived
// objects.
//
// Stopping: health says NOT_SERVING; new calls are refused and waiters told; open calls get their
// answers; threads end; the store is written. Leases stay.
//
// SIGHUP: reads the configuration again and puts it into force, whole or, with the reasons in the
// log, not at all. The next worker goes on with it (AcceptedConfig).
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "server/config/parse.h"
#include "server/keeper/channel.h"
#include "server/keeper/holdings.h"

namespace leaseplane::app {

// Returns the exit code: 0 after a drain, 69 if an address is taken, 78 if the state cannot be
// used as it is, 1 otherwise (the keeper starts another worker).
// REQUIRES signals blocked, one thread, no gRPC use so far in this process.
// `read` reads flags, variables and file again; given a text, that one in the place of the file's.
using ReadConfiguration = std::function<config::ParseResult(std::optional<std::string> file_text)>;
int RunWorker(const config::DaemonOptions& options, const ReadConfiguration& read,
              uint32_t sessions_max, keeper::Holdings& holdings, keeper::Channel& channel);

}  // namespace leaseplane::app
