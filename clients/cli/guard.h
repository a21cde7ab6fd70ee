// SPDX-License-Identifier: Apache-2.0
//
// The guard of `leasectl run` over gRPC: a process of its own that acquires the lease, renews it,
// is COMMAND's parent, and stops COMMAND before the lease is over.
//
//   COMMAND ends              the lease is released; if COMMAND left processes behind, the guard
//                             stays, renews, and releases when the last of them has ended
//   no renewal comes through  TERM, then KILL before the safe deadline (stop_plan.h)
//   leasectl is killed        TERM, then KILL; the lease is released when nothing is left
//   the guard is killed       the kernel kills COMMAND, leasectl the rest; the slot comes back when
//                             the ttl ends
//
// Threads: REQUIRES a process with one thread, just forked. Errors: printed and sent to leasectl.
#pragma once

#include "clients/cli/run.h"
#include "core/base/unique_fd.h"

namespace leaseplane::cli {

// `front` is connected to leasectl (guard_channel.h).
[[noreturn]] void RunGuard(const RunOptions& options, UniqueFd front);

}  // namespace leaseplane::cli
