// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/harness/report.h"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <stdexcept>

namespace leaseplane::bench {

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

void Report::Add(const std::string& name, const Params& params, const std::string& metric,
                 const std::string& unit, std::vector<double> values) {
  const auto [least, most] = std::minmax_element(values.begin(), values.end());
  const double median = Median(values);
  std::string text;
  for (const auto& [key, value] : params) text += " " + key + "=" + value.dump();
  std::printf("%-26s %-26s %10.3f %-7s [%.3f .. %.3f]%s\n", name.c_str(), metric.c_str(), median,
              unit.c_str(), *least, *most, text.c_str());
  std::fflush(stdout);
  figures_.push_back({{"suite", suite_},
                      {"name", name},
                      {"params", params},
                      {"metric", metric},
                      {"unit", unit},
                      {"median", median},
                      {"spread", {*least, *most}},
                      {"values", std::move(values)}});
}

void Report::Write(const std::string& path) const {
  std::ofstream out(path);
  out << figures_.dump(1) << "\n";
  if (!out.flush()) throw std::runtime_error("cannot write " + path);
}

}  // namespace leaseplane::bench
