// SPDX-License-Identifier: Apache-2.0
//
// leasectl: the tool of operators and scripts. docs/leasectl.md is its reference.
#include "clients/cli/commands.h"

int main(int argc, char** argv) { return leaseplane::cli::RunCommandLine(argc, argv); }
