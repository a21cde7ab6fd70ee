// SPDX-License-Identifier: Apache-2.0
//
// Ways to wait for one of a few slots. Made before the processes are forked; the memory they share
// is never given back.
#pragma once

#include <cstdint>
#include <string>

#include "tests/bench/wait/crowd.h"

namespace leaseplane::bench {

// This project, through its public API. REQUIRES a pool whose queue has room for all workers.
JoinProcess LeaseplaneWay(const std::string& target, const std::string& pool);

// A count of free slots. Whoever comes takes one, a releaser wakes one sleeper, which tries again:
// the throughput that no order costs anything of.
JoinProcess WakeOne(uint32_t slots);

// Tickets. A slot is handed to the next of them, asleep or not: nobody passes anybody.
JoinProcess StrictFifo(uint32_t slots);

// sem_wait and sem_post of the C library, shared by processes.
JoinProcess PosixSemaphoreWay(uint32_t slots);

}  // namespace leaseplane::bench
