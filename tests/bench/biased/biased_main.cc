// SPDX-License-Identifier: Apache-2.0
//
// What a slot would cost that belongs to a thread beforehand: taken and given back by plain stores,
// and got back by somebody else by membarrier(2). Beside two CAS, the floor of what there is. An
// experiment, not part of the product: docs/decisions/0036 says why. Usage: see --help.
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "tests/bench/harness/report.h"

namespace leaseplane::bench {
namespace {

constexpr uint64_t kPairs = 4096;  // between two looks at the clock
constexpr int kRevocations = 2000;

double NowNs() {
  return std::chrono::duration<double, std::nano>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

void Membarrier(int command) {
  if (::syscall(SYS_membarrier, command, 0, 0) == 0) return;
  std::perror("membarrier");
  std::exit(1);
}

// The owner writes `used` and `token`, whoever wants the slot writes `wanted`.
struct alignas(128) BiasedSlot {
  std::atomic<uint32_t> used{0};
  std::atomic<uint64_t> token{0};
  alignas(128) std::atomic<uint32_t> wanted{0};
  std::atomic<uint32_t> revoked{0};  // for the check only: somebody else has it

  // The processor may do the load before the store is seen; membarrier makes up for it.
  bool Take() {
    used.store(1, std::memory_order_relaxed);
    std::atomic_signal_fence(std::memory_order_seq_cst);
    if (wanted.load(std::memory_order_acquire) != 0) [[unlikely]] {
      Give();
      return false;
    }
    token.store(token.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    return true;
  }
  void Give() { used.store(0, std::memory_order_release); }

  void Revoke() {
    wanted.store(1);
    Membarrier(MEMBARRIER_CMD_GLOBAL_EXPEDITED);  // reaches other processes too
    while (used.load(std::memory_order_acquire) != 0) {
    }
    revoked.store(1);
  }
  void Restore() {
    revoked.store(0);
    wanted.store(0, std::memory_order_release);
  }
};

// Nanoseconds a pair, over about `seconds`.
template <class Pair>
double Measure(double seconds, Pair&& pair) {
  const double begin_ns = NowNs();
  double now_ns = begin_ns;
  uint64_t pairs = 0;
  while (now_ns - begin_ns < seconds * 1e9) {
    for (uint64_t i = 0; i < kPairs; ++i) pair();
    pairs += kPairs;
    now_ns = NowNs();
  }
  return (now_ns - begin_ns) / static_cast<double>(pairs);
}

void TwoCas(std::atomic<uint64_t>& word, uint64_t& value) {
  for (int i = 0; i < 2; ++i, ++value) {
    if (!word.compare_exchange_strong(value, value + 1)) std::abort();
  }
}

// Median time of a revocation, while the owner is at work or idle.
double RevocationUs(BiasedSlot& slot, bool is_busy) {
  std::atomic<bool> stop{false}, runs{false};
  std::thread owner([&] {
    runs = true;
    while (is_busy && !stop.load(std::memory_order_relaxed)) {
      if (!slot.Take()) continue;
      if (slot.revoked.load(std::memory_order_relaxed) != 0) std::abort();  // two have it
      slot.Give();
    }
  });
  while (!runs) std::this_thread::yield();
  std::vector<double> us;
  for (int i = 0; i < kRevocations; ++i) {
    const double begin_ns = NowNs();
    slot.Revoke();
    us.push_back((NowNs() - begin_ns) / 1e3);
    slot.Restore();
  }
  stop = true;
  owner.join();
  std::nth_element(us.begin(), us.begin() + kRevocations / 2, us.end());
  return us[kRevocations / 2];
}

int Main(int argc, char** argv) {
  std::string out = "biased.json";
  int repetitions = 9;
  CLI::App app("Slots taken by plain stores, got back by membarrier");
  app.add_option("--out", out, "Where the figures go, JSON");
  app.add_option("--repetitions", repetitions, "Windows of each subject");
  CLI11_PARSE(app, argc, argv);
  Membarrier(MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED);
  constexpr double kWindow = 0.05;
  BiasedSlot slot;
  alignas(128) std::atomic<uint64_t> word{0};
  uint64_t value = 0;
  std::vector<double> floor_ns, biased_ns, ratio, busy_us, idle_us;
  for (int r = 0; r < repetitions; ++r) {
    floor_ns.push_back(Measure(kWindow, [&] { TwoCas(word, value); }));
    biased_ns.push_back(Measure(kWindow, [&] {
      if (!slot.Take()) std::abort();
      slot.Give();
    }));
    ratio.push_back(biased_ns.back() / floor_ns.back());
    busy_us.push_back(RevocationUs(slot, true));
    idle_us.push_back(RevocationUs(slot, false));
  }
  Report report("biased");
  report.Add("two CAS", {}, "pair", "ns", floor_ns);
  report.Add("plain stores", {}, "pair", "ns", biased_ns);
  report.Add("plain stores", {}, "pair / two CAS", "ratio", ratio);
  report.Add("plain stores", {{"owner", "busy"}}, "revocation", "us", busy_us);
  report.Add("plain stores", {{"owner", "idle"}}, "revocation", "us", idle_us);
  report.Write(out);
  return 0;
}

}  // namespace
}  // namespace leaseplane::bench

int main(int argc, char** argv) { return leaseplane::bench::Main(argc, argv); }
