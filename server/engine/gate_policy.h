// SPDX-License-Identifier: Apache-2.0
//
// When slots may be granted past the queue. Pure functions over what the engine knows; fairness
// only, never safety: every grant is right under any answer given here.
//
// FIFO: closed whenever somebody waits. BOUNDED: whoever comes may overtake (a strict hand-off is
// many times slower at short holds), but no waiter is overtaken for longer than its patience.
#pragma once

#include <cstdint>

#include "core/shm/layout.h"
#include "server/engine/types.h"

namespace leaseplane::engine {

struct QueueFacts {
  size_t present = 0;         // waiters that would take a slot now
  int64_t head_since_ns = 0;  // present > 0: since when the first of them has waited
};

// How long the first waiter lets others overtake: max_overtake, and more where the queue itself is
// long (twice the time it takes to serve it), at most ten times max_overtake.
int64_t PatienceNs(const PoolOptions& options, size_t present, int64_t mean_hold_ns);

// From when the gate is to be closed; kNever while nobody waits.
int64_t ClosesAtNs(const PoolOptions& options, const QueueFacts& queue, int64_t mean_hold_ns);

shm::Gate DesiredGate(const PoolOptions& options, const QueueFacts& queue, int64_t mean_hold_ns,
                      int64_t now_ns);

// Time until a waiter at `position` (1 = next) is served; 0: unknown.
int64_t EstimatedWaitNs(const PoolOptions& options, size_t position, int64_t mean_hold_ns);

}  // namespace leaseplane::engine
