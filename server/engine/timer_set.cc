// SPDX-License-Identifier: Apache-2.0
#include "server/engine/timer_set.h"

#include "server/engine/types.h"

namespace leaseplane::engine {

std::optional<Timer> TimerSet::PopDue(int64_t now_ns) {
  if (timers_.empty() || timers_.begin()->at_ns > now_ns) return std::nullopt;
  const Timer timer = *timers_.begin();
  timers_.erase(timers_.begin());
  return timer;
}

int64_t TimerSet::next_ns() const { return timers_.empty() ? kNever : timers_.begin()->at_ns; }

}  // namespace leaseplane::engine
