// SPDX-License-Identifier: Apache-2.0
//
// A process that takes one slot through shared memory, prints "SLOT TOKEN" and keeps it until it
// is killed. usage: lease_holder SERVER POOL
#include <unistd.h>

#include <cstdio>

#include "leaseplane/client.h"

int main(int argc, char** argv) {
  if (argc != 3) return 64;
  leaseplane::ClientOptions options;
  options.require_local = true;
  auto client = leaseplane::Client::Connect(argv[1], options);
  if (!client.ok()) return 69;
  auto pool = client->OpenPool(argv[2]);
  if (!pool.ok()) return 69;
  auto lease = pool->Acquire({.max_wait = absl::Seconds(30)});
  if (!lease.ok()) {
    std::fprintf(stderr, "%s\n", lease.status().ToString().c_str());
    return 75;
  }
  std::printf("%u %lld\n", lease->slot(), static_cast<long long>(lease->token()));
  std::fflush(stdout);
  for (;;) pause();
}
