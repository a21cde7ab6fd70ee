// SPDX-License-Identifier: Apache-2.0
#include "server/engine/gate_policy.h"

#include <algorithm>

namespace leaseplane::engine {

int64_t EstimatedWaitNs(const PoolOptions& options, size_t position, int64_t mean_hold_ns) {
  if (options.capacity == 0) return 0;
  const double service_ns = static_cast<double>(mean_hold_ns) / options.capacity;
  const double wait_ns = service_ns * static_cast<double>(position);
  return static_cast<int64_t>(std::min(wait_ns, static_cast<double>(kStreamWaitMax)));
}

int64_t PatienceNs(const PoolOptions& options, size_t present, int64_t mean_hold_ns) {
  const int64_t serve_queue_ns = EstimatedWaitNs(options, present, mean_hold_ns);
  const int64_t longest_ns = 10 * options.max_overtake_ns;
  return std::max(options.max_overtake_ns, std::min(2 * serve_queue_ns, longest_ns));
}

int64_t ClosesAtNs(const PoolOptions& options, const QueueFacts& queue, int64_t mean_hold_ns) {
  if (queue.present == 0) return kNever;
  if (options.fairness == Fairness::kFifo) return queue.head_since_ns;
  return queue.head_since_ns + PatienceNs(options, queue.present, mean_hold_ns);
}

shm::Gate DesiredGate(const PoolOptions& options, const QueueFacts& queue, int64_t mean_hold_ns,
                      int64_t now_ns) {
  if (queue.present == 0) return shm::Gate::kOpen;
  return now_ns >= ClosesAtNs(options, queue, mean_hold_ns) ? shm::Gate::kClosed
                                                            : shm::Gate::kNotify;
}

}  // namespace leaseplane::engine
