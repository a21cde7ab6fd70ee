// SPDX-License-Identifier: Apache-2.0
//
// leaseplaned.
#include "server/app/daemon.h"
#include "server/keeper/keeper.h"

int main(int argc, char** argv) {
  // Before anything else: every thread that is ever made here inherits this.
  leaseplane::keeper::BlockSignals();
  return leaseplane::app::RunDaemon(argc, argv);
}
