// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "core/base/ids.h"
#include "server/obs/metrics/families.h"

namespace leaseplane::obs {
namespace {

using prometheus::MetricFamily;
using prometheus::MetricType;

// One series of a pool: a value of its figures under one label besides the pool's.
struct Part {
  const char* label;  // value of the label `key`
  double (*value)(const PoolFigures&);
};

struct PoolFamily {
  const char* name;
  const char* help;
  MetricType type;
  const char* key;  // name of the label besides `pool`; nullptr: none, and one part
  std::vector<Part> parts;
};

double Seconds(int64_t ns) { return static_cast<double>(ns) * 1e-9; }

template <auto member>
double Count(const PoolFigures& p) {
  return p.counts.*member;
}
template <auto member>
double Stat(const PoolFigures& p) {
  return static_cast<double>(p.stats.*member);
}

using engine::PoolCounts;
using engine::PoolStats;

const std::vector<PoolFamily>& SlotFamilies() {
  static const std::vector<PoolFamily> families = {
      {"leaseplane_pool_slots",
       "Slots of a pool: free, busy and withheld together.",
       MetricType::Gauge,
       nullptr,
       {{nullptr, Count<&PoolCounts::capacity>}}},
      {"leaseplane_pool_free_slots",
       "Slots that may be leased now.",
       MetricType::Gauge,
       nullptr,
       {{nullptr, Count<&PoolCounts::free>}}},
      {"leaseplane_pool_busy_slots",
       "Leased slots, by the path of the lease.",
       MetricType::Gauge,
       "path",
       {{"local", Count<&PoolCounts::busy_local>}, {"remote", Count<&PoolCounts::busy_remote>}}},
      {"leaseplane_pool_withheld_slots",
       "Slots that are neither free nor leased: locked by an operator, cooling after a lease, or "
       "quarantined because their word was damaged.",
       MetricType::Gauge,
       "reason",
       {{"locked", Count<&PoolCounts::locked>},
        {"cooling", Count<&PoolCounts::cooling>},
        {"quarantined", Count<&PoolCounts::quarantined>}}},
      {"leaseplane_pool_waiters",
       "Who waits for a slot. local: attached processes, asleep on the pool's wait word or in the "
       "daemon's queue. remote: calls in the queue, and places kept for those that will ask again.",
       MetricType::Gauge,
       "path",
       {{"local",
         [](const PoolFigures& p) {
           return static_cast<double>(p.counts.local_waiters_enlisted) +
                  p.counts.local_waiters_queued;
         }},
        {"remote",
         [](const PoolFigures& p) {
           return static_cast<double>(p.counts.waiters - p.counts.local_waiters_queued);
         }}}},
      {"leaseplane_pool_first_wait_seconds",
       "How long the first in the daemon's queue has waited; 0 if nobody is in it.",
       MetricType::Gauge,
       nullptr,
       {{nullptr, [](const PoolFigures& p) { return Seconds(p.first_waited_ns); }}}},
      {"leaseplane_token_epoch_used_ratio",
       "Share of all epochs that are behind the pool's fencing tokens. An epoch goes with every "
       "hour and every start, and there are none after the last.",
       MetricType::Gauge,
       nullptr,
       {{nullptr, [](const PoolFigures& p) { return static_cast<double>(p.epoch) / kEpochMax; }}}},
  };
  return families;
}

double IsDamaged(const PoolFigures& p) { return p.state == engine::PoolState::kDamaged ? 1 : 0; }

const std::vector<PoolFamily>& LeaseFamilies() {
  static const std::vector<PoolFamily> families = {
      {"leaseplane_leases_acquired_total",
       "Leases granted. Local ones are counted by the tick from the slots' generations.",
       MetricType::Counter,
       "path",
       {{"local", Stat<&PoolStats::acquired_local>},
        {"remote", Stat<&PoolStats::acquired_remote>}}},
      {"leaseplane_leases_ended_total",
       "Leases the daemon saw end, by reason. recovered: taken back from a process that ended or "
       "lost track of it. Local releases do not pass through the daemon.",
       MetricType::Counter,
       "reason",
       {{"released", Stat<&PoolStats::released_remote>},
        {"expired", Stat<&PoolStats::expired>},
        {"revoked", Stat<&PoolStats::revoked>},
        {"recovered", Stat<&PoolStats::recovered_local>},
        {"held_too_long", Stat<&PoolStats::held_too_long>},
        {"stalled", Stat<&PoolStats::stalled>}}},
      {"leaseplane_acquire_refused_total",
       "Requests that got no lease, by reason. no_free_slot is the answer to a try, not a fault.",
       MetricType::Counter,
       "reason",
       {{"no_free_slot", Stat<&PoolStats::refused_no_slot>},
        {"wait_timeout", Stat<&PoolStats::refused_timeout>},
        {"queue_full", Stat<&PoolStats::refused_queue_full>},
        {"client_quota", Stat<&PoolStats::refused_quota>},
        {"pool_draining", Stat<&PoolStats::refused_draining>}}},
      {"leaseplane_lease_renewals_total",
       "Renewals of remote leases.",
       MetricType::Counter,
       nullptr,
       {{nullptr, Stat<&PoolStats::renewed>}}},
      {"leaseplane_stale_releases_total",
       "Releases of leases that had expired or were taken away.",
       MetricType::Counter,
       nullptr,
       {{nullptr, Stat<&PoolStats::stale_releases>}}},
      {"leaseplane_gate_closings_total",
       "Times the fast path was closed so that a waiter gets its turn.",
       MetricType::Counter,
       nullptr,
       {{nullptr, Stat<&PoolStats::gate_closings>}}},
  };
  return families;
}

const std::vector<PoolFamily>& MemoryFamilies() {
  static const std::vector<PoolFamily> families = {
      {"leaseplane_integrity_violations_total",
       "Slot words that no honest client can have written.",
       MetricType::Counter,
       nullptr,
       {{nullptr, Stat<&PoolStats::integrity_violations>}}},
      {"leaseplane_rotations_total",
       "Moves of the pool to new shared memory, because the old one was written to.",
       MetricType::Counter,
       nullptr,
       {{nullptr, Stat<&PoolStats::rotations>}}},
      {"leaseplane_renumberings_total",
       "Slots whose generations were used up and began again under a new epoch.",
       MetricType::Counter,
       nullptr,
       {{nullptr, Stat<&PoolStats::renumberings>}}},
      {"leaseplane_pool_damaged",
       "1 if shared memory of the pool was lost: it grants nothing until the daemon is started "
       "again.",
       MetricType::Gauge,
       nullptr,
       {{nullptr, IsDamaged}}},
      {"leaseplane_pool_drained",
       "1 if an operator drains the pool: it grants nothing until it is resumed.",
       MetricType::Gauge,
       nullptr,
       {{nullptr, [](const PoolFigures& p) { return p.is_drained ? 1.0 : 0.0; }}}},
  };
  return families;
}

void AddTable(const std::vector<PoolFamily>& table, const std::vector<PoolFigures>& pools,
              Families& out) {
  for (const PoolFamily& entry : table) {
    MetricFamily& family = AddFamily(out, entry.name, entry.help, entry.type);
    for (const PoolFigures& pool : pools) {
      for (const Part& part : entry.parts) {
        Labels labels = {{"pool", pool.id}};
        if (entry.key != nullptr) labels.push_back({entry.key, part.label});
        AddValue(family, std::move(labels), part.value(pool));
      }
    }
  }
}

void AddByPath(const std::vector<PoolFigures>& pools, PathHistograms PoolHistograms::*member,
               MetricFamily& family) {
  for (const PoolFigures& pool : pools) {
    if (!pool.histograms) continue;
    const PathHistograms& histograms = (*pool.histograms).*member;
    AddHistogram(family, {{"pool", pool.id}, {"path", "local"}}, histograms.local);
    AddHistogram(family, {{"pool", pool.id}, {"path", "remote"}}, histograms.remote);
  }
}

}  // namespace

void AddPoolFamilies(const std::vector<PoolFigures>& pools, Families& out) {
  AddTable(SlotFamilies(), pools, out);
  AddTable(LeaseFamilies(), pools, out);
  AddTable(MemoryFamilies(), pools, out);
  AddByPath(pools, &PoolHistograms::wait,
            AddFamily(out, "leaseplane_wait_seconds",
                      "How long those waited in the daemon's queue that were granted a slot. Short "
                      "waits of local processes do not pass through the daemon.",
                      MetricType::Histogram));
  AddByPath(pools, &PoolHistograms::hold,
            AddFamily(out, "leaseplane_hold_seconds",
                      "How long slots were held, sampled every 50 ms: shorter holds are counted "
                      "only when a sample meets them, and as up to 50 ms.",
                      MetricType::Histogram));
}

}  // namespace leaseplane::obs
