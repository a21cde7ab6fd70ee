// SPDX-License-Identifier: Apache-2.0
//
// The command line of the stepping programs, --NAME=VALUE, and the choice of their points.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>

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

// point(at) for about `points` instructions of `total`, evenly spread, or for all if `points` is 0.
template <class Point>
void EachPoint(uint64_t total, uint64_t points, uint64_t phase, Point&& point) {
  const uint64_t stride = points == 0 ? 1 : std::max<uint64_t>(1, total / points);
  for (uint64_t at = phase % stride; at <= total; at += stride) point(at);
}

}  // namespace leaseplane::step
