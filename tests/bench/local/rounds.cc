// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/local/rounds.h"

namespace leaseplane::bench {

void Rounds::Add(const std::string& name, const Params& params, As as, int workers, MakeBatch make,
                 double weight) {
  auto gang = std::make_shared<Gang>(as, workers, std::move(make));
  Add(
      name, params, workers, [gang](double seconds) { return gang->Run(seconds); }, weight);
}

void Rounds::Add(const std::string& name, const Params& params, int workers, RunWindow run,
                 double weight) {
  entries_.push_back({name, params, workers, weight, std::move(run), {}});
}

void Rounds::Run(const std::string& metric, const std::string& base) {
  for (int r = 0; r < settings_.repetitions; ++r) {
    for (Entry& entry : entries_) {
      entry.ns.push_back(entry.run(settings_.window).NsPerOp(entry.workers) * entry.weight);
    }
  }
  const std::vector<double>& floor = entries_.front().ns;
  for (const Entry& entry : entries_) {
    report_.Add(entry.name, entry.params, metric, "ns", entry.ns);
    if (&entry == &entries_.front()) continue;
    std::vector<double> ratios;
    for (size_t r = 0; r < floor.size(); ++r) ratios.push_back(entry.ns[r] / floor[r]);
    report_.Add(entry.name, entry.params, metric + " / " + base, "ratio", ratios);
  }
}

void Rounds::ReportThroughput(size_t base, const std::string& metric) {
  if (base >= entries_.size()) return;
  const auto rate = [](const Entry& entry, size_t r) { return entry.workers / entry.ns[r]; };
  for (size_t i = base + 1; i < entries_.size(); ++i) {
    std::vector<double> ratios;
    for (size_t r = 0; r < entries_[i].ns.size(); ++r) {
      ratios.push_back(rate(entries_[i], r) / rate(entries_[base], r));
    }
    report_.Add(entries_[i].name, entries_[i].params, metric, "ratio", ratios);
  }
}

}  // namespace leaseplane::bench
