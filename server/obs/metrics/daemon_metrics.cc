// SPDX-License-Identifier: Apache-2.0
#include "server/obs/metrics/daemon_metrics.h"

#include <atomic>
#include <map>

#include "server/obs/metrics/families.h"

namespace leaseplane::obs {

using prometheus::MetricFamily;
using prometheus::MetricType;

DaemonMetrics::DaemonMetrics(std::string version, Source source)
    : version_(std::move(version)), source_(std::move(source)) {}

DaemonMetrics::Stripe& DaemonMetrics::OwnStripe() {
  static std::atomic<size_t> thread_count{0};
  static thread_local const size_t number = thread_count.fetch_add(1, std::memory_order_relaxed);
  return stripes_[number % stripes_.size()];
}

void DaemonMetrics::CountCall(std::string_view method, std::string_view code) {
  Stripe& stripe = OwnStripe();
  MutexLock lock(&stripe.mu);
  auto& [names, count] = stripe.calls[{method.data(), code.data()}];
  names = {method, code};
  ++count;
}

void DaemonMetrics::TimeCall(std::string_view method, int64_t duration_ns) {
  Stripe& stripe = OwnStripe();
  MutexLock lock(&stripe.mu);
  Timed& timed = stripe.timed[method.data()];
  timed.method = method;
  timed.durations.Observe(duration_ns);
}

void DaemonMetrics::AddCalls(std::vector<MetricFamily>& out) const {
  std::map<Names, uint64_t> sums;
  for (const Stripe& stripe : stripes_) {
    MutexLock lock(&stripe.mu);
    for (const auto& [unused, entry] : stripe.calls) {
      const auto& [names, count] = entry;
      sums[names] += count;
      // A series that begins at 1 has no increase that Prometheus could see, so faults begin at 0.
      sums.try_emplace({names.first, "INTERNAL"}, 0);
    }
  }
  MetricFamily& calls = AddFamily(out, "leaseplane_grpc_requests_total",
                                  "Answered gRPC calls by method and code.", MetricType::Counter);
  for (const auto& [names, count] : sums) {
    AddValue(calls, {{"method", std::string(names.first)}, {"code", std::string(names.second)}},
             static_cast<double>(count));
  }
}

void DaemonMetrics::AddDurations(std::vector<MetricFamily>& out) const {
  std::map<std::string_view, Histogram> sums;
  for (const Stripe& stripe : stripes_) {
    MutexLock lock(&stripe.mu);
    for (const auto& [unused, timed] : stripe.timed) {
      sums.try_emplace(timed.method, kCallBounds).first->second.Add(timed.durations);
    }
  }
  MetricFamily& durations =
      AddFamily(out, "leaseplane_grpc_request_seconds",
                "Time from a call's arrival in the daemon to its answer, of calls that waited for "
                "nothing: streams and waits for a slot are not in it.",
                MetricType::Histogram);
  for (const auto& [method, histogram] : sums) {
    AddHistogram(durations, {{"method", std::string(method)}}, histogram);
  }
}

std::vector<MetricFamily> DaemonMetrics::Collect() const {
  const DaemonFigures figures = source_();
  std::vector<MetricFamily> out;
  AddPoolFamilies(figures.pools, out);
  AddDaemonFamilies(figures, version_, out);
  AddCalls(out);
  AddDurations(out);
  // A family without series would be served as a headline without a value.
  std::erase_if(out, [](const MetricFamily& family) { return family.metric.empty(); });
  return out;
}

}  // namespace leaseplane::obs
