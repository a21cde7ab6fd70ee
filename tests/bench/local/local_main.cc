// SPDX-License-Identifier: Apache-2.0
//
// The local path beside its floor, its ancestor and its peers. Usage: see --help.
#include <CLI/CLI.hpp>

#include "tests/bench/local/node_process.h"
#include "tests/bench/local/rounds.h"
#include "tests/bench/local/subjects.h"
#include "tests/support/daemon_process.h"

namespace leaseplane::bench {
namespace {

constexpr uint32_t kCapacities[] = {1, 16, 100, 1024, 65'536, 1'048'576};

std::string PoolName(uint32_t capacity) { return "n" + std::to_string(capacity); }

std::string Config() {
  std::string text = "pools:\n";
  for (const uint32_t n : kCapacities) {
    text += "  - id: " + PoolName(n) + "\n    capacity: " + std::to_string(n) + "\n";
  }
  return text;
}

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
    rounds.ReportThroughput(0, "throughput / 1 thread");
    rounds.ReportThroughput(1, "throughput / 2 threads");
  }
}

// What the machine itself makes of several workers, each of them on a word of its own.
void FloorScaling(const Settings& settings, Report& report) {
  Rounds rounds(settings, report);
  for (const Crew& crew : kCrews) {
    const Params params{{"capacity", 1}, {"occupancy", 0}, {"crew", crew.name}};
    rounds.Add("two CAS", params, crew.as, crew.workers, FloorTwoCas());
  }
  rounds.Run("pair of one worker", "1 thread");
  rounds.ReportThroughput(0, "throughput / 1 thread");
  rounds.ReportThroughput(1, "throughput / 2 threads");
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

Rounds::RunWindow InNode(const char* subject, uint32_t capacity, int workers) {
  auto process = std::make_shared<NodeProcess>(subject, capacity, workers);
  return [process](double seconds) { return process->Run(seconds); };
}

// One process with one thread beside pools that live in one thread; two processes beside two
// workers of Node, which share memory.
void BesideNode(const Settings& settings, Report& report, const std::string& target) {
  constexpr uint32_t kUnits = 1024;
  for (const int workers : {1, 2}) {
    Rounds rounds(settings, report);
    const Params params{
        {"capacity", kUnits},
        {"crew", std::to_string(workers) + (workers == 1 ? " worker" : " workers")}};
    rounds.Add("leaseplane", params, As::kProcesses, workers,
               LeasePairs({target, PoolName(kUnits)}));
    rounds.Add("seed in Node", params, workers, InNode("seed", kUnits, workers));
    if (workers == 1) {
      rounds.Add("generic-pool", params, workers, InNode("generic-pool", kUnits, workers));
      rounds.Add("tarn", params, workers, InNode("tarn", kUnits, workers));
    }
    rounds.Run("pair beside Node", "leaseplane");
  }
}

void ObjectPools(const Settings& settings, Report& report, const std::string& target) {
  for (const Crew& crew : {kCrews[0], kCrews[1]}) {
    Rounds rounds(settings, report);
    const Params params{{"capacity", 16}, {"crew", crew.name}};
    rounds.Add("ObjectPool", params, crew.as, crew.workers, ObjectPairs({target, PoolName(16)}));
    rounds.Add("mutex-guarded pool of objects", params, crew.as, crew.workers, MutexObjects(16));
    if (crew.workers == 1) rounds.Add("generic-pool", params, 1, InNode("generic-pool", 16, 1));
    rounds.Run("object pair", "ObjectPool");
  }
}

int Main(int argc, char** argv) {
  Settings settings;
  CLI::App app("The local path beside its floor, its ancestor and its peers");
  app.add_option("--out", settings.out, "Where the figures go, JSON");
  app.add_option("--repetitions", settings.repetitions, "Windows of each subject");
  app.add_option("--window", settings.window, "Length of a window in seconds");
  app.add_flag("--quick", settings.quick, "Few windows of each");
  CLI11_PARSE(app, argc, argv);
  if (settings.quick) settings.repetitions = 2;
  testing::DaemonProcess daemon({LEASEPLANED, Config(), {}});
  daemon.Start();
  const std::string target = daemon.unix_target();
  Report report("local");
  OneThread(settings, report, target);
  Failing(settings, report, target);
  FloorScaling(settings, report);
  Scaling(settings, report, target);
  Churn(settings, report, target);
  Peers(settings, report, target);
  BesideNode(settings, report, target);
  ObjectPools(settings, report, target);
  report.Write(settings.out);
  return 0;
}

}  // namespace
}  // namespace leaseplane::bench

int main(int argc, char** argv) { return leaseplane::bench::Main(argc, argv); }
