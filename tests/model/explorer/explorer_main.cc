// SPDX-License-Identifier: Apache-2.0
//
// Runs configurations and prints one line for each; the first failure prints the line that replays
// it and ends with 1. Without options: all regular configurations.
//
//   --config=NAME[,NAME]  only these        --list            names, and nothing else
//   --random --seed=N     random walks      --executions=N    at most, for each configuration
//   --seconds=N           at most, each     --replay=0,1,3    one execution (with --config)
//   --trace               print each access (with --replay)
//   --FIELD=N             any number of Config: --kills=2 --preemptions=3 --slots=2 ...
//   --threads=0,0,1 --admin=LU --fifo=1 --locked=1
//
// What was explored without a failure goes to the ledger of tests/verify. The depth first search
// finds the same executions each time: there the largest run counts.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "tests/model/explorer/world.h"
#include "tests/support/verify_ledger.h"

namespace leaseplane::explorer {
namespace {

struct Options {
  std::map<std::string, std::string> values;

  bool Has(const char* name) const { return values.count(name) != 0; }
  std::string Get(const char* name) const {
    auto it = values.find(name);
    return it == values.end() ? std::string() : it->second;
  }
  uint64_t Number(const char* name, uint64_t otherwise) const {
    return Has(name) ? std::strtoull(Get(name).c_str(), nullptr, 10) : otherwise;
  }
};

Options Parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    const size_t begin = argument.rfind("--", 0) == 0 ? 2 : 0;
    const size_t equals = argument.find('=');
    options.values[argument.substr(begin, equals - begin)] =
        equals == std::string::npos ? "" : argument.substr(equals + 1);
  }
  return options;
}

// The name of an option that means nothing here; empty: there is none.
std::string UnknownIn(const Options& options) {
  const std::set<std::string> own = {"config", "list", "replay", "seconds", "seed", "trace"};
  Config scratch;
  for (const auto& [name, value] : options.values) {
    if (own.count(name) == 0 && !SetField(scratch, name, value)) return name;
  }
  return "";
}

struct Explored {
  uint64_t executions = 0, points = 0;
  double seconds = 0;
};

void Override(const Options& o, Config& c) {
  if (o.Has("seconds")) c.executions_max = ~uint64_t{0};
  for (const auto& [name, value] : o.values) SetField(c, name, value);
}

void RunOnce(World& world, const Config& config) {
  TheScheduler().Begin(&world, config.random ? 1'000'000 : config.preemptions);
  world.Reset(config);
  SimMemory::quiet = false;
  TheScheduler().Run();
  while ((config.lingers || config.dwells) && !TheScheduler().failed()) {
    world.JudgeBesideHolders();
    if (TheScheduler().Wake(&world.remotes, kRemotesMax + kThreadsMax) == 0) break;
    TheScheduler().Run();
  }
  for (int ticks = 0; ticks < 8 && !TheScheduler().failed() && world.TickAtRest(); ++ticks) {
    TheScheduler().Run();
  }
  SimMemory::quiet = true;
  if (!TheScheduler().failed()) world.Judge();
}

void PrintFailure(const Config& config, int argc, char** argv) {
  std::printf("FAIL %s: %s\n  replay:", config.name.c_str(), TheScheduler().failure().c_str());
  std::printf(" --config=%s", config.name.c_str());
  for (int i = 1; i < argc; ++i) {
    const bool skip =
        std::strncmp(argv[i], "--config", 8) == 0 || std::strncmp(argv[i], "--replay", 8) == 0 ||
        std::strncmp(argv[i], "--random", 8) == 0 || std::strncmp(argv[i], "--seed", 6) == 0 ||
        std::strncmp(argv[i], "--executions", 12) == 0;
    if (!skip) std::printf(" %s", argv[i]);
  }
  if (config.random) std::printf(" --random");
  std::printf(" --trace --replay=");
  const char* comma = "";
  for (int pick : TheScheduler().Picks()) {
    std::printf("%s%d", comma, pick);
    comma = ",";
  }
  std::printf("\n");
}

// False: a failure was found and printed.
bool Explore(World& world, const Config& config, const Options& options, int argc, char** argv,
             Explored& sum) {
  using Clock = std::chrono::steady_clock;
  Scheduler& s = TheScheduler();
  const uint64_t seed = options.Number("seed", 1);
  if (options.Has("replay")) {
    s.StartReplay(ParseNumbers(options.Get("replay")));
  } else if (config.random) {
    s.StartRandom(seed);
  } else {
    s.StartDepthFirst();
  }
  const auto begin = Clock::now();
  const double limit = static_cast<double>(options.Number("seconds", 1'000'000));
  const uint64_t points_before = s.points();
  uint64_t executions = 0;
  bool exhausted = false;
  double seconds = 0;
  while (executions < config.executions_max && seconds < limit) {
    if (!s.NextExecution()) {
      exhausted = true;
      break;
    }
    RunOnce(world, config);
    ++executions;
    if (s.failed()) {
      std::printf("after %llu executions: ", static_cast<unsigned long long>(executions));
      PrintFailure(config, argc, argv);
      return false;
    }
    if (executions % 256 == 0) {
      seconds = std::chrono::duration<double>(Clock::now() - begin).count();
    }
  }
  seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  std::printf("%-26s %10llu executions (%s) %12llu points %8.2f s\n", config.name.c_str(),
              static_cast<unsigned long long>(executions),
              exhausted       ? "all"
              : config.random ? "random"
                              : "cut",
              static_cast<unsigned long long>(s.points() - points_before), seconds);
  std::fflush(stdout);
  sum.executions += executions;
  sum.points += s.points() - points_before;
  sum.seconds += seconds;
  return true;
}

void Record(const Options& options, const Explored& sum) {
  const bool is_random = options.Has("random");
  const std::string stage = is_random ? "explorer, random" : "explorer, depth first";
  const std::string counted = is_random ? "" : "max ";
  testing::RecordResult(stage, counted + "executions", sum.executions, sum.seconds);
  testing::RecordResult(stage, counted + "scheduling points", sum.points, 0);
}

int Main(int argc, char** argv) {
  const Options options = Parse(argc, argv);
  if (const std::string unknown = UnknownIn(options); !unknown.empty()) {
    std::fprintf(stderr, "unknown option '%s'; the head of explorer_main.cc lists them\n",
                 unknown.c_str());
    return 64;
  }
  const std::string wanted = "," + options.Get("config") + ",";
  auto world = std::make_unique<World>();
  SimMemory::tracing = options.Has("trace");
  int matched = 0;
  Explored sum;
  for (Config config : RegularConfigs()) {
    if (options.Has("list")) {
      std::printf("%s\n", config.name.c_str());
      continue;
    }
    if (options.Has("config") && wanted.find("," + config.name + ",") == std::string::npos) {
      continue;
    }
    ++matched;
    Override(options, config);
    if (!Explore(*world, config, options, argc, argv, sum)) return 1;
  }
  if (matched == 0 && !options.Has("list")) {
    std::fprintf(stderr, "no such configuration; --list prints the names\n");
    return 64;
  }
  if (!options.Has("list") && !options.Has("replay")) Record(options, sum);
  return 0;
}

}  // namespace
}  // namespace leaseplane::explorer

int main(int argc, char** argv) { return leaseplane::explorer::Main(argc, argv); }
