// SPDX-License-Identifier: Apache-2.0
//
// The keeper: the daemon's small parent process. It holds what must outlive a worker (Holdings),
// starts the worker by fork without exec, and starts it again when it dies. It parses nothing but
// the worker's fixed-size messages, has one thread, and uses no gRPC.
//
// Signals: TERM and INT are passed to the worker as TERM, which has `drain_timeout` and one second
// to end; HUP is passed on as it is. As process 1 of a container it reaps whatever is orphaned to
// it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "server/keeper/channel.h"
#include "server/keeper/holdings.h"

namespace leaseplane::keeper {

// Exit codes that say "starting again will not help": the keeper ends with them too.
inline constexpr int kExitUsage = 64, kExitUnavailable = 69, kExitLocked = 73, kExitConfig = 78;
inline constexpr int kExitInternal = 70;

// Runs in the child; the return value is its exit code. HOLDINGS is the child's own copy.
using WorkerMain = std::function<int(Holdings& holdings, Channel& channel)>;

struct KeeperOptions {
  int64_t drain_timeout_ns = 10'000'000'000;
  std::function<void(const std::string& event)> log;  // may be empty
};

// Blocks the signals that keeper and workers wait for. First statement of main: every thread made
// later, gRPC's included, inherits the mask.
void BlockSignals();

// Runs workers until one ends for good or a signal asks for it. Returns the daemon's exit code.
// REQUIRES BlockSignals, one thread, no gRPC use so far.
int RunKeeper(Holdings holdings, const KeeperOptions& options, const WorkerMain& worker_main);

}  // namespace leaseplane::keeper
