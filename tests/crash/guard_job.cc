// SPDX-License-Identifier: Apache-2.0
//
// A job for `leasectl run`: enters the guard of the slot it was given, works for a while, leaves.
// usage: guard_job GUARD_FILE WORK_MS   with LEASEPLANE_SLOT and LEASEPLANE_TOKEN set
#include <time.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "tests/support/guard_file.h"

int main(int argc, char** argv) {
  const char* slot_text = std::getenv("LEASEPLANE_SLOT");
  const char* token_text = std::getenv("LEASEPLANE_TOKEN");
  if (argc != 3 || slot_text == nullptr || token_text == nullptr) return 64;
  leaseplane::testing::GuardFile guard(argv[1]);
  const auto slot = static_cast<uint32_t>(std::atoi(slot_text));
  const uint64_t who = static_cast<uint64_t>(getpid());
  guard.Enter(slot, std::atoll(token_text), who);
  const long ms = std::atol(argv[2]);
  const timespec time{ms / 1000, ms % 1000 * 1'000'000};
  nanosleep(&time, nullptr);
  std::puts("done");
  std::fflush(stdout);
  guard.Leave(slot, who);
  return 0;
}
