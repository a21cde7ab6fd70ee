// SPDX-License-Identifier: Apache-2.0
//
// Whether this machine stops a thread at an address. Some hypervisors take the debug registers and
// never stop.
//
// Threads: any. Errors: throws if no child can be made and traced.
#pragma once

#include <sys/types.h>

#include <cstdint>

namespace leaseplane::step {

// The thread `tid`, traced and stopped, stops before it runs `address`; 0: nowhere.
void SetBreakpoint(pid_t tid, uint64_t address);

// Found out with a child at the first call.
bool HasBreakpoints();

}  // namespace leaseplane::step
