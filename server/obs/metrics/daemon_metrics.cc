// SPDX-License-Identifier: Apache-2.0
#include "server/obs/metrics/daemon_metrics.h"

#include <atomic>
#include <limits>
#include <map>

namespace leaseplane::obs {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Labels = std::vector<ClientMetric::Label>;

MetricFamily& Add(std::vector<MetricFamily>& out, std::string name, std::string help,
                  MetricType type) {
  MetricFamily family;
  family.name = std::move(name);
  family.help = std::move(help);
  family.type = type;
  out.push_back(std::move(family));
  return out.back();
}

template <class Value>
void AddValue(MetricFamily& family, Labels labels, Value value) {
  ClientMetric metric;
  metric.label = std::move(labels);
  if (family.type == MetricType::Counter) {
    metric.counter.value = static_cast<double>(value);
  } else {
    metric.gauge.value = static_cast<double>(value);
  }
  family.metric.push_back(std::move(metric));
}

void AddHistogram(MetricFamily& family, Labels labels, const Histogram& histogram) {
  ClientMetric metric;
  metric.label = std::move(labels);
  uint64_t cumulative = 0;
  for (size_t i = 0; i <= Histogram::kBoundCount; ++i) {
    cumulative += histogram.count(i);
    const double bound = i < Histogram::kBoundCount ? Histogram::kBoundsSeconds[i]
                                                    : std::numeric_limits<double>::infinity();
    metric.histogram.bucket.push_back({cumulative, bound});
  }
  metric.histogram.sample_count = cumulative;
  metric.histogram.sample_sum = histogram.sum_seconds();
  family.metric.push_back(std::move(metric));
}

void CollectSlots(const std::vector<PoolFigures>& pools, std::vector<MetricFamily>& out) {
  MetricFamily& slots =
      Add(out, "leaseplane_pool_slots", "Slots of a pool by state.", MetricType::Gauge);
  for (const PoolFigures& p : pools) {
    const std::pair<const char*, uint32_t> states[] = {{"free", p.counts.free},
                                                       {"busy_local", p.counts.busy_local},
                                                       {"busy_remote", p.counts.busy_remote},
                                                       {"locked", p.counts.locked},
                                                       {"cooling", p.counts.cooling},
                                                       {"quarantined", p.counts.quarantined}};
    for (const auto& [state, count] : states) {
      AddValue(slots, {{"pool", p.id}, {"state", state}}, count);
    }
  }
  MetricFamily& waiters =
      Add(out, "leaseplane_waiters",
          "Waiters of a pool: queue = registered with the daemon, remote and local; local = "
          "attached processes asleep on the pool's wait word.",
          MetricType::Gauge);
  for (const PoolFigures& p : pools) {
    AddValue(waiters, {{"pool", p.id}, {"path", "queue"}}, p.counts.waiters);
    AddValue(waiters, {{"pool", p.id}, {"path", "local"}}, p.counts.local_waiters_enlisted);
  }
}

void CollectLeases(const std::vector<PoolFigures>& pools, std::vector<MetricFamily>& out) {
  MetricFamily& acquired =
      Add(out, "leaseplane_leases_acquired_total",
          "Leases granted. Local ones are counted by the tick from the slots' generations.",
          MetricType::Counter);
  for (const PoolFigures& p : pools) {
    AddValue(acquired, {{"pool", p.id}, {"path", "local"}}, p.stats.acquired_local);
    AddValue(acquired, {{"pool", p.id}, {"path", "remote"}}, p.stats.acquired_remote);
  }
  MetricFamily& ended =
      Add(out, "leaseplane_leases_ended_total",
          "Leases the daemon saw end, by reason. Local releases do not pass through the daemon.",
          MetricType::Counter);
  for (const PoolFigures& p : pools) {
    AddValue(ended, {{"pool", p.id}, {"reason", "released"}}, p.stats.released_remote);
    AddValue(ended, {{"pool", p.id}, {"reason", "expired"}}, p.stats.expired);
    AddValue(ended, {{"pool", p.id}, {"reason", "revoked"}}, p.stats.revoked);
    AddValue(ended, {{"pool", p.id}, {"reason", "holder_died"}}, p.stats.recovered_local);
    AddValue(ended, {{"pool", p.id}, {"reason", "held_too_long"}}, p.stats.held_too_long);
    AddValue(ended, {{"pool", p.id}, {"reason", "stalled"}}, p.stats.stalled);
  }
  MetricFamily& refused = Add(out, "leaseplane_acquire_refused_total",
                              "Requests that got no lease, by reason.", MetricType::Counter);
  for (const PoolFigures& p : pools) {
    AddValue(refused, {{"pool", p.id}, {"reason", "no_free_slot"}}, p.stats.refused_no_slot);
    AddValue(refused, {{"pool", p.id}, {"reason", "wait_timeout"}}, p.stats.refused_timeout);
    AddValue(refused, {{"pool", p.id}, {"reason", "queue_full"}}, p.stats.refused_queue_full);
    AddValue(refused, {{"pool", p.id}, {"reason", "client_quota"}}, p.stats.refused_quota);
  }
}

struct PoolCounter {
  const char* name;
  const char* help;
  uint64_t engine::PoolStats::*value;
};
constexpr PoolCounter kPoolCounters[] = {
    {"leaseplane_renewals_total", "Renewals of remote leases.", &engine::PoolStats::renewed},
    {"leaseplane_session_recovered_slots_total", "Slots taken back from sessions that had ended.",
     &engine::PoolStats::recovered_local},
    {"leaseplane_integrity_violations_total", "Slot words that no honest client can have written.",
     &engine::PoolStats::integrity_violations},
    {"leaseplane_stale_releases_total",
     "Releases and renewals with a token that was not the lease's.",
     &engine::PoolStats::stale_releases},
    {"leaseplane_gate_closings_total",
     "Times the fast path was closed so that a waiter gets its turn.",
     &engine::PoolStats::gate_closings},
};

void CollectPools(const std::vector<PoolFigures>& pools, std::vector<MetricFamily>& out) {
  CollectSlots(pools, out);
  CollectLeases(pools, out);
  for (const PoolCounter& counter : kPoolCounters) {
    MetricFamily& family = Add(out, counter.name, counter.help, MetricType::Counter);
    for (const PoolFigures& p : pools) {
      AddValue(family, {{"pool", p.id}}, p.stats.*counter.value);
    }
  }
  MetricFamily& damaged =
      Add(out, "leaseplane_pool_damaged",
          "1 if shared memory of the pool was lost: it grants nothing until the daemon is started "
          "again.",
          MetricType::Gauge);
  for (const PoolFigures& p : pools) {
    AddValue(damaged, {{"pool", p.id}}, p.state == engine::PoolState::kDamaged ? 1 : 0);
  }
  MetricFamily& wait =
      Add(out, "leaseplane_wait_seconds",
          "How long those waited that were granted a slot from the queue.", MetricType::Histogram);
  for (const PoolFigures& p : pools) {
    if (p.histograms) AddHistogram(wait, {{"pool", p.id}}, p.histograms->wait);
  }
  MetricFamily& hold =
      Add(out, "leaseplane_hold_seconds",
          "How long slots were held, sampled every 50 ms: shorter holds are counted only when a "
          "sample meets them, and as up to 50 ms.",
          MetricType::Histogram);
  for (const PoolFigures& p : pools) {
    if (p.histograms) AddHistogram(hold, {{"pool", p.id}}, p.histograms->hold);
  }
}

void CollectDaemon(const DaemonFigures& f, const std::string& version,
                   std::vector<MetricFamily>& out) {
  AddValue(Add(out, "leaseplane_sessions", "Attached processes.", MetricType::Gauge), {},
           f.sessions);
  AddValue(Add(out, "leaseplane_sessions_lingering",
               "Sessions that ended while their process lives on: their places are free when it "
               "ends.",
               MetricType::Gauge),
           {}, f.sessions_lingering);
  AddValue(Add(out, "leaseplane_sessions_max",
               "Places for sessions, attached and lingering ones together.", MetricType::Gauge),
           {}, f.sessions_max);
  MetricFamily& rejected =
      Add(out, "leaseplane_attach_rejected_total",
          "Attach connections turned away or hung up, by reason.", MetricType::Counter);
  for (const auto& [reason, count] : f.attach_rejected) {
    AddValue(rejected, {{"reason", reason}}, count);
  }
  AddValue(Add(out, "leaseplane_tick_lag_seconds", "How late the last tick of the engine was.",
               MetricType::Gauge),
           {}, f.tick_lag_seconds);
  AddValue(Add(out, "leaseplane_store_lag_seconds",
               "Age of the oldest change that is not in the store yet.", MetricType::Gauge),
           {}, f.store_lag_seconds);
  AddValue(
      Add(out, "leaseplane_store_failed", "1 while the store refuses writes.", MetricType::Gauge),
      {}, f.store_failed ? 1 : 0);
  AddValue(Add(out, "leaseplane_worker_starts_total",
               "Starts of the worker process since the daemon's start.", MetricType::Counter),
           {}, f.worker_starts);
  AddValue(Add(out, "leaseplane_build_info", "1, with the version as label.", MetricType::Gauge),
           {{"version", version}}, 1);
}

void CollectCredentials(const CredentialFigures& f, std::vector<MetricFamily>& out) {
  MetricFamily& reloads = Add(out, "leaseplane_credential_reloads_total",
                              "Changed files of TLS and tokens that were read again, by result: "
                              "with failed the old ones stay in use.",
                              MetricType::Counter);
  AddValue(reloads, {{"result", "ok"}}, f.reloads);
  AddValue(reloads, {{"result", "failed"}}, f.reload_failures);
  if (f.certificate_not_after_unix_s == 0) return;
  AddValue(
      Add(out, "leaseplane_tls_certificate_not_after_timestamp_seconds",
          "When the TLS certificate in use expires, in seconds since 1970.", MetricType::Gauge),
      {}, f.certificate_not_after_unix_s);
}

}  // namespace

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

void DaemonMetrics::CollectCalls(std::vector<MetricFamily>& out) const {
  MetricFamily& calls = Add(out, "leaseplane_grpc_requests_total",
                            "Answered gRPC calls by method and code.", MetricType::Counter);
  std::map<Names, uint64_t> sums;
  for (const Stripe& stripe : stripes_) {
    MutexLock lock(&stripe.mu);
    for (const auto& [unused, entry] : stripe.calls) sums[entry.first] += entry.second;
  }
  for (const auto& [names, count] : sums) {
    AddValue(calls, {{"method", std::string(names.first)}, {"code", std::string(names.second)}},
             count);
  }
}

std::vector<MetricFamily> DaemonMetrics::Collect() const {
  const DaemonFigures figures = source_();
  std::vector<MetricFamily> out;
  CollectPools(figures.pools, out);
  CollectDaemon(figures, version_, out);
  if (figures.credentials) CollectCredentials(*figures.credentials, out);
  CollectCalls(out);
  return out;
}

}  // namespace leaseplane::obs
