// SPDX-License-Identifier: Apache-2.0
//
// DaemonMetrics: the daemon's figures in the form prometheus-cpp serves. Reads them through a
// function at each scrape, so no second copy of a pool's state is kept; holds only what nobody else
// counts: gRPC calls by method and code, and how long they took.
//
// Owner: the composition root. Threads: CountCall and TimeCall from any, Collect from the
// scraper's. Errors: none. Cost: a call one shared lock and an addition; Collect O(pools x
// capacity). Series: those of the pools there are (a deleted pool's end with it), one for each
// method and code that was answered; nothing a client chooses but the names of pools an operator
// made.
#pragma once

#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>

#include <atomic>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "server/obs/metrics/figures.h"
#include "server/obs/mutex.h"

namespace leaseplane::obs {

class DaemonMetrics final : public prometheus::Collectable {
 public:
  using Source = std::function<DaemonFigures()>;

  DaemonMetrics(std::string version, Source source);

  // One answered call. Both names come from a small fixed set.
  void CountCall(std::string_view method, std::string_view code);
  // One call that waited for nothing.
  void TimeCall(std::string_view method, int64_t duration_ns);

  std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  void AddCallFamilies(std::vector<prometheus::MetricFamily>& out) const;

  const std::string version_;
  const Source source_;
  mutable SharedMutex mu_;
  std::map<std::pair<std::string, std::string>, std::atomic<uint64_t>, std::less<>> calls_
      ABSL_GUARDED_BY(mu_);
  std::map<std::string, Histogram, std::less<>> durations_ ABSL_GUARDED_BY(mu_);
};

}  // namespace leaseplane::obs
