// SPDX-License-Identifier: Apache-2.0
//
// Re-attachment, cut at its instructions: the daemon is replaced, the victim's library thread
// attaches to the next one and claims its lease, and the process is killed on the way. Afterwards
// the slot is free in the new segments, for exactly one.
#pragma once

#include <cstdint>
#include <string>

namespace leaseplane::step {

// `points` instructions of it, evenly spread; 0: all. Records its counts; throws on a fault.
void KillInReattach(const std::string& build, uint64_t points, uint64_t phase);

}  // namespace leaseplane::step
