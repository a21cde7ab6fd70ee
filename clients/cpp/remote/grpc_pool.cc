// SPDX-License-Identifier: Apache-2.0
#include "clients/cpp/remote/grpc_pool.h"

#include <algorithm>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "clients/cpp/boot_clock.h"
#include "clients/cpp/remote/call_status.h"
#include "clients/cpp/remote/request_id.h"

namespace leaseplane::internal {
namespace {

constexpr int64_t kWaitOfOneCallMaxNs = 50 * kSecondNs;
// What a call may take beyond its wait.
constexpr int64_t kCallSlackNs = 10 * kSecondNs;
constexpr int64_t kRetryMinNs = 100 * kMillisecondNs;
constexpr int64_t kRetryMaxNs = 2 * kSecondNs;

// Sleeps before the next try: as the daemon suggests, else `pause_ns`, and not past the deadline.
void SleepBeforeRetry(const absl::Status& status, int64_t pause_ns, int64_t deadline_ns) {
  const std::optional<absl::Duration> hint = RetryAfter(status);
  if (hint.has_value()) pause_ns = std::min(absl::ToInt64Nanoseconds(*hint), kRetryMaxNs);
  pause_ns = std::clamp<int64_t>(deadline_ns - BootNowNs(), 0, std::max<int64_t>(pause_ns, 1));
  absl::SleepFor(absl::Nanoseconds(pause_ns));
}

}  // namespace

absl::StatusOr<v1::AcquireLeaseRequest> GrpcPool::MakeRequest(const AcquireOptions& options) const {
  const ClientOptions& defaults = connection_->options();
  const absl::Duration ttl =
      options.ttl == absl::ZeroDuration() ? defaults.default_ttl : options.ttl;
  if (options.max_wait < absl::ZeroDuration()) {
    return MakeStatus(Reason::kInvalidArgument, "max_wait: valid are 0 and more");
  }
  if (ttl < absl::ZeroDuration()) {
    return MakeStatus(Reason::kInvalidArgument, "ttl: valid are 1 s to 24 h");
  }
  v1::AcquireLeaseRequest request;
  request.set_parent(absl::StrCat("pools/", name_));
  request.set_client_id(defaults.client_id);
  request.set_request_id(options.request_id.empty() ? NewRequestId() : options.request_id);
  if (ttl > absl::ZeroDuration()) SetNs(absl::ToInt64Nanoseconds(ttl), request.mutable_ttl());
  for (const auto& [key, value] : options.metadata) (*request.mutable_metadata())[key] = value;
  return request;
}

absl::StatusOr<RemoteLease*> GrpcPool::Acquire(const AcquireOptions& options) {
  absl::StatusOr<v1::AcquireLeaseRequest> request = MakeRequest(options);
  if (!request.ok()) return request.status();
  const int64_t deadline_ns = DeadlineAfter(BootNowNs(), options.max_wait);
  int64_t pause_ns = kRetryMinNs;
  for (;;) {
    const int64_t sent_ns = BootNowNs();
    const int64_t wait_ns = std::clamp<int64_t>(deadline_ns - sent_ns, 0, kWaitOfOneCallMaxNs);
    SetNs(wait_ns, request->mutable_max_wait_duration());
    grpc::ClientContext context;
    SetTimeout(context, wait_ns + kCallSlackNs);
    v1::AcquireLeaseResponse granted;
    const absl::Status status =
        ToStatus(connection_->leases().AcquireLease(&context, *request, &granted));
    const bool late = BootNowNs() >= deadline_ns;
    if (status.ok()) {
      std::shared_ptr<GrpcLease> lease = connection_->Adopt(granted, sent_ns);
      if (lease != nullptr) return GrpcLease::Hold(std::move(lease));
      if (late) return MakeStatus(Reason::kLeaseExpired, "the lease was over when it arrived");
      request->set_request_id(NewRequestId());  // that wish has been granted and given back
    } else if (ReasonOf(status) == Reason::kWaitTimeout && !late) {
      continue;  // the wait of this call is over, not the caller's
    } else if (!IsTransient(status)) {
      return status;
    } else if (late) {
      if (IsOutcomeUnknown(status)) connection_->Abandon(*std::move(request));
      return status;
    } else {
      SleepBeforeRetry(status, pause_ns, deadline_ns);
      pause_ns = std::min(2 * pause_ns, kRetryMaxNs);
    }
  }
}

}  // namespace leaseplane::internal
