// SPDX-License-Identifier: Apache-2.0
//
// Rounds: the subjects of one experiment, measured in turn, again and again, so that a ratio is of
// windows that are a moment apart.
//
// Threads: one. Errors: abort with a reason.
#pragma once

#include <functional>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "tests/bench/harness/gang.h"
#include "tests/bench/harness/report.h"

namespace leaseplane::bench {

struct Settings {
  std::string out = "local.json";
  int repetitions = 9;
  double window = 0.04;  // seconds
  bool quick = false;
};

class Rounds {
 public:
  // Measures one window of so many seconds.
  using RunWindow = std::function<Gang::Window(double seconds)>;

  Rounds(const Settings& settings, Report& report) : settings_(settings), report_(report) {}

  // `weight` multiplies the time: for subjects that do less than an operation says.
  void Add(const std::string& name, const Params& params, As as, int workers, MakeBatch make,
           double weight = 1);
  void Add(const std::string& name, const Params& params, int workers, RunWindow run,
           double weight = 1);

  // Figures of all, and of each as a ratio to the first.
  void Run(const std::string& metric, const std::string& base);
  // Call after Run: throughput as a ratio to that of subject `base`, for those behind it.
  void ReportThroughput(size_t base, const std::string& metric);

 private:
  struct Entry {
    std::string name;
    Params params;
    int workers = 1;
    double weight = 1;
    RunWindow run;
    std::vector<double> ns;  // of one worker for one operation
  };
  const Settings& settings_;
  Report& report_;
  std::vector<Entry> entries_;
};

}  // namespace leaseplane::bench
