// SPDX-License-Identifier: Apache-2.0
//
// Re-attachment, cut at its instructions: the daemon is replaced, the victim's library thread
// attaches to the next one and claims its lease, and the process is killed on the way. Afterwards
// the slot is free in the new segments, for exactly one.
#pragma once

#include <string>

#include "tests/crash/step/program_options.h"

namespace leaseplane::step {

// At the chosen instructions of it. Records its counts; throws on a fault.
void KillInReattach(const std::string& build, const Choice& choice);

}  // namespace leaseplane::step
