// SPDX-License-Identifier: Apache-2.0
#include "server/obs/metrics/daemon_metrics.h"

#include <gtest/gtest.h>
#include <prometheus/text_serializer.h>

#include <set>
#include <sstream>
#include <thread>
#include <vector>

namespace leaseplane::obs {
namespace {

DaemonFigures SomeFigures() {
  DaemonFigures figures;
  auto histograms = std::make_shared<PoolHistograms>();
  histograms->wait.remote.Observe(20'000'000);
  histograms->wait.remote.Observe(400'000'000'000);
  histograms->hold.local.Observe(70'000'000);
  PoolFigures pool;
  pool.id = "gpu";
  pool.epoch = kEpochMax;
  pool.first_waited_ns = 1'500'000'000;
  pool.counts.capacity = 4;
  pool.counts.free = 2;
  pool.counts.busy_remote = 1;
  pool.counts.cooling = 1;
  pool.counts.waiters = 5;
  pool.counts.local_waiters_queued = 2;
  pool.counts.local_waiters_enlisted = 7;
  pool.stats.acquired_remote = 5;
  pool.stats.expired = 3;
  pool.stats.held_too_long = 11;
  pool.stats.stalled = 12;
  pool.stats.refused_draining = 14;
  pool.is_drained = true;
  pool.state = engine::PoolState::kDamaged;
  pool.histograms = histograms;
  figures.pools.push_back(pool);
  figures.unready = {{"recovering", false}, {"draining", true}};
  figures.pools_not_started = 6;
  figures.sessions = 4;
  figures.sessions_lingering = 3;
  figures.sessions_limit = 8;
  figures.sessions_ended = 9;
  static Histogram tick_lag(kLagBounds);
  figures.tick_lag = &tick_lag;
  figures.attach_rejected = {{"rubbish", 7}};
  figures.worker_starts = 2;
  figures.store_failed = true;
  figures.credentials = {13, 1, 1'790'000'000, 1'800'000'000};
  return figures;
}

std::string Text(const DaemonMetrics& metrics) {
  std::ostringstream out;
  prometheus::TextSerializer().Serialize(out, metrics.Collect());
  return out.str();
}

TEST(DaemonMetrics, ServesTheFiguresUnderTheirNames) {
  DaemonMetrics metrics("1.2.3", SomeFigures);
  const std::string text = Text(metrics);
  for (const char* line :
       {"leaseplane_pool_slots{pool=\"gpu\"} 4\n",
        "leaseplane_pool_free_slots{pool=\"gpu\"} 2\n",
        "leaseplane_pool_busy_slots{pool=\"gpu\",path=\"remote\"} 1\n",
        "leaseplane_pool_withheld_slots{pool=\"gpu\",reason=\"cooling\"} 1\n",
        "leaseplane_pool_waiters{pool=\"gpu\",path=\"local\"} 9\n",
        "leaseplane_pool_waiters{pool=\"gpu\",path=\"remote\"} 3\n",
        "leaseplane_pool_first_wait_seconds{pool=\"gpu\"} 1.5\n",
        "leaseplane_token_epoch_used_ratio{pool=\"gpu\"} 1\n",
        "leaseplane_unready{reason=\"recovering\"} 0\n",
        "leaseplane_unready{reason=\"draining\"} 1\n",
        "leaseplane_pools 1\n",
        "leaseplane_pools_not_started 6\n",
        "leaseplane_sessions_lingering 3\n",
        "leaseplane_sessions_limit 8\n",
        "leaseplane_sessions_ended_total 9\n",
        "leaseplane_hold_seconds_bucket{pool=\"gpu\",path=\"local\",le=\"0.05\"} 0\n",
        "leaseplane_hold_seconds_bucket{pool=\"gpu\",path=\"local\",le=\"0.1\"} 1\n",
        "leaseplane_leases_acquired_total{pool=\"gpu\",path=\"remote\"} 5\n",
        "leaseplane_leases_ended_total{pool=\"gpu\",reason=\"expired\"} 3\n",
        "leaseplane_leases_ended_total{pool=\"gpu\",reason=\"held_too_long\"} 11\n",
        "leaseplane_leases_ended_total{pool=\"gpu\",reason=\"stalled\"} 12\n",
        "leaseplane_pool_damaged{pool=\"gpu\"} 1\n",
        "leaseplane_pool_drained{pool=\"gpu\"} 1\n",
        "leaseplane_acquire_refused_total{pool=\"gpu\",reason=\"pool_draining\"} 14\n",
        "leaseplane_credential_reloads_total{result=\"ok\"} 13\n",
        "leaseplane_credential_reloads_total{result=\"failed\"} 1\n",
        "leaseplane_tls_certificate_not_before_timestamp_seconds 1790000000\n",
        "leaseplane_tls_certificate_not_after_timestamp_seconds 1800000000\n",
        "leaseplane_attach_rejected_total{reason=\"rubbish\"} 7\n",
        "leaseplane_sessions 4\n",
        "leaseplane_worker_starts_total 2\n",
        "leaseplane_store_failed 1\n",
        "leaseplane_build_info{version=\"1.2.3\"} 1\n",
        "leaseplane_wait_seconds_count{pool=\"gpu\",path=\"remote\"} 2\n",
        "leaseplane_wait_seconds_bucket{pool=\"gpu\",path=\"remote\",le=\"0.025\"} 1\n",
        "leaseplane_wait_seconds_bucket{pool=\"gpu\",path=\"remote\",le=\"300\"} 1\n",
        "leaseplane_wait_seconds_bucket{pool=\"gpu\",path=\"remote\",le=\"+Inf\"} 2\n"}) {
    EXPECT_NE(text.find(line), std::string::npos) << line << text;
  }
}

TEST(DaemonMetrics, CountsCallsByMethodAndCode) {
  DaemonMetrics metrics("v", SomeFigures);
  for (int i = 0; i < 3; ++i) metrics.CountCall("AcquireLease", "OK");
  metrics.CountCall("AcquireLease", "NOT_FOUND");
  const std::string text = Text(metrics);
  EXPECT_NE(text.find("leaseplane_grpc_requests_total{method=\"AcquireLease\",code=\"OK\"} 3\n"),
            std::string::npos);
  EXPECT_NE(text.find("code=\"NOT_FOUND\"} 1\n"), std::string::npos);
  EXPECT_NE(text.find("code=\"INTERNAL\"} 0\n"), std::string::npos) << "before the first fault";
}

TEST(DaemonMetrics, TimesCallsByMethod) {
  DaemonMetrics metrics("v", SomeFigures);
  EXPECT_EQ(Text(metrics).find("leaseplane_grpc_request"), std::string::npos) << "nothing to say";
  metrics.TimeCall("GetLease", 300'000);
  metrics.TimeCall("GetLease", 2'000'000'000);
  const std::string text = Text(metrics);
  for (const char* line :
       {"leaseplane_grpc_request_seconds_bucket{method=\"GetLease\",le=\"0.00025\"} 0\n",
        "leaseplane_grpc_request_seconds_bucket{method=\"GetLease\",le=\"0.0005\"} 1\n",
        "leaseplane_grpc_request_seconds_bucket{method=\"GetLease\",le=\"0.5\"} 1\n",
        "leaseplane_grpc_request_seconds_count{method=\"GetLease\"} 2\n"}) {
    EXPECT_NE(text.find(line), std::string::npos) << line << text;
  }
}

TEST(DaemonMetrics, AddsUpWhatThreadsCounted) {
  DaemonMetrics metrics("v", SomeFigures);
  std::vector<std::thread> threads;
  for (int i = 0; i < 40; ++i) {
    threads.emplace_back([&] {
      metrics.CountCall("GetLease", "OK");
      metrics.TimeCall("GetLease", 250'000'000);
    });
  }
  for (std::thread& thread : threads) thread.join();
  const std::string text = Text(metrics);
  for (const char* line :
       {"leaseplane_grpc_requests_total{method=\"GetLease\",code=\"OK\"} 40\n",
        "leaseplane_grpc_request_seconds_bucket{method=\"GetLease\",le=\"0.1\"} 0\n",
        "leaseplane_grpc_request_seconds_bucket{method=\"GetLease\",le=\"0.5\"} 40\n",
        "leaseplane_grpc_request_seconds_sum{method=\"GetLease\"} 10\n"}) {
    EXPECT_NE(text.find(line), std::string::npos) << line << text;
  }
}

TEST(DaemonMetrics, SeriesOfAPoolEndWithIt) {
  DaemonFigures figures = SomeFigures();
  DaemonMetrics metrics("v", [&] { return figures; });
  EXPECT_NE(Text(metrics).find("pool=\"gpu\""), std::string::npos);
  figures.pools.clear();
  EXPECT_EQ(Text(metrics).find("pool=\"gpu\""), std::string::npos);
}

TEST(DaemonMetrics, LabelsAreFewAndNamesFollowTheConventions) {
  DaemonMetrics metrics("v", SomeFigures);
  metrics.CountCall("Get", "OK");
  const std::set<std::string> allowed = {"pool", "path", "reason", "method", "code", "result"};
  for (const prometheus::MetricFamily& family : metrics.Collect()) {
    EXPECT_EQ(family.name.rfind("leaseplane_", 0), 0u) << family.name;
    EXPECT_FALSE(family.help.empty()) << family.name;
    const bool is_total =
        family.name.size() > 6 && family.name.compare(family.name.size() - 6, 6, "_total") == 0;
    EXPECT_EQ(is_total, family.type == prometheus::MetricType::Counter) << family.name;
    for (const auto& metric : family.metric) {
      for (const auto& label : metric.label) {
        const bool is_info = family.name == "leaseplane_build_info" && label.name == "version";
        EXPECT_TRUE(is_info || allowed.contains(label.name)) << family.name << " " << label.name;
      }
    }
  }
}

}  // namespace
}  // namespace leaseplane::obs
