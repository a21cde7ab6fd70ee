// SPDX-License-Identifier: Apache-2.0
//
// What a scrape reads: plain values, taken at the moment of the scrape. Counters count since the
// worker's start. Nothing here names a slot, a holder, a client or a lease.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "server/engine/types.h"
#include "server/obs/metrics/histogram.h"

namespace leaseplane::obs {

struct PathHistograms {
  explicit PathHistograms(Bounds bounds) : local(bounds), remote(bounds) {}
  Histogram local;
  Histogram remote;
};

// Kept by the pool, read by scrapes; outlives the pool while a scrape has it.
struct PoolHistograms {
  PathHistograms wait{kWaitBounds};  // waiters in the daemon's queue that were granted a slot
  PathHistograms hold{kHoldBounds};  // sampled
};

struct PoolFigures {
  std::string id;
  engine::PoolState state = engine::PoolState::kActive;
  bool is_drained = false;  // by an operator
  engine::PoolCounts counts;
  engine::PoolStats stats;
  Epoch epoch = 0;
  int64_t first_waited_ns = 0;  // the first in the queue; 0: nobody is in it
  std::shared_ptr<const PoolHistograms> histograms;
};

// Of the files for TLS and tokens.
struct CredentialFigures {
  uint64_t reloads = 0;
  uint64_t reload_failures = 0;
  // Of the certificate in use; both 0: no TLS.
  int64_t certificate_not_before_unix_s = 0, certificate_not_after_unix_s = 0;
};

struct DaemonFigures {
  std::vector<PoolFigures> pools;
  uint32_t pools_not_started = 0;
  std::vector<std::pair<const char*, bool>> unready;  // why nothing is granted; all false: serving
  uint32_t sessions = 0;
  uint32_t sessions_lingering = 0;  // ended, but the process lives, so the index is not free
  uint32_t sessions_limit = 0;
  uint64_t sessions_ended = 0;
  std::vector<std::pair<std::string, uint64_t>> attach_rejected;  // by reason
  uint64_t worker_starts = 0;
  const Histogram* tick_lag = nullptr;  // outlives the scrape
  double store_lag_seconds = 0;
  bool store_failed = false;
  std::optional<CredentialFigures> credentials;  // if there are such files
};

}  // namespace leaseplane::obs
