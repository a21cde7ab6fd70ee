// SPDX-License-Identifier: Apache-2.0
//
// The processes below one of ours, and signals to all of them. With PR_SET_CHILD_SUBREAPER set,
// nothing that COMMAND starts leaves the tree: who loses its parent becomes our child, whatever
// process group or session it moved to.
//
// A signal reaches exactly the process that was found: it goes through a pidfd that was checked
// against the start time, so a pid that was reused meanwhile is not hit.
// Threads: any. Cost: one pass over /proc a call. Errors: what cannot be read is left out;
// processes that run as somebody else (setuid) cannot be signalled.
#pragma once

#include <sys/types.h>

#include <vector>

namespace leaseplane::cli {

// Makes this process the parent of orphans below it. Not inherited by children.
void AdoptOrphans();

// Direct children, zombies included.
std::vector<pid_t> ChildrenOf(pid_t parent);

// Live processes below `root`, without those in `excluded` and what is below them.
std::vector<pid_t> Descendants(pid_t root, const std::vector<pid_t>& excluded);

// Sends `signal_number` to all of Descendants(root, excluded).
void SignalDescendants(pid_t root, const std::vector<pid_t>& excluded, int signal_number);

}  // namespace leaseplane::cli
