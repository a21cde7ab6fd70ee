// SPDX-License-Identifier: Apache-2.0
//
// Report: the figures of one benchmark run, as JSON. A figure is a list of values from interleaved
// windows of one run; what is published are their median and their spread.
//
// Threads: one. Errors: Write throws std::runtime_error.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace leaseplane::bench {

using Params = std::map<std::string, nlohmann::json>;

// REQUIRES values that are not empty.
double Median(std::vector<double> values);

class Report {
 public:
  explicit Report(std::string suite) : suite_(std::move(suite)) {}

  // Prints the figure as a line, too.
  void Add(const std::string& name, const Params& params, const std::string& metric,
           const std::string& unit, std::vector<double> values);
  // Writes {suite, name, params, metric, unit, values, median, spread: [min, max]} of each figure.
  void Write(const std::string& path) const;

 private:
  std::string suite_;
  nlohmann::json figures_ = nlohmann::json::array();
};

}  // namespace leaseplane::bench
