// SPDX-License-Identifier: Apache-2.0
#include "clients/cpp/renewal/renewal_schedule.h"

#include <algorithm>

namespace leaseplane::internal {
namespace {

constexpr int64_t kMillisecondNs = 1'000'000;
constexpr int64_t kTimeoutMinNs = 200 * kMillisecondNs;
constexpr int64_t kTimeoutMaxNs = 5'000 * kMillisecondNs;
constexpr int64_t kRetryMinNs = 50 * kMillisecondNs;
constexpr int kRetryDoublingsMax = 5;  // 1.6 s

}  // namespace

void RenewalSchedule::Schedule(Key key, Entry& entry, int64_t due_ns) {
  order_.erase({entry.due_ns, key});
  entry.due_ns = std::min(due_ns, entry.times.safe_deadline_ns);
  order_.insert({entry.due_ns, key});
}

void RenewalSchedule::ScheduleRenewal(Key key, Entry& entry, int64_t now_ns) {
  entry.under_way = false;
  entry.failures = 0;
  const int64_t interval_ns = entry.times.renew_interval_ns;
  if (interval_ns <= 0) return Schedule(key, entry, entry.times.safe_deadline_ns);
  std::uniform_int_distribution<int64_t> jitter(0, interval_ns / 10);
  Schedule(key, entry, now_ns + interval_ns - jitter(random_));
}

void RenewalSchedule::Add(Key key, const Times& times, int64_t now_ns) {
  Entry& entry = entries_[key];
  entry.times = times;
  ScheduleRenewal(key, entry, now_ns);
}

bool RenewalSchedule::Remove(Key key) {
  const auto found = entries_.find(key);
  if (found == entries_.end()) return false;
  order_.erase({found->second.due_ns, key});
  entries_.erase(found);
  return true;
}

void RenewalSchedule::Step(int64_t now_ns, Due& due) {
  due.renewals.clear();
  due.lost.clear();
  while (!order_.empty() && order_.begin()->first <= now_ns) {
    const Key key = order_.begin()->second;
    Entry& entry = entries_[key];
    const int64_t rest_ns = entry.times.safe_deadline_ns - now_ns;
    if (rest_ns <= 0) {
      Remove(key);
      due.lost.push_back(key);
      continue;
    }
    entry.under_way = true;
    Schedule(key, entry, entry.times.safe_deadline_ns);
    const int64_t timeout_ns = std::clamp(rest_ns / 2, kTimeoutMinNs, kTimeoutMaxNs);
    due.renewals.push_back({key, std::min(timeout_ns, rest_ns)});
  }
}

bool RenewalSchedule::Renewed(Key key, const Times& times, int64_t now_ns) {
  const auto found = entries_.find(key);
  if (found == entries_.end()) return false;
  Entry& entry = found->second;
  // An answer that was overtaken by a later one never shortens what is known.
  order_.erase({entry.due_ns, key});
  entry.times.safe_deadline_ns = std::max(entry.times.safe_deadline_ns, times.safe_deadline_ns);
  entry.times.renew_interval_ns = times.renew_interval_ns;
  ScheduleRenewal(key, entry, now_ns);
  return true;
}

bool RenewalSchedule::Failed(Key key, int64_t now_ns) {
  const auto found = entries_.find(key);
  if (found == entries_.end()) return false;
  Entry& entry = found->second;
  entry.under_way = false;
  const int64_t pause_ns = kRetryMinNs << std::min(entry.failures, kRetryDoublingsMax);
  ++entry.failures;
  std::uniform_int_distribution<int64_t> jitter(0, pause_ns / 2);
  Schedule(key, entry, now_ns + pause_ns - jitter(random_));
  return true;
}

}  // namespace leaseplane::internal
