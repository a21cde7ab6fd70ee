// SPDX-License-Identifier: Apache-2.0
//
// DaemonMetrics: the daemon's figures in the form prometheus-cpp serves. Reads them through a
// function at each scrape, so no second copy of a pool's state is kept; holds only what nobody else
// counts: gRPC calls by method and code, and how long they took.
//
// Owner: the composition root. Threads: CountCall and TimeCall from any, Collect from the
// scraper's. Errors: none. Cost: a call one lock, which threads do not share as long as there are
// no more of them than stripes, and an addition; Collect O(pools x capacity). Series: those of the
// pools there are (a deleted pool's end with it), one for each method and code that was answered;
// nothing a client chooses but the names of pools an operator made.
#pragma once

#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/container/node_hash_map.h"
#include "server/obs/metrics/figures.h"
#include "server/obs/mutex.h"

namespace leaseplane::obs {

class DaemonMetrics final : public prometheus::Collectable {
 public:
  using Source = std::function<DaemonFigures()>;

  DaemonMetrics(std::string version, Source source);

  // One answered call. Both names are literals, from a small fixed set.
  void CountCall(std::string_view method, std::string_view code);
  // One call that waited for nothing. `method` is a literal.
  void TimeCall(std::string_view method, int64_t duration_ns);

  std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  using Names = std::pair<std::string_view, std::string_view>;
  struct Timed {
    std::string_view method;
    Histogram durations{kCallBounds};
  };
  // Counts by the addresses of the names, in stripes: a thread keeps to one, so that calls do not
  // meet at a lock.
  struct Stripe {
    mutable Mutex mu;
    absl::flat_hash_map<std::pair<const char*, const char*>, std::pair<Names, uint64_t>> calls
        ABSL_GUARDED_BY(mu);
    absl::node_hash_map<const char*, Timed> timed ABSL_GUARDED_BY(mu);
  };

  Stripe& OwnStripe();
  void AddCalls(std::vector<prometheus::MetricFamily>& out) const;
  void AddDurations(std::vector<prometheus::MetricFamily>& out) const;

  const std::string version_;
  const Source source_;
  std::array<Stripe, 16> stripes_;
};

}  // namespace leaseplane::obs
