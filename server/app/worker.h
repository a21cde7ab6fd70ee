// SPDX-License-Identifier: Apache-2.0
//
// The worker process: builds the plane, the gRPC server and the metrics endpoint, serves until it
// is told to stop, and takes everything down in order. The only place that makes long-lived
// objects.
//
// Stopping: health says NOT_SERVING; new calls are refused and waiters told; open calls get their
// answers; threads end; the store is written. Leases stay.
#pragma once

#include "server/config/options.h"
#include "server/keeper/channel.h"
#include "server/keeper/holdings.h"

namespace leaseplane::app {

// Returns the exit code: 0 after a drain, 69 if an address is taken, 78 if the state cannot be
// used as it is, 1 otherwise (the keeper starts another worker).
// REQUIRES signals blocked, one thread, no gRPC use so far in this process.
int RunWorker(const config::DaemonOptions& options, uint32_t sessions_max,
              keeper::Holdings& holdings, keeper::Channel& channel);

}  // namespace leaseplane::app
