// SPDX-License-Identifier: Apache-2.0
//
// The signals of `leasectl run`. While it waits for a slot they do what they always do. Once there
// is a lease INT and QUIT are ignored (the terminal sends them to COMMAND as well), and TERM, HUP,
// USR1, USR2 are read from a descriptor and passed on.
//
// The order that leaves no gap: Block before any thread is made, so that none of them is chosen to
// take a signal; Unblock in the main thread while it waits for the slot; Block again.
// Threads: each function concerns the calling one, dispositions the process. Errors: none expected.
#pragma once

#include <vector>

#include "core/base/unique_fd.h"

namespace leaseplane::cli {

// TERM, HUP, USR1, USR2 and CHLD.
void BlockRunSignals();
void UnblockRunSignals();

// INT and QUIT.
void IgnoreKeyboardSignals();

// SIGCHLD is delivered and children can be waited for, whatever was inherited.
void ResetChildSignal();

// Non-blocking; reads what BlockRunSignals holds back.
UniqueFd OpenSignalFd();

// The signals that came, CHLD included; each at most once.
std::vector<int> ReadSignals(int signal_fd);

}  // namespace leaseplane::cli
