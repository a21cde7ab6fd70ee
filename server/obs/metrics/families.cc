// SPDX-License-Identifier: Apache-2.0
#include "server/obs/metrics/families.h"

#include <limits>

namespace leaseplane::obs {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

MetricFamily& AddFamily(Families& out, std::string name, std::string help, MetricType type) {
  MetricFamily family;
  family.name = std::move(name);
  family.help = std::move(help);
  family.type = type;
  out.push_back(std::move(family));
  return out.back();
}

void AddValue(MetricFamily& family, Labels labels, double value) {
  ClientMetric metric;
  metric.label = std::move(labels);
  if (family.type == MetricType::Counter) {
    metric.counter.value = value;
  } else {
    metric.gauge.value = value;
  }
  family.metric.push_back(std::move(metric));
}

void AddHistogram(MetricFamily& family, Labels labels, const Histogram& histogram) {
  ClientMetric metric;
  metric.label = std::move(labels);
  const Bounds bounds = histogram.bounds();
  uint64_t cumulative = 0;
  for (size_t i = 0; i <= bounds.size(); ++i) {
    cumulative += histogram.count(i);
    const double bound = i < bounds.size() ? bounds[i] : std::numeric_limits<double>::infinity();
    metric.histogram.bucket.push_back({cumulative, bound});
  }
  metric.histogram.sample_count = cumulative;
  metric.histogram.sample_sum = histogram.sum_seconds();
  family.metric.push_back(std::move(metric));
}

namespace {

MetricFamily& AddGauge(Families& out, std::string name, std::string help, double value) {
  MetricFamily& family = AddFamily(out, std::move(name), std::move(help), MetricType::Gauge);
  AddValue(family, {}, value);
  return family;
}

void AddSessions(const DaemonFigures& f, Families& out) {
  AddGauge(out, "leaseplane_sessions", "Attached processes.", f.sessions);
  AddGauge(out, "leaseplane_sessions_lingering",
           "Sessions that ended while their process lives on: their places are free when it ends.",
           f.sessions_lingering);
  AddGauge(out, "leaseplane_sessions_limit",
           "Places for sessions, attached and lingering ones together, by the daemon's "
           "descriptors.",
           f.sessions_limit);
  AddValue(AddFamily(out, "leaseplane_sessions_ended_total",
                     "Attached processes that ended or were hung up, and whose slots were swept.",
                     MetricType::Counter),
           {}, static_cast<double>(f.sessions_ended));
  MetricFamily& rejected =
      AddFamily(out, "leaseplane_attach_rejected_total",
                "Attach connections turned away or hung up, by reason.", MetricType::Counter);
  for (const auto& [reason, count] : f.attach_rejected) {
    AddValue(rejected, {{"reason", reason}}, static_cast<double>(count));
  }
}

void AddCredentials(const CredentialFigures& f, Families& out) {
  MetricFamily& reloads =
      AddFamily(out, "leaseplane_credential_reloads_total",
                "Changed files of TLS and tokens that were read again, by result: with failed the "
                "old ones stay in use.",
                MetricType::Counter);
  AddValue(reloads, {{"result", "ok"}}, static_cast<double>(f.reloads));
  AddValue(reloads, {{"result", "failed"}}, static_cast<double>(f.reload_failures));
  if (f.certificate_not_after_unix_s == 0) return;
  AddGauge(out, "leaseplane_tls_certificate_not_before_timestamp_seconds",
           "When the TLS certificate in use began to be valid, in seconds since 1970.",
           static_cast<double>(f.certificate_not_before_unix_s));
  AddGauge(out, "leaseplane_tls_certificate_not_after_timestamp_seconds",
           "When the TLS certificate in use expires, in seconds since 1970.",
           static_cast<double>(f.certificate_not_after_unix_s));
}

}  // namespace

void AddDaemonFamilies(const DaemonFigures& f, const std::string& version, Families& out) {
  MetricFamily& unready =
      AddFamily(out, "leaseplane_unready",
                "1 for the reason why the daemon gives no leases now; all 0 while it serves.",
                MetricType::Gauge);
  for (const auto& [reason, is_so] : f.unready) AddValue(unready, {{"reason", reason}}, is_so);
  AddGauge(out, "leaseplane_pools", "Pools that are served.", static_cast<double>(f.pools.size()));
  AddGauge(out, "leaseplane_pools_not_started",
           "Pools that are wanted but could not be started; the log has the error.",
           f.pools_not_started);
  AddSessions(f, out);
  MetricFamily& lag =
      AddFamily(out, "leaseplane_tick_lag_seconds",
                "How late each tick of the engine was, against one every 50 ms. After half a "
                "second without one, local clients ignore the gate.",
                MetricType::Histogram);
  if (f.tick_lag != nullptr) AddHistogram(lag, {}, *f.tick_lag);
  AddGauge(out, "leaseplane_store_lag_seconds",
           "Age of the oldest change that is not in the store yet.", f.store_lag_seconds);
  AddGauge(out, "leaseplane_store_failed", "1 while the store refuses writes.", f.store_failed);
  AddValue(AddFamily(out, "leaseplane_worker_starts_total",
                     "Starts of the worker process since the daemon's start.", MetricType::Counter),
           {}, static_cast<double>(f.worker_starts));
  if (f.credentials) AddCredentials(*f.credentials, out);
  AddValue(
      AddFamily(out, "leaseplane_build_info", "1, with the version as label.", MetricType::Gauge),
      {{"version", version}}, 1);
}

}  // namespace leaseplane::obs
