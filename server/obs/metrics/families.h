// SPDX-License-Identifier: Apache-2.0
//
// The daemon's metrics by family, made of the figures of one scrape. Names follow Prometheus'
// conventions: a prefix, the unit last, `_total` for what only grows.
// Labels: pool, path, reason, method, code, result, and `version` of the one info metric.
// Threads: any. Errors: none.
#pragma once

#include <prometheus/metric_family.h>

#include <string>
#include <utility>
#include <vector>

#include "server/obs/metrics/figures.h"

namespace leaseplane::obs {

using Families = std::vector<prometheus::MetricFamily>;
using Labels = std::vector<prometheus::ClientMetric::Label>;

// The family is at the end of `out`, and the reference good until the next is added.
prometheus::MetricFamily& AddFamily(Families& out, std::string name, std::string help,
                                    prometheus::MetricType type);
// For counters and gauges.
void AddValue(prometheus::MetricFamily& family, Labels labels, double value);
void AddHistogram(prometheus::MetricFamily& family, Labels labels, const Histogram& histogram);

void AddPoolFamilies(const std::vector<PoolFigures>& pools, Families& out);
void AddDaemonFamilies(const DaemonFigures& figures, const std::string& version, Families& out);

}  // namespace leaseplane::obs
