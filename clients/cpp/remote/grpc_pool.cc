// SPDX-License-Identifier: Apache-2.0
#include "clients/cpp/remote/grpc_pool.h"

#include <algorithm>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "clients/cpp/boot_clock.h"
#include "clients/cpp/remote/call_status.h"
#include "clients/cpp/request_id.h"

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
  const absl::Duration ttl = options.ttl;
  if (options.max_wait < absl::ZeroDuration()) {
    return MakeStatus(Reason::kInvalidArgument, "max_wait: valid are 0 and more");
  }
  if (ttl < absl::ZeroDuration()) {
    return MakeStatus(Reason::kInvalidArgument, "ttl: valid are 1 s to 24 h");
  }
  v1::AcquireLeaseRequest request;
  request.set_parent(absl::StrCat("pools/", name_));
  request.set_client_id(connection_->options().client_id);
  request.set_request_id(options.request_id.empty() ? NewRequestId() : options.request_id);
  if (ttl > absl::ZeroDuration()) SetNs(absl::ToInt64Nanoseconds(ttl), request.mutable_ttl());
  for (const auto& [key, value] : options.metadata) (*request.mutable_metadata())[key] = value;
  return request;
}

bool GrpcPool::OthersWait() const {
  connection_->keep_alive().HearWaiting();
  return connection_->warm().IsWaitedFor(name_);
}

AcquireOptions GrpcPool::WithDefaults(const AcquireOptions& options) const {
  AcquireOptions full = options;
  if (full.ttl == absl::ZeroDuration()) full.ttl = connection_->options().default_ttl;
  return full;
}

std::shared_ptr<GrpcLease> GrpcPool::TakeWarm(const AcquireOptions& options) {
  if (!options.fresh && options.metadata.empty() && options.request_id.empty()) {
    return connection_->warm().Take(name_, absl::ToInt64Nanoseconds(options.ttl));
  }
  connection_->warm().GiveBackAll(name_);  // they may be what the daemon lacks
  return nullptr;
}

absl::StatusOr<RemoteLease*> GrpcPool::Acquire(const AcquireOptions& asked) {
  const AcquireOptions options = WithDefaults(asked);
  absl::StatusOr<v1::AcquireLeaseRequest> request = MakeRequest(options);
  if (!request.ok()) return request.status();
  if (std::shared_ptr<GrpcLease> warm = TakeWarm(options)) return GrpcLease::Hold(std::move(warm));
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
      std::shared_ptr<GrpcLease> lease = connection_->Adopt(granted, sent_ns, options);
      if (lease != nullptr) return GrpcLease::Hold(std::move(lease));
      if (late) return MakeStatus(Reason::kLeaseExpired, "the lease was over when it arrived");
      request->set_request_id(NewRequestId());  // that wish has been granted and given back
    } else if (ReasonOf(status) == Reason::kWaitTimeout && !late) {
      // The wait of this call is over, not the caller's. No daemon ends a wait at once; should one
      // do it, it is not asked in a tight loop.
      const int64_t early_ns = sent_ns + std::min(wait_ns, kRetryMinNs) - BootNowNs();
      if (early_ns > 0) absl::SleepFor(absl::Nanoseconds(early_ns));
    } else if (ReasonOf(status) == Reason::kNoFreeSlot && options.max_wait > absl::ZeroDuration()) {
      return MakeStatus(
          Reason::kWaitTimeout,
          std::string_view(status.message().data(),
                           status.message().size()));  // the last call had no time left
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
