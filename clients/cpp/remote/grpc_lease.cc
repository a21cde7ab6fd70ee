// SPDX-License-Identifier: Apache-2.0
#include "clients/cpp/remote/grpc_lease.h"

#include <algorithm>

#include "clients/cpp/boot_clock.h"
#include "clients/cpp/remote/grpc_connection.h"

namespace leaseplane::internal {

bool GrpcLease::StillHeld() const noexcept { return RemainingNs() > 0; }

int64_t GrpcLease::RemainingNs() const noexcept {
  if (!mark_.IsCurrent() || ended_.load() != 0) return 0;
  return std::max<int64_t>(safe_deadline_ns_.load() - BootNowNs(), 0);
}

void GrpcLease::Extend(int64_t safe_deadline_ns) {
  int64_t known = safe_deadline_ns_.load();
  while (known < safe_deadline_ns &&
         !safe_deadline_ns_.compare_exchange_weak(known, safe_deadline_ns)) {
  }
}

bool GrpcLease::End(Reason reason) {
  int held = 0;
  return ended_.compare_exchange_strong(held, static_cast<int>(reason) + 1);
}

absl::Status GrpcLease::Release() noexcept {
  if (!mark_.IsCurrent()) {
    return MakeStatus(Reason::kOtherProcess, "the lease is of the process that was forked");
  }
  const std::shared_ptr<GrpcLease> self = std::move(self_);
  if (connection_->warm().Keep(self)) return absl::OkStatus();
  return connection_->Release(*self);
}

void GrpcLease::Drop() noexcept {
  if (!mark_.IsCurrent()) return;  // the parent's; its memory goes with the child
  const std::shared_ptr<GrpcLease> self = std::move(self_);
  if (!connection_->warm().Keep(self)) connection_->ReleaseLater(*self);
}

}  // namespace leaseplane::internal
