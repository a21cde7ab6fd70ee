// SPDX-License-Identifier: Apache-2.0
#include "clients/cli/acquire.h"

#include <google/protobuf/util/time_util.h>

#include <algorithm>
#include <cstdint>
#include <random>

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "clients/cli/arguments.h"
#include "leaseplane/status.h"

namespace leaseplane::cli {
namespace {

using google::protobuf::util::TimeUtil;

constexpr absl::Duration kCallWaitMax = absl::Seconds(50);
constexpr absl::Duration kRetryPause = absl::Milliseconds(250);

std::string FreshUuid() {
  std::random_device device;
  const auto word = [&device] { return static_cast<uint32_t>(device()); };
  return absl::StrFormat("%08x-%04x-4%03x-%04x-%04x%08x", word(), word() & 0xffff, word() & 0xfff,
                         (word() & 0x3fff) | 0x8000, word() & 0xffff, word());
}

// The daemon is there but cannot say yes or no now; or was there a moment ago.
bool MayPass(const absl::Status& status, bool was_reached) {
  const Reason reason = ReasonOf(status);
  return reason == Reason::kRecovering || reason == Reason::kDraining ||
         reason == Reason::kOutcomeUnknown ||  // the request id finds what became of it
         (was_reached && status.code() == absl::StatusCode::kUnavailable);
}

}  // namespace

absl::StatusOr<v1::AcquireLeaseResponse> AcquireLease(Daemon& daemon,
                                                      const AcquireArguments& arguments) {
  const auto pool = PoolName(arguments.pool);
  if (!pool.ok()) return pool.status();
  v1::AcquireLeaseRequest request;
  request.set_parent(*pool);
  request.set_client_id(arguments.client_id);
  request.set_request_id(arguments.request_id.empty() ? FreshUuid() : arguments.request_id);
  if (arguments.ttl > absl::ZeroDuration()) {
    *request.mutable_ttl() =
        TimeUtil::NanosecondsToDuration(absl::ToInt64Nanoseconds(arguments.ttl));
  }
  const absl::Time deadline = absl::Now() + arguments.wait;
  bool was_reached = false;
  while (true) {
    const absl::Duration rest = std::max(deadline - absl::Now(), absl::ZeroDuration());
    const absl::Duration wait = std::min(rest, kCallWaitMax);
    *request.mutable_max_wait_duration() =
        TimeUtil::NanosecondsToDuration(absl::ToInt64Nanoseconds(wait));
    auto response =
        daemon.Call(daemon.leases(), &v1::LeaseService::Stub::AcquireLease, request, wait);
    if (response.ok()) return response;
    const bool has_waited_its_part = ReasonOf(response.status()) == Reason::kWaitTimeout;
    if (rest <= wait && has_waited_its_part) return response;
    if (!has_waited_its_part) {
      if (rest <= kRetryPause || !MayPass(response.status(), was_reached)) return response;
      absl::SleepFor(kRetryPause);
    }
    was_reached = was_reached || ReasonOf(response.status()) != Reason::kNone;
  }
}

}  // namespace leaseplane::cli
