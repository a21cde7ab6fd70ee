// SPDX-License-Identifier: Apache-2.0
//
// An honest client in a pool where a neighbour writes rubbish. Its promises there are few: every
// call returns, in its time, and nothing is read or written out of bounds (it is built with
// AddressSanitizer too). usage: honest_client SERVER POOL SECONDS; prints what it was answered.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "leaseplane/client.h"
#include "tests/support/verify_ledger.h"

namespace {

struct Answers {
  uint64_t granted = 0, none = 0, stale = 0;
  double slowest_s = 0;
};

void Work(const leaseplane::Pool& pool, double end_s, Answers& answers) {
  using leaseplane::testing::MonotonicSeconds;
  while (MonotonicSeconds() < end_s) {
    const double began = MonotonicSeconds();
    leaseplane::Lease lease = pool.TryAcquire();
    if (!lease) {
      auto waited = pool.Acquire({.max_wait = absl::Milliseconds(5)});
      if (waited.ok()) lease = *std::move(waited);
    }
    if (lease) {
      ++answers.granted;
      if (lease.resource().size() > 255 || lease.token() <= 0) std::abort();
      if (!lease.still_held() || !std::move(lease).Release().ok()) ++answers.stale;
    } else {
      ++answers.none;
    }
    answers.slowest_s = std::max(answers.slowest_s, MonotonicSeconds() - began);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) return 64;
  leaseplane::ClientOptions options;
  options.require_local = true;
  options.connect_timeout = absl::Seconds(60);
  auto client = leaseplane::Client::Connect(argv[1], options);
  if (!client.ok()) return 69;
  auto pool = client->OpenPool(argv[2]);
  if (!pool.ok()) return 69;
  const double end_s = leaseplane::testing::MonotonicSeconds() + std::atof(argv[3]);
  Answers answers[2];
  std::thread other([&] { Work(*pool, end_s, answers[1]); });
  Work(*pool, end_s, answers[0]);
  other.join();
  std::printf("%llu %llu %llu %.0f\n",
              static_cast<unsigned long long>(answers[0].granted + answers[1].granted),
              static_cast<unsigned long long>(answers[0].none + answers[1].none),
              static_cast<unsigned long long>(answers[0].stale + answers[1].stale),
              std::max(answers[0].slowest_s, answers[1].slowest_s) * 1e3);
  return 0;
}
