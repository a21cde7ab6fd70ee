// SPDX-License-Identifier: Apache-2.0
//
// The daemon from command line to exit code: options, locks, sockets, keeper.
#pragma once

namespace leaseplane::app {

// Exit codes: 0 stopped in good order, 64 wrong command line, 69 an address is taken, 70 internal,
// 73 the state directory or the socket belongs to another daemon or cannot be made, 78 wrong
// configuration or state. REQUIRES keeper::BlockSignals before, and no other thread.
int RunDaemon(int argc, char** argv);

}  // namespace leaseplane::app
