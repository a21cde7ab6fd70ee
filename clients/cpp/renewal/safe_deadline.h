// SPDX-License-Identifier: Apache-2.0
//
// Until when a remote lease is certainly held, counted by the holder's own clock. Pure.
#pragma once

#include <cstdint>

namespace leaseplane::internal {

inline constexpr int64_t kSafetyMarginNs = 250'000'000;

// `sent_ns`: the holder's clock just before it sent the call that granted or renewed the lease.
// `queued_ns`, `remaining_ns`: from the reply. The hundredth covers clocks of different speed, the
// margin the work on both sides of the network.
constexpr int64_t SafeDeadlineNs(int64_t sent_ns, int64_t queued_ns, int64_t remaining_ns) {
  const int64_t span_ns = queued_ns + remaining_ns;
  return sent_ns + span_ns / 100 * 99 + span_ns % 100 * 99 / 100 - kSafetyMarginNs;
}
static_assert(SafeDeadlineNs(5, 0, 10'000'000'000) == 5 + 9'650'000'000);
static_assert(SafeDeadlineNs(0, 2'000'000'000, 8'000'000'000) == 9'650'000'000);

}  // namespace leaseplane::internal
