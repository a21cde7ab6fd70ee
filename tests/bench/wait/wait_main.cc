// SPDX-License-Identifier: Apache-2.0
//
// Many workers wait for few slots: this project's two orders beside other ways to wait. Usage: see
// --help.
#include <CLI/CLI.hpp>
#include <cmath>
#include <cstdio>
#include <list>

#include "tests/bench/harness/report.h"
#include "tests/bench/wait/crowd.h"
#include "tests/bench/wait/ways.h"
#include "tests/support/daemon_process.h"

namespace leaseplane::bench {
namespace {

struct Settings {
  std::string out = "wait.json";
  int repetitions = 5;
  double window = 0.8;  // seconds; what waits longer is not seen
  bool quick = false;
};

// One experiment: so many workers, for so many slots, that they hold for so long.
struct Load {
  int hold_us, slots, waiters;
  double max_overtake_ms = 0;

  std::string Pool(const std::string& fairness) const {
    return "h" + std::to_string(hold_us) + "s" + std::to_string(slots) + "w" +
           std::to_string(waiters) + (fairness == "FIFO" ? "f" : "b");
  }
  Params params() const { return {{"hold_us", hold_us}, {"slots", slots}, {"waiters", waiters}}; }
};

constexpr char kBounded[] = "leaseplane BOUNDED", kFifo[] = "leaseplane FIFO";
constexpr char kBarging[] = "wake one", kStrict[] = "strict FIFO", kSemaphore[] = "POSIX sem_t";

std::vector<Load> Loads(bool quick) {
  std::vector<Load> loads;
  for (const int hold_us : {0, 2}) {
    for (const int slots : {1, 4}) {
      for (const int waiters : {2, 16, 256}) {
        if (!quick || hold_us == 2) loads.push_back({hold_us, slots, waiters});
      }
    }
  }
  return loads;
}

// A pool may be overtaken in for four times what strict order takes to serve everybody once.
void ChooseOvertake(Load& load, double window) {
  Crowd crowd(load.waiters, load.hold_us * 1000, StrictFifo(static_cast<uint32_t>(load.slots)));
  crowd.Run(window);  // while all of them begin, the order is not what it is afterwards
  const double handover_ms = 1e3 / crowd.Run(window).Throughput();
  load.max_overtake_ms = std::max(1.0, std::ceil(4 * load.waiters * handover_ms));
}

std::string Config(const std::vector<Load>& loads) {
  std::string text = "pools:\n";
  for (const Load& load : loads) {
    for (const std::string fairness : {"BOUNDED", "FIFO"}) {
      text += "  - id: " + load.Pool(fairness) + "\n    capacity: " + std::to_string(load.slots) +
              "\n    fairness: " + fairness +
              "\n    max_overtake: " + std::to_string(static_cast<int>(load.max_overtake_ms)) +
              "ms\n    max_waiters: 1000\n";
    }
  }
  return text;
}

struct Subject {
  std::string name;
  std::unique_ptr<Crowd> crowd;
  std::vector<CrowdWindow> windows;
};

template <class F>
std::vector<double> Values(const std::vector<CrowdWindow>& windows, F&& of) {
  std::vector<double> values;
  for (size_t r = 0; r < windows.size(); ++r) values.push_back(of(windows[r], r));
  return values;
}

void ReportOn(const Load& load, const std::list<Subject>& subjects, Report& report) {
  const auto windows_of = [&](const char* name) -> const std::vector<CrowdWindow>& {
    for (const Subject& subject : subjects) {
      if (subject.name == name) return subject.windows;
    }
    std::abort();
  };
  const std::vector<CrowdWindow>& barging = windows_of(kBarging);
  const std::vector<CrowdWindow>& strict = windows_of(kStrict);
  for (const Subject& subject : subjects) {
    Params params = load.params();
    const auto add = [&](const char* metric, const char* unit, auto&& of) {
      report.Add(subject.name, params, metric, unit, Values(subject.windows, of));
    };
    if (subject.name == kBounded) params["max_overtake_ms"] = load.max_overtake_ms;
    add("throughput", "1/s", [](const CrowdWindow& w, size_t) { return w.Throughput(); });
    add("throughput / wake one", "ratio",
        [&](const CrowdWindow& w, size_t r) { return w.Throughput() / barging[r].Throughput(); });
    add("p50 wait", "us", [](const CrowdWindow& w, size_t) { return w.p50_us; });
    add("p99 wait", "us", [](const CrowdWindow& w, size_t) { return w.p99_us; });
    add("longest wait", "ms", [](const CrowdWindow& w, size_t) { return w.longest_ms; });
    add("fairness", "1", [](const CrowdWindow& w, size_t) { return w.fairness; });
    if (subject.name != kBounded) continue;
    add("longest wait / bound", "ratio", [&](const CrowdWindow& w, size_t r) {
      const double handover_ms = 1e3 / strict[r].Throughput();
      return w.longest_ms / (load.max_overtake_ms + 2 * load.waiters * handover_ms);
    });
  }
}

void Measure(const Settings& settings, const std::string& target, const Load& load,
             Report& report) {
  const auto slots = static_cast<uint32_t>(load.slots);
  std::list<Subject> subjects;
  const auto add = [&](const char* name, JoinProcess join) {
    subjects.push_back(
        {name, std::make_unique<Crowd>(load.waiters, load.hold_us * 1000, std::move(join)), {}});
  };
  add(kBounded, LeaseplaneWay(target, load.Pool("BOUNDED")));
  add(kFifo, LeaseplaneWay(target, load.Pool("FIFO")));
  add(kBarging, WakeOne(slots));
  add(kStrict, StrictFifo(slots));
  add(kSemaphore, PosixSemaphoreWay(slots));
  for (int r = 0; r < settings.repetitions; ++r) {
    for (Subject& subject : subjects) {
      subject.windows.push_back(subject.crowd->Run(settings.window));
    }
  }
  ReportOn(load, subjects, report);
}

int Main(int argc, char** argv) {
  Settings settings;
  CLI::App app("Many workers wait for few slots");
  app.add_option("--out", settings.out, "Where the figures go, JSON");
  app.add_option("--repetitions", settings.repetitions, "Windows of each subject");
  app.add_option("--window", settings.window, "Length of a window in seconds");
  app.add_flag("--quick", settings.quick, "Held 2 us only, one short window");
  CLI11_PARSE(app, argc, argv);
  if (settings.quick) settings.repetitions = 1, settings.window = 0.3;
  std::vector<Load> loads = Loads(settings.quick);
  for (Load& load : loads) ChooseOvertake(load, settings.window / 2);
  testing::DaemonProcess daemon({LEASEPLANED, Config(loads), {}});
  daemon.Start();
  Report report("wait");
  for (const Load& load : loads) Measure(settings, daemon.unix_target(), load, report);
  report.Write(settings.out);
  return 0;
}

}  // namespace
}  // namespace leaseplane::bench

int main(int argc, char** argv) { return leaseplane::bench::Main(argc, argv); }
