// SPDX-License-Identifier: Apache-2.0
//
// What every load generator here measures the same way: pairs, latencies, and the CPU time that
// the server's processes used meanwhile.
//
// Threads: one. Use: Begin when warm, Operation for each answer, Pair for each pair, Print at the
// end.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace leaseplane::bench {

inline int64_t NowNs() { return std::chrono::steady_clock::now().time_since_epoch().count(); }

// CPU nanoseconds used so far by these processes and their children, all threads.
int64_t CpuNs(const std::vector<int>& pids);

class Measure {
 public:
  Measure(double seconds, std::vector<int> server_pids)
      : length_ns_(static_cast<int64_t>(seconds * 1e9)), pids_(std::move(server_pids)) {}

  // Begins after a fifth of the time; until then nothing counts. True once it is over.
  bool IsOver(int64_t now_ns);
  void Operation(int64_t latency_ns) {
    if (is_counting_) latencies_ns_.push_back(latency_ns);
  }
  void Pairs(int64_t count) {
    if (is_counting_) pairs_ += count;
  }
  // One line of JSON: pairs_per_s, p50_us, p99_us, cpu_us_per_pair.
  void Print();

 private:
  const int64_t length_ns_;
  const std::vector<int> pids_;
  int64_t created_ns_ = NowNs();
  int64_t began_ns_ = 0, ended_ns_ = 0;
  int64_t cpu_began_ns_ = 0, cpu_ended_ns_ = 0;
  bool is_counting_ = false;
  int64_t pairs_ = 0;
  std::vector<int64_t> latencies_ns_;
};

}  // namespace leaseplane::bench
