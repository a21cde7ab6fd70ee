// SPDX-License-Identifier: Apache-2.0
#include "leaseplane/pool.h"

#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "clients/cpp/boot_clock.h"
#include "clients/cpp/client_state.h"
#include "clients/cpp/remote_port.h"

namespace leaseplane {
namespace {

const char* TextOf(Reason reason) {
  switch (reason) {
    case Reason::kNoFreeSlot:
      return "no slot is free";
    case Reason::kWaitTimeout:
      return "no slot became free in time";
    case Reason::kQueueFull:
      return "the queue is full";
    case Reason::kPoolDraining:
      return "an operator drains the pool";
    case Reason::kNotFound:
      return "the pool was deleted";
    case Reason::kOtherProcess:
      return "the pool was opened before fork()";
    case Reason::kSessionEnded:
      return "the session with the daemon has ended";
    default:
      return "the pool cannot be reached";
  }
}

}  // namespace

Pool::Pool(std::shared_ptr<internal::ClientState> client, internal::LocalPool* local,
           std::shared_ptr<internal::RemotePool> remote, std::string path_reason)
    : local_(local),
      remote_(std::move(remote)),
      client_(std::move(client)),
      path_reason_(std::move(path_reason)) {}

absl::StatusOr<Lease> Pool::Acquire(const AcquireOptions& options) const {
  if (local_ == nullptr) {
    if (!client_->in_own_process()) {
      return MakeStatus(Reason::kOtherProcess, TextOf(Reason::kOtherProcess));
    }
    absl::StatusOr<internal::RemoteLease*> lease = remote_->Acquire(options);
    if (!lease.ok()) return lease.status();
    return Lease(*lease);
  }
  if (options.max_wait < absl::ZeroDuration()) {
    return MakeStatus(Reason::kInvalidArgument, "max_wait: valid are 0 and more");
  }
  const bool waits = options.max_wait > absl::ZeroDuration();
  const int64_t deadline_ns =
      waits ? internal::DeadlineAfter(internal::BootNowNs(), options.max_wait) : 0;
  LocalGrant grant;
  uint32_t serial = 0;
  const Reason reason = local_->Acquire(deadline_ns, grant, serial);
  if (reason == Reason::kNone) return Lease(local_, grant.slot, grant.token, serial);
  return MakeStatus(reason, absl::StrCat("pool '", local_->name(), "': ", TextOf(reason)));
}

bool Pool::OthersWait(uint32_t own_count) const {
  if (local_ == nullptr) return remote_->OthersWait();
  const auto& words = local_->state()->attachment.words;
  // The count says who sleeps on the segment, the gate that somebody stands in the daemon's queue.
  return WaiterCount(RealMemory::LoadHint(*words.wcnt)) > own_count ||
         words.gate() != shm::Gate::kOpen;
}

internal::RemoteLease* Pool::TryAcquireRemote() const noexcept {
  if (!client_->in_own_process()) return nullptr;
  absl::StatusOr<internal::RemoteLease*> lease = remote_->Acquire(AcquireOptions{});
  return lease.ok() ? *lease : nullptr;
}

const std::string& Pool::name() const {
  return local_ != nullptr ? local_->name() : remote_->name();
}

uint32_t Pool::capacity() const {
  return local_ != nullptr ? local_->capacity() : remote_->capacity();
}

}  // namespace leaseplane
