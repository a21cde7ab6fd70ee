// SPDX-License-Identifier: Apache-2.0
//
// How many sessions the process's descriptors allow. Every session costs two (its connection and
// its pidfd), in the keeper and in the worker alike; the rest is for pools, gRPC and files.
#pragma once

#include <sys/resource.h>

#include <algorithm>
#include <cstdint>

#include "core/base/ids.h"

namespace leaseplane::app {

// Raises the soft limit of this process to the hard one. Returns what holds now.
inline uint64_t RaiseDescriptorLimit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 1'024;
  rlimit raised = limit;
  raised.rlim_cur = raised.rlim_max;
  if (::setrlimit(RLIMIT_NOFILE, &raised) == 0) limit = raised;
  return std::min<uint64_t>(limit.rlim_cur, 1u << 20);
}

// Three quarters of the descriptors for sessions.
constexpr uint32_t SessionsMax(uint64_t descriptor_limit) {
  constexpr uint64_t kIndexes = kOwnerCount - kOwnerSessionFirst;
  return static_cast<uint32_t>(std::clamp<uint64_t>(descriptor_limit * 3 / 8, 8, kIndexes));
}

// What one user may have of them: `configured`, or if that is 0 all but a 64th, so that one user
// cannot lock out the others.
constexpr uint32_t SessionsPerUid(uint32_t configured, uint32_t sessions_max) {
  if (configured != 0) return configured;
  return sessions_max - std::max<uint32_t>(sessions_max / 64, 1);
}

}  // namespace leaseplane::app
