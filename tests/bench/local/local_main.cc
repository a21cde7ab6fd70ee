// SPDX-License-Identifier: Apache-2.0
//
// The local path beside its floor, its ancestor and its peers. Usage: see --help.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <list>

#include "tests/bench/harness/report.h"
#include "tests/bench/local/subjects.h"
#include "tests/support/daemon_process.h"

namespace leaseplane::bench {
namespace {

struct Settings {
  std::string out = "local.json";
  int repetitions = 9;
  double window = 0.04;  // seconds
  bool quick = false;
};

constexpr uint32_t kCapacities[] = {1, 16, 100, 1024, 65'536, 1'048'576};

std::string PoolName(uint32_t capacity) { return "n" + std::to_string(capacity); }

std::string Config() {
  std::string text = "pools:\n";
  for (const uint32_t n : kCapacities) {
    text += "  - id: " + PoolName(n) + "\n    capacity: " + std::to_string(n) + "\n";
  }
  return text;
}

// Gangs of one experiment, measured in turn, again and again.
class Rounds {
 public:
  Rounds(const Settings& settings, Report& report) : settings_(settings), report_(report) {}

  void Add(const std::string& name, const Params& params, As as, int workers, MakeBatch make,
           double weight = 1) {
    entries_.emplace_back();
    Entry& entry = entries_.back();
    entry.name = name;
    entry.params = params;
    entry.weight = weight;
    entry.gang = std::make_unique<Gang>(as, workers, std::move(make));
  }

  // Figures of all, and of each as a ratio to the first.
  void Run(const std::string& metric, const std::string& base) {
    for (int r = 0; r < settings_.repetitions; ++r) {
      for (Entry& entry : entries_) {
        const Gang::Window w = entry.gang->Run(settings_.window);
        entry.ns.push_back(w.NsPerOp(entry.gang->workers()) * entry.weight);
      }
    }
    const std::vector<double>& floor = entries_.front().ns;
    for (Entry& entry : entries_) {
      report_.Add(entry.name, entry.params, metric, "ns", entry.ns);
      if (&entry == &entries_.front()) continue;
      std::vector<double> ratios;
      for (size_t r = 0; r < floor.size(); ++r) ratios.push_back(entry.ns[r] / floor[r]);
      report_.Add(entry.name, entry.params, metric + " / " + base, "ratio", ratios);
    }
    entries_.clear();
  }

 private:
  struct Entry {
    std::string name;
    Params params;
    double weight = 1;
    std::unique_ptr<Gang> gang;
    std::vector<double> ns;
  };
  const Settings& settings_;
  Report& report_;
  std::list<Entry> entries_;
};

// Holds so many slots of a pool, at random places, in this process.
class Holder {
 public:
  Holder(const std::string& target, uint32_t capacity, uint32_t busy)
      : client_(*Client::Connect(target, {.require_local = true})),
        pool_(*client_.OpenPool(PoolName(capacity))) {
    if (busy == 0) return;
    for (uint32_t i = 0; i < capacity; ++i) leases_.push_back(pool_.Acquire().value());
    const std::vector<uint32_t> order = Shuffled(capacity);
    for (uint32_t i = busy; i < capacity; ++i) leases_[order[i]] = Lease();
  }

 private:
  Client client_;
  Pool pool_;
  std::vector<Lease> leases_;
};

void OneThread(const Settings& settings, Report& report, const std::string& target) {
  for (const uint32_t n : kCapacities) {
    for (const int percent : {0, 50, 90, 99}) {
      const auto busy = static_cast<uint32_t>(uint64_t{n} * static_cast<uint32_t>(percent) / 100);
      if (percent != 0 && (n < 16 || busy == n)) continue;
      const Holder holder(target, n, busy);
      SeedPool seed(n, busy);
      Rounds rounds(settings, report);
      const Params params{{"capacity", n}, {"occupancy", percent}, {"workers", 1}};
      rounds.Add("two CAS", params, As::kThreads, 1, FloorTwoCas());
      rounds.Add("leaseplane", params, As::kThreads, 1, LeasePairs({target, PoolName(n)}));
      rounds.Add("seed in C++", params, As::kThreads, 1, seed.Pairs());
      rounds.Run("pair", "two CAS");
    }
  }
}

void Failing(const Settings& settings, Report& report, const std::string& target) {
  for (const uint32_t n : kCapacities) {
    const Holder holder(target, n, n);
    SeedPool seed(n, n);
    Rounds rounds(settings, report);
    const Params params{{"capacity", n}, {"occupancy", 100}, {"workers", 1}};
    rounds.Add("one CAS", params, As::kThreads, 1, FloorOneCas());
    rounds.Add("leaseplane", params, As::kThreads, 1, LeaseFailures({target, PoolName(n)}));
    rounds.Add("seed in C++", params, As::kThreads, 1, seed.Failures(),
               n > 4096 ? double{kBatchOps} : 1);
    rounds.Run("failing acquire", "one CAS");
  }
}

struct Crew {
  As as;
  int workers;
  const char* name;
};
constexpr Crew kCrews[] = {{As::kThreads, 1, "1 thread"},
                           {As::kThreads, 2, "2 threads"},
                           {As::kProcesses, 2, "2 processes"},
                           {As::kThreads, 8, "8 threads"},
                           {As::kThreads, 64, "64 threads"}};

// The time of a pair when several are at work: it stays the same where they do not disturb each
// other, times workers over cores beyond the cores.
void Scaling(const Settings& settings, Report& report, const std::string& target) {
  for (const uint32_t n : {16u, 100u, 1024u, 65'536u}) {
    Rounds rounds(settings, report);
    for (const Crew& crew : kCrews) {
      if (static_cast<uint32_t>(crew.workers) > n) continue;
      const Params params{{"capacity", n}, {"occupancy", 0}, {"crew", crew.name}};
      rounds.Add("leaseplane", params, crew.as, crew.workers, LeasePairs({target, PoolName(n)}));
    }
    rounds.Run("pair of one worker", "1 thread");
  }
}

void Peers(const Settings& settings, Report& report, const std::string& target) {
  constexpr uint32_t kUnits = 1024;
  for (const Crew& crew : kCrews) {
    Rounds rounds(settings, report);
    const Params params{{"capacity", kUnits}, {"crew", crew.name}};
    SeedPool seed(kUnits, 0);
    rounds.Add("leaseplane", params, crew.as, crew.workers, LeasePairs({target, PoolName(kUnits)}));
    rounds.Add("seed in C++", params, crew.as, crew.workers, seed.Pairs());
    for (Peer& peer : ProcessPeers(kUnits)) {
      Params with = params;
      with["names_slot"] = peer.names_slot;
      rounds.Add(peer.name, with, crew.as, crew.workers, peer.make);
    }
    if (crew.as == As::kThreads) {
      for (Peer& peer : ThreadPeers(kUnits)) {
        Params with = params;
        with["names_slot"] = peer.names_slot;
        rounds.Add(peer.name, with, crew.as, crew.workers, peer.make);
      }
    }
    rounds.Run("pair of one worker", "leaseplane");
  }
}

void Churn(const Settings& settings, Report& report, const std::string& target) {
  for (const uint32_t n : {1024u, 65'536u}) {
    Rounds rounds(settings, report);
    for (const int workers : {1, 2}) {
      const Params params{{"capacity", n}, {"held", 32}, {"workers", workers}};
      rounds.Add("leaseplane", params, As::kThreads, workers,
                 LeaseChurn({target, PoolName(n)}, 32));
    }
    rounds.Run("replace the oldest of 32", "1 worker");
  }
}

int Main(int argc, char** argv) {
  Settings settings;
  CLI::App app("The local path beside its floor, its ancestor and its peers");
  app.add_option("--out", settings.out, "Where the figures go, JSON");
  app.add_option("--repetitions", settings.repetitions, "Windows of each subject");
  app.add_option("--window", settings.window, "Length of a window in seconds");
  app.add_flag("--quick", settings.quick, "One thread and scaling only");
  CLI11_PARSE(app, argc, argv);
  testing::DaemonProcess daemon({LEASEPLANED, Config(), {}});
  daemon.Start();
  const std::string target = daemon.unix_target();
  Report report("local");
  OneThread(settings, report, target);
  Failing(settings, report, target);
  Scaling(settings, report, target);
  if (!settings.quick) {
    Churn(settings, report, target);
    Peers(settings, report, target);
  }
  report.Write(settings.out);
  return 0;
}

}  // namespace
}  // namespace leaseplane::bench

int main(int argc, char** argv) { return leaseplane::bench::Main(argc, argv); }
