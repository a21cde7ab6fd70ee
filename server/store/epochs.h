// SPDX-License-Identifier: Apache-2.0
//
// Where the numbers of fencing tokens start. Pure functions of wall time.
//
// A token is epoch and generation. Both start from the wall clock, so that even a daemon whose
// store was lost does not repeat what an earlier one gave out:
// - the epoch is never below the hours since 2024-01-01 UTC,
// - the generations of a new segment begin at (seconds in the hour) << 24. Two starts without a
//   store in one hour have the same epoch, but the second begins higher as long as no slot was
//   granted more than 2^24 times a second in between.
// What is not covered: a store lost in an hour in which the daemon had started so often that its
// epoch was ahead of the hours, and a clock set back together with a lost store. For both there
// is --token-floor.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/base/ids.h"

namespace leaseplane::store {

inline constexpr int64_t kEpochOriginUnixS = 1'704'067'200;  // 2024-01-01T00:00:00Z

// At least 1. Reaches kEpochMax in 2038.
constexpr int64_t HoursSinceOrigin(int64_t unix_s) {
  return std::max<int64_t>(1, (unix_s - kEpochOriginUnixS) / 3600);
}

// Where the generations of a segment begin that is new at `unix_s`.
constexpr Generation BaseGeneration(int64_t unix_s) {
  const int64_t second = ((unix_s % 3600) + 3600) % 3600;
  return static_cast<Generation>(second) << 24;
}
static_assert(BaseGeneration(3599) < kGenerationMax);

// The first epoch all of whose tokens are above `token_floor`; 0 for "no floor".
constexpr int64_t EpochAboveToken(FencingToken token_floor) {
  return token_floor <= 0 ? 0 : int64_t{EpochOf(token_floor)} + 1;
}

}  // namespace leaseplane::store
