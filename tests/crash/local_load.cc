// SPDX-License-Identifier: Apache-2.0
//
// A process that leases slots of one pool through shared memory as fast as it can, under the eyes
// of a guard file, until SIGTERM. usage: local_load SERVER POOL GUARD_FILE INDEX HOLD_US
// Prints "ready" when it begins, and at the end the median and the 99th percentile, in nanoseconds,
// of what an acquisition and its release took together.
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "leaseplane/client.h"
#include "tests/support/guard_file.h"

namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kTimesMax = 20'000'000;  // the later ones are not looked at

volatile sig_atomic_t g_stop = 0;

void Pause(long us) {
  const timespec time{us / 1'000'000, us % 1'000'000 * 1000};
  nanosleep(&time, nullptr);
}

// `times` may not be empty; its order changes.
Clock::rep Percentile(std::vector<Clock::duration>& times, size_t percent) {
  const auto at = times.begin() + static_cast<ptrdiff_t>((times.size() - 1) * percent / 100);
  std::nth_element(times.begin(), at, times.end());
  return std::chrono::nanoseconds(*at).count();
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
  std::vector<Clock::duration> times;
  while (g_stop == 0) {
    const auto began = Clock::now();
    auto lease = pool->Acquire({.max_wait = absl::Seconds(1)});
    guard.CountOperation(index);
    if (!lease.ok()) continue;
    auto took = Clock::now() - began;
    guard.Enter(lease->slot(), lease->token(), who);
    if (hold_us > 0) Pause(hold_us);
    guard.Leave(lease->slot(), who);
    const auto releases = Clock::now();
    const absl::Status released = std::move(*lease).Release();
    if (!released.ok()) std::fprintf(stderr, "RELEASE: %s\n", released.ToString().c_str());
    took += Clock::now() - releases;
    if (times.size() < kTimesMax) times.push_back(took);
  }
  if (times.empty()) times.push_back({});
  std::printf("%lld %lld\n", static_cast<long long>(Percentile(times, 50)),
              static_cast<long long>(Percentile(times, 99)));
  return 0;
}
