// SPDX-License-Identifier: Apache-2.0
#include "server/obs/metrics/daemon_metrics.h"

#include <gtest/gtest.h>
#include <prometheus/text_serializer.h>

#include <set>
#include <sstream>

namespace leaseplane::obs {
namespace {

DaemonFigures SomeFigures() {
  DaemonFigures figures;
  auto histograms = std::make_shared<PoolHistograms>();
  histograms->wait.Observe(20'000'000);
  histograms->wait.Observe(400'000'000'000);
  PoolFigures pool;
  pool.id = "gpu";
  pool.counts.free = 2;
  pool.counts.busy_remote = 1;
  pool.stats.acquired_remote = 5;
  pool.stats.expired = 3;
  pool.histograms = histograms;
  figures.pools.push_back(pool);
  figures.sessions = 4;
  figures.attach_rejected = {{"rubbish", 7}};
  figures.worker_starts = 2;
  figures.store_failed = true;
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
       {"leaseplane_pool_slots{pool=\"gpu\",state=\"free\"} 2\n",
        "leaseplane_pool_slots{pool=\"gpu\",state=\"busy_remote\"} 1\n",
        "leaseplane_leases_acquired_total{pool=\"gpu\",path=\"remote\"} 5\n",
        "leaseplane_leases_ended_total{pool=\"gpu\",reason=\"expired\"} 3\n",
        "leaseplane_attach_rejected_total{reason=\"rubbish\"} 7\n", "leaseplane_sessions 4\n",
        "leaseplane_worker_starts_total 2\n", "leaseplane_store_failed 1\n",
        "leaseplane_build_info{version=\"1.2.3\"} 1\n",
        "leaseplane_wait_seconds_count{pool=\"gpu\"} 2\n",
        "leaseplane_wait_seconds_bucket{pool=\"gpu\",le=\"0.025\"} 1\n",
        "leaseplane_wait_seconds_bucket{pool=\"gpu\",le=\"300\"} 1\n",
        "leaseplane_wait_seconds_bucket{pool=\"gpu\",le=\"+Inf\"} 2\n"}) {
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
}

TEST(DaemonMetrics, LabelsAreFewAndNamesFollowTheConventions) {
  DaemonMetrics metrics("v", SomeFigures);
  metrics.CountCall("Get", "OK");
  const std::set<std::string> allowed = {"pool",   "path", "state",  "reason",
                                         "method", "code", "version"};
  for (const prometheus::MetricFamily& family : metrics.Collect()) {
    EXPECT_EQ(family.name.rfind("leaseplane_", 0), 0u) << family.name;
    EXPECT_FALSE(family.help.empty()) << family.name;
    const bool is_total =
        family.name.size() > 6 && family.name.compare(family.name.size() - 6, 6, "_total") == 0;
    EXPECT_EQ(is_total, family.type == prometheus::MetricType::Counter) << family.name;
    for (const auto& metric : family.metric) {
      for (const auto& label : metric.label)
        EXPECT_TRUE(allowed.contains(label.name)) << label.name;
    }
  }
}

}  // namespace
}  // namespace leaseplane::obs
