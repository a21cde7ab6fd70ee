// SPDX-License-Identifier: Apache-2.0
#include "leaseplane/lease.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace leaseplane {
namespace {

absl::Status NotHeld(Reason reason) {
  switch (reason) {
    case Reason::kOtherProcess:
      return MakeStatus(reason, "the lease is of the process that was forked");
    case Reason::kSessionEnded:
      return MakeStatus(reason, "the lease ended with the session");
    default:
      return MakeStatus(reason, "the lease had been taken back");
  }
}

}  // namespace

std::string_view Lease::resource() const noexcept {
  if (token_ == 0) return {};
  return remote_ != nullptr ? std::string_view(remote_->resource()) : local_->Resource(slot_);
}

std::string_view Lease::pool() const noexcept {
  if (token_ == 0) return {};
  return remote_ != nullptr ? remote_->pool() : local_->name();
}

std::string Lease::name() const {
  if (token_ == 0) return {};
  if (remote_ != nullptr) return remote_->name();
  return absl::StrCat("pools/", local_->name(), "/leases/local-", slot_, "-", token_);
}

bool Lease::still_held() const noexcept {
  if (token_ == 0) return false;
  return remote_ != nullptr ? remote_->StillHeld() : local_->StillHeld(slot_, token_);
}

absl::Duration Lease::remaining() const noexcept {
  if (!still_held()) return absl::ZeroDuration();
  return remote_ != nullptr ? absl::Nanoseconds(remote_->RemainingNs()) : absl::InfiniteDuration();
}

absl::Status Lease::Release() && {
  const FencingToken token = std::exchange(token_, 0);  // nothing is left to the destructor
  if (token == 0) return MakeStatus(Reason::kLeaseReleased, "there is no lease");
  if (remote_ != nullptr) return std::exchange(remote_, nullptr)->Release();
  const Reason reason = std::exchange(local_, nullptr)->Release(slot_, token, serial_);
  return reason == Reason::kNone ? absl::OkStatus() : NotHeld(reason);
}

}  // namespace leaseplane
