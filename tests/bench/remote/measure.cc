// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/remote/measure.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <system_error>

namespace leaseplane::bench {
namespace {

int64_t CpuNsOfTree(int pid) {
  int64_t sum_ns = 0;
  std::error_code gone;
  const std::string tasks = "/proc/" + std::to_string(pid) + "/task";
  for (const auto& task : std::filesystem::directory_iterator(tasks, gone)) {
    int64_t on_cpu_ns = 0;
    std::ifstream(task.path() / "schedstat") >> on_cpu_ns;
    sum_ns += on_cpu_ns;
    std::ifstream children(task.path() / "children");
    for (int child = 0; children >> child;) sum_ns += CpuNsOfTree(child);
  }
  return sum_ns;
}

double Microseconds(const std::vector<int64_t>& sorted, double quantile) {
  if (sorted.empty()) return 0;
  const auto at = static_cast<size_t>(quantile * static_cast<double>(sorted.size() - 1));
  return static_cast<double>(sorted[at]) * 1e-3;
}

}  // namespace

int64_t CpuNs(const std::vector<int>& pids) {
  int64_t sum_ns = 0;
  for (const int pid : pids) sum_ns += CpuNsOfTree(pid);
  return sum_ns;
}

bool Measure::IsOver(int64_t now_ns) {
  if (!is_counting_ && ended_ns_ == 0 && now_ns - created_ns_ > length_ns_ / 5) {
    is_counting_ = true;
    latencies_ns_.reserve(1 << 20);
    cpu_began_ns_ = CpuNs(pids_);
    began_ns_ = NowNs();
  } else if (is_counting_ && now_ns - began_ns_ > length_ns_) {
    ended_ns_ = NowNs();
    cpu_ended_ns_ = CpuNs(pids_);
    is_counting_ = false;
  }
  return ended_ns_ != 0;
}

void Measure::Print() {
  std::sort(latencies_ns_.begin(), latencies_ns_.end());
  const double seconds = static_cast<double>(ended_ns_ - began_ns_) * 1e-9;
  const double cpu_us = static_cast<double>(cpu_ended_ns_ - cpu_began_ns_) * 1e-3;
  const auto pairs = static_cast<double>(std::max<int64_t>(pairs_, 1));
  std::printf(
      "{\"pairs_per_s\": %.1f, \"p50_us\": %.2f, \"p99_us\": %.2f, \"cpu_us_per_pair\": %.4f}\n",
      static_cast<double>(pairs_) / seconds, Microseconds(latencies_ns_, 0.5),
      Microseconds(latencies_ns_, 0.99), cpu_us / pairs);
}

}  // namespace leaseplane::bench
