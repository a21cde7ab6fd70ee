// SPDX-License-Identifier: Apache-2.0
//
// From the durations of an answer that grants or renews to the instants a lease is kept by. Pure.
#pragma once

#include <algorithm>
#include <cstdint>

#include "clients/cpp/remote/call_status.h"
#include "clients/cpp/renewal/renewal_schedule.h"
#include "clients/cpp/renewal/safe_deadline.h"

namespace leaseplane::internal {

// `sent_ns`: just before the call or the renewal was sent. The interval is 0 without `renew`.
template <class Answer>
RenewalSchedule::Times TimesOf(const Answer& answer, int64_t sent_ns, bool renew) {
  RenewalSchedule::Times times;
  times.safe_deadline_ns =
      SafeDeadlineNs(sent_ns, ToNs(answer.queued_duration()), ToNs(answer.remaining_duration()));
  if (renew) times.renew_interval_ns = std::max<int64_t>(ToNs(answer.renew_interval()), 1);
  return times;
}

}  // namespace leaseplane::internal
