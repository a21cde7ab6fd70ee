// SPDX-License-Identifier: Apache-2.0
//
// A process that leases slots of one pool through shared memory as fast as it can, under the eyes
// of a guard file, until SIGTERM. usage: local_load SERVER POOL GUARD_FILE INDEX HOLD_US
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "leaseplane/client.h"
#include "tests/support/guard_file.h"

namespace {

volatile sig_atomic_t g_stop = 0;

void Pause(long us) {
  const timespec time{us / 1'000'000, us % 1'000'000 * 1000};
  nanosleep(&time, nullptr);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 6) return 64;
  signal(SIGTERM, [](int) { g_stop = 1; });
  leaseplane::testing::GuardFile guard(argv[3]);
  const int index = std::atoi(argv[4]);
  const long hold_us = std::atol(argv[5]);
  const uint64_t who = static_cast<uint64_t>(getpid());

  leaseplane::ClientOptions options;
  options.require_local = true;
  options.on_lost = [](const leaseplane::LostLease& lost) {
    std::fprintf(stderr, "LOST: slot %u token %lld\n", lost.slot,
                 static_cast<long long>(lost.token));
  };
  auto client = leaseplane::Client::Connect(argv[1], options);
  if (!client.ok()) {
    std::fprintf(stderr, "%s\n", client.status().ToString().c_str());
    return 69;
  }
  auto pool = client->OpenPool(argv[2]);
  if (!pool.ok()) {
    std::fprintf(stderr, "%s\n", pool.status().ToString().c_str());
    return 69;
  }
  std::printf("ready\n");
  std::fflush(stdout);
  while (g_stop == 0) {
    auto lease = pool->Acquire({.max_wait = absl::Seconds(1)});
    guard.CountOperation(index);
    if (!lease.ok()) continue;
    guard.Enter(lease->slot(), lease->token(), who);
    if (hold_us > 0) Pause(hold_us);
    guard.Leave(lease->slot(), who);
    const absl::Status released = std::move(*lease).Release();
    if (!released.ok()) std::fprintf(stderr, "RELEASE: %s\n", released.ToString().c_str());
  }
  return 0;
}
