// SPDX-License-Identifier: Apache-2.0
//
// The command line of the stepping programs, --NAME=VALUE, and the choice of their points.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "tests/support/verify_ledger.h"

namespace leaseplane::step {

class ProgramOptions {
 public:
  ProgramOptions(int argc, char** argv) : argc_(argc), argv_(argv) {}

  std::string Get(const std::string& name, const std::string& otherwise = "") const {
    const std::string prefix = "--" + name + "=";
    for (int i = 1; i < argc_; ++i) {
      const std::string argument = argv_[i];
      if (argument.rfind(prefix, 0) == 0) return argument.substr(prefix.size());
    }
    return otherwise;
  }
  uint64_t Number(const std::string& name) const {  // 0 if it is not there
    return std::strtoull(Get(name).c_str(), nullptr, 10);
  }

 private:
  const int argc_;
  char** const argv_;
};

// Which instructions of a stretch.
struct Choice {
  explicit Choice(const ProgramOptions& options)
      : points(options.Number("points")),
        phase(options.Number("phase")),
        seconds(options.Number("seconds")) {}

  uint64_t points;   // so many, evenly spread; 0: all
  uint64_t phase;    // shifts the choice
  uint64_t seconds;  // fewer, if they would take longer than about that; 0: as long as it takes
};

// point(at) for the chosen instructions of `total`. Its first calls tell how long one takes.
template <class Point>
void EachPoint(uint64_t total, const Choice& choice, Point&& point) {
  uint64_t points = choice.points == 0 ? total + 1 : choice.points;
  if (choice.seconds != 0) {
    const double began = testing::MonotonicSeconds();
    for (uint64_t quarter = 1; quarter <= 3; ++quarter) point(total * quarter / 4);
    const double each = std::max((testing::MonotonicSeconds() - began) / 3, 1e-6);
    const double affordable = static_cast<double>(choice.seconds) / each;
    if (affordable < static_cast<double>(points)) points = static_cast<uint64_t>(affordable) + 1;
  }
  const uint64_t stride = std::max<uint64_t>(1, total / points);
  for (uint64_t at = choice.phase % stride; at <= total; at += stride) point(at);
}

}  // namespace leaseplane::step
