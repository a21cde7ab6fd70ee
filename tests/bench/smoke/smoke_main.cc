// SPDX-License-Identifier: Apache-2.0
//
// What the guard measures. smoke.py runs it; see --help.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <limits>
#include <nlohmann/json.hpp>

#include "tests/bench/local/subjects.h"
#include "tests/support/daemon_process.h"

namespace leaseplane::bench {
namespace {

constexpr uint32_t kCapacities[] = {16, 4096, 65'536};
constexpr uint32_t kOccupancies[] = {0, 99, 100};  // percent

std::string PoolName(uint32_t capacity, uint32_t percent) {
  return "n" + std::to_string(capacity) + "-" + std::to_string(percent);
}

std::string Config() {
  std::string text = "pools:\n";
  for (const uint32_t n : kCapacities) {
    for (const uint32_t percent : kOccupancies) {
      text += "  - id: " + PoolName(n, percent) + "\n    capacity: " + std::to_string(n) + "\n";
    }
  }
  return text;
}

// A daemon, and as many slots of its pools held as their names say, at random places.
class Service {
 public:
  Service() : daemon_({LEASEPLANED, Config(), {}}) {
    daemon_.Start();
    client_ = std::make_unique<Client>(*Client::Connect(target(), {.require_local = true}));
    for (const uint32_t n : kCapacities) {
      for (const uint32_t percent : kOccupancies) Hold(n, percent);
    }
  }
  std::string target() const { return daemon_.unix_target(); }

 private:
  void Hold(uint32_t capacity, uint32_t percent) {
    if (percent == 0) return;
    const Pool pool = *client_->OpenPool(PoolName(capacity, percent));
    std::vector<Lease> all;
    for (uint32_t i = 0; i < capacity; ++i) all.push_back(pool.Acquire().value());
    const uint32_t busy = capacity * percent / 100;
    const std::vector<uint32_t> order = Shuffled(capacity);
    for (uint32_t i = busy; i < capacity; ++i) all[order[i]] = Lease();
    for (Lease& lease : all) {
      if (lease) held_.push_back(std::move(lease));
    }
  }

  testing::DaemonProcess daemon_;
  std::unique_ptr<Client> client_;
  std::vector<Lease> held_;
};

// The shortest time of an operation in each of several gangs, over many windows taken in turn.
class Best {
 public:
  size_t Add(MakeBatch make) {
    gangs_.push_back(std::make_unique<Gang>(As::kThreads, 1, std::move(make)));
    ns_.push_back(std::numeric_limits<double>::infinity());
    return ns_.size() - 1;
  }
  void Run(int windows, double seconds) {
    for (int w = 0; w < windows; ++w) {
      for (size_t i = 0; i < gangs_.size(); ++i) {
        const Gang::Window window = gangs_[i]->Run(seconds);
        if (window.ops != 0) ns_[i] = std::min(ns_[i], window.NsPerOp(1));
      }
    }
  }
  double ns(size_t i) const { return ns_[i]; }

 private:
  std::vector<std::unique_ptr<Gang>> gangs_;
  std::vector<double> ns_;
};

void PrintRatios(int windows) {
  const Service service;
  Best best;
  const size_t two_cas = best.Add(FloorTwoCas());
  const size_t one_cas = best.Add(FloorOneCas());
  struct Row {
    uint32_t capacity;
    size_t empty, crowded, full;
  };
  std::vector<Row> rows;
  for (const uint32_t n : kCapacities) {
    rows.push_back({n, best.Add(LeasePairs({service.target(), PoolName(n, 0)})),
                    best.Add(LeasePairs({service.target(), PoolName(n, 99)})),
                    best.Add(LeaseFailures({service.target(), PoolName(n, 100)}))});
  }
  best.Run(windows, 0.01);
  nlohmann::json ratios;
  for (const Row& row : rows) {
    const std::string n = " of " + std::to_string(row.capacity);
    ratios["pair / two CAS, pool" + n] = best.ns(row.empty) / best.ns(two_cas);
    ratios["pair at 99 % / at 0 %, pool" + n] = best.ns(row.crowded) / best.ns(row.empty);
    ratios["failing acquire / one CAS, pool" + n] = best.ns(row.full) / best.ns(one_cas);
  }
  std::printf("%s\n", ratios.dump(1).c_str());
}

// Tells the target and the names of the pools, and keeps all as it is until its input ends.
void Serve() {
  const Service service;
  nlohmann::json told{{"target", service.target()}, {"pools", nlohmann::json::array()}};
  for (const uint32_t n : kCapacities) {
    for (const uint32_t percent : kOccupancies) told["pools"].push_back(PoolName(n, percent));
  }
  std::printf("%s\n", told.dump().c_str());
  std::fflush(stdout);
  while (std::getchar() != EOF) {
  }
}

// What callgrind looks at, by this name: so many tries, each of them given back at once.
[[gnu::noinline]] uint64_t CountedTries(const Pool& pool, uint64_t count) {
  uint64_t got = 0;
  for (uint64_t i = 0; i < count; ++i) {
    const Lease lease = pool.TryAcquire();
    got += lease ? 1 : 0;
  }
  return got;
}

// Not looked at: the first tries fill the thread's list of free slots.
[[gnu::noinline]] uint64_t WarmingTries(const Pool& pool) {
  uint64_t got = 0;
  for (int i = 0; i < 1000; ++i) {
    const Lease lease = pool.TryAcquire();
    got += lease ? 1 : 0;
  }
  return got;
}

void Count(const PoolRef& ref, uint64_t count) {
  const Client client = *Client::Connect(ref.target, {.require_local = true});
  const Pool pool = *client.OpenPool(ref.pool);
  const uint64_t warm = WarmingTries(pool);
  std::printf("%llu %llu\n", static_cast<unsigned long long>(CountedTries(pool, count)),
              static_cast<unsigned long long>(warm));
}

int Main(int argc, char** argv) {
  CLI::App app("What the guard of the local path measures");
  app.require_subcommand(1);
  int windows = 40;
  CLI::App* ratios = app.add_subcommand("ratios", "Ratios of the best windows, as JSON");
  ratios->add_option("--windows", windows, "Windows of 10 ms for each subject");
  CLI::App* serve = app.add_subcommand("serve", "A daemon with pools, until the input ends");
  PoolRef ref;
  uint64_t count = 10'000;
  CLI::App* tries = app.add_subcommand("count", "Acquires and releases, for callgrind");
  tries->add_option("--target", ref.target)->required();
  tries->add_option("--pool", ref.pool)->required();
  tries->add_option("--tries", count);
  CLI11_PARSE(app, argc, argv);
  if (*ratios) PrintRatios(windows);
  if (*serve) Serve();
  if (*tries) Count(ref, count);
  return 0;
}

}  // namespace
}  // namespace leaseplane::bench

int main(int argc, char** argv) { return leaseplane::bench::Main(argc, argv); }
