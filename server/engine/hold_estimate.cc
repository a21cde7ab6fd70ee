// SPDX-License-Identifier: Apache-2.0
#include "server/engine/hold_estimate.h"

#include <algorithm>

#include "server/engine/types.h"

namespace leaseplane::engine {

void HoldEstimate::AddEnded(int64_t held_ns) {
  held_ns_ += static_cast<double>(std::max<int64_t>(held_ns, 0));
  holds_ += 1;
  Fade();
}

void HoldEstimate::AddObserved(uint32_t busy, int64_t elapsed_ns, uint64_t started) {
  if (elapsed_ns <= 0) return;
  held_ns_ += static_cast<double>(busy) * static_cast<double>(elapsed_ns);
  holds_ += static_cast<double>(started);
  Fade();
}

int64_t HoldEstimate::mean_ns() const {
  if (holds_ < 1) return 0;
  return static_cast<int64_t>(std::min(held_ns_ / holds_, static_cast<double>(kTtlMax)));
}

void HoldEstimate::Fade() {
  if (holds_ <= kWindow) return;
  const double keep = std::min(0.5, kWindow / holds_);
  held_ns_ *= keep;
  holds_ *= keep;
}

}  // namespace leaseplane::engine
