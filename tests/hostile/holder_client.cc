// SPDX-License-Identifier: Apache-2.0
//
// A process that holds what others fight over: leases in a pool that moves to other memory, and one
// in a pool that does not. usage: holder_client SERVER POOL COUNT OTHER_POOL
// Prints "SLOT TOKEN" of each lease of POOL and "ready"; then for each line that it reads the
// number of leases that are still held, of both pools. At the end of its input it releases
// everything and prints how many releases succeeded, and how often the lease of OTHER_POOL seemed
// lost.
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <string>
#include <utility>
#include <vector>

#include "leaseplane/client.h"

namespace {

// Waits, for hints to a slot that has just been repaired may not be there yet.
bool Take(const leaseplane::Pool& pool, std::vector<leaseplane::Lease>& leases) {
  auto lease = pool.Acquire({.max_wait = absl::Seconds(10)});
  if (lease.ok()) {
    leases.push_back(*std::move(lease));
  } else {
    std::cerr << "holder_client: " << lease.status() << std::endl;
  }
  return lease.ok();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) return 64;
  leaseplane::ClientOptions options;
  options.require_local = true;
  auto client = leaseplane::Client::Connect(argv[1], options);
  if (!client.ok()) return 69;
  auto pool = client->OpenPool(argv[2]);
  auto other = client->OpenPool(argv[4]);
  if (!pool.ok() || !other.ok()) return 69;
  std::vector<leaseplane::Lease> leases;
  for (int i = 0; i < std::atoi(argv[3]); ++i) {
    if (!Take(*pool, leases)) return 1;
    std::cout << leases.back().slot() << ' ' << leases.back().token() << '\n';
  }
  if (!Take(*other, leases)) return 1;
  std::cout << "ready" << std::endl;
  int lost = 0;
  for (std::string line; std::getline(std::cin, line);) {
    for (int i = 0; i < 1000; ++i) lost += leases.back().still_held() ? 0 : 1;
    int held = 0;
    for (const auto& lease : leases) held += lease.still_held() ? 1 : 0;
    std::cout << held << std::endl;
  }
  int released = 0;
  for (auto& lease : leases) released += std::move(lease).Release().ok() ? 1 : 0;
  std::cout << released << ' ' << lost << std::endl;
  return 0;
}
