// SPDX-License-Identifier: Apache-2.0
#include "server/obs/metrics/daemon_metrics.h"

#include "server/obs/metrics/families.h"

namespace leaseplane::obs {

using prometheus::MetricFamily;
using prometheus::MetricType;

DaemonMetrics::DaemonMetrics(std::string version, Source source)
    : version_(std::move(version)), source_(std::move(source)) {}

void DaemonMetrics::CountCall(std::string_view method, std::string_view code) {
  const std::pair<std::string, std::string> key(method, code);
  {
    ReaderLock lock(&mu_);
    auto it = calls_.find(key);
    if (it != calls_.end()) {
      it->second.fetch_add(1, std::memory_order_relaxed);
      return;
    }
  }
  WriterLock lock(&mu_);
  // A series that begins at 1 has no increase that Prometheus could see, so faults begin at 0.
  calls_.try_emplace({std::string(method), "INTERNAL"}, 0);
  calls_[key].fetch_add(1, std::memory_order_relaxed);
}

void DaemonMetrics::TimeCall(std::string_view method, int64_t duration_ns) {
  {
    ReaderLock lock(&mu_);
    auto it = durations_.find(method);
    if (it != durations_.end()) return it->second.Observe(duration_ns);
  }
  WriterLock lock(&mu_);
  durations_.try_emplace(std::string(method), kCallBounds).first->second.Observe(duration_ns);
}

void DaemonMetrics::AddCallFamilies(std::vector<MetricFamily>& out) const {
  ReaderLock lock(&mu_);
  MetricFamily& calls = AddFamily(out, "leaseplane_grpc_requests_total",
                                  "Answered gRPC calls by method and code.", MetricType::Counter);
  for (const auto& [key, count] : calls_) {
    AddValue(calls, {{"method", key.first}, {"code", key.second}},
             static_cast<double>(count.load(std::memory_order_relaxed)));
  }
  MetricFamily& durations =
      AddFamily(out, "leaseplane_grpc_request_seconds",
                "Time from a call's arrival in the daemon to its answer, of calls that waited for "
                "nothing: streams and waits for a slot are not in it.",
                MetricType::Histogram);
  for (const auto& [method, histogram] : durations_) {
    AddHistogram(durations, {{"method", method}}, histogram);
  }
}

std::vector<MetricFamily> DaemonMetrics::Collect() const {
  const DaemonFigures figures = source_();
  std::vector<MetricFamily> out;
  AddPoolFamilies(figures.pools, out);
  AddDaemonFamilies(figures, version_, out);
  AddCallFamilies(out);
  // A family without series would be served as a headline without a value.
  std::erase_if(out, [](const MetricFamily& family) { return family.metric.empty(); });
  return out;
}

}  // namespace leaseplane::obs
