// SPDX-License-Identifier: Apache-2.0
//
// ForkClose: descriptors that a fork()ed child closes at once, so that a child which lives on does
// not keep its parent's session alive. (exec() closes them anyway; a child made without running the
// handlers of pthread_atfork keeps them, and the daemon then learns of the parent's end otherwise.)
//
// Threads: any, without locks, because the handler runs in the child of a process of many threads.
// Errors: when the table is full a descriptor is not closed in children.
#pragma once

namespace leaseplane::internal {

void CloseInForkedChildren(int fd);
// REQUIRES a call before the descriptor is closed.
void KeepInForkedChildren(int fd);

}  // namespace leaseplane::internal
