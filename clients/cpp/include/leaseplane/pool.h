// SPDX-License-Identifier: Apache-2.0
//
// Pool: a named set of equal slots, opened by a Client; hands out Leases.
//
// Ownership: a copyable handle; every copy keeps the client's connection.
// Threads: all methods, from any number of threads, on the same Pool too.
// Errors: TryAcquire returns an empty Lease and no reason; Acquire says why (leaseplane/status.h).
// Cost: on the local path TryAcquire is inlined, takes a few loads and one compare-and-swap, no
// allocation, no system call, no virtual call; Acquire is the same unless it has to wait. On the
// remote path both are a gRPC call, and block the calling thread.
// Not promised: order among local callers that do not wait. A waiting caller is passed by others
// for no longer than the pool's max_overtake, and where many wait up to ten times as long (fairness
// BOUNDED), or never (FIFO). TryAcquire may miss a slot that becomes free while it looks.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "leaseplane/internal/local_pool.h"
#include "leaseplane/lease.h"
#include "leaseplane/options.h"

namespace leaseplane {

namespace internal {
class ClientState;
class ObjectKeeper;
class RemotePool;

// What Use returns for a callable that returns R: a status for none, itself for a Status or
// StatusOr, else StatusOr<R>.
template <class R>
struct UseResult {
  using type = absl::StatusOr<R>;
};
template <>
struct UseResult<void> {
  using type = absl::Status;
};
template <>
struct UseResult<absl::Status> {
  using type = absl::Status;
};
template <class T>
struct UseResult<absl::StatusOr<T>> {
  using type = absl::StatusOr<T>;
};
}  // namespace internal

class Pool {
 public:
  // A lease on any free slot, or an empty one: none is free, or the pool cannot grant now.
  LEASEPLANE_HOT Lease TryAcquire() const noexcept {
    if (local_ == nullptr) [[unlikely]]
      return Lease(TryAcquireRemote());
    internal::LocalPool::Taken taken;
    const TryResult result = local_->TryAcquireHere(taken);
    if (result != TryResult::kOk) [[unlikely]] {
      taken = local_->TryAcquireElsewhere(result);
      if (taken.token == 0) return Lease();
    }
    return Lease(local_, taken.slot, taken.token, taken.serial);  // in place: nothing is copied
  }

  // A lease on any slot, waiting at most options.max_wait for one. Reasons: kNoFreeSlot,
  // kWaitTimeout, kQueueFull, kClientQuota, kPoolDraining, kDraining, kRecovering, kWaitCancelled,
  // kInvalidArgument, kNotFound (the pool was deleted), kUnreachable, kSessionEnded, kOtherProcess.
  absl::StatusOr<Lease> Acquire(const AcquireOptions& options = {}) const;

  // Calls `fn(const Lease&)` while holding a slot, then releases it. The result of fn, or why there
  // was no slot. A lease lost meanwhile is not an error here: ask it, or use on_lost.
  template <class F>
  auto Use(const AcquireOptions& options, F&& fn) const ->
      typename internal::UseResult<std::invoke_result_t<F, const Lease&>>::type {
    using Result = std::invoke_result_t<F, const Lease&>;
    absl::StatusOr<Lease> lease = Acquire(options);
    if (!lease.ok()) return std::move(lease).status();
    if constexpr (std::is_void_v<Result>) {
      std::forward<F>(fn)(static_cast<const Lease&>(*lease));
      return absl::OkStatus();
    } else {
      return std::forward<F>(fn)(static_cast<const Lease&>(*lease));
    }
  }

  // As Use without waiting. True, or fn's result, if there was a slot; false or nullopt if not.
  template <class F>
  auto TryUse(F&& fn) const {
    using Result = std::invoke_result_t<F, const Lease&>;
    const Lease lease = TryAcquire();
    if constexpr (std::is_void_v<Result>) {
      if (!lease) return false;
      std::forward<F>(fn)(lease);
      return true;
    } else {
      if (!lease) return std::optional<Result>();
      return std::optional<Result>(std::forward<F>(fn)(lease));
    }
  }

  // The pool's id.
  const std::string& name() const;
  // Number of slots, as of OpenPool. 0: a daemon older than this library, reached by gRPC.
  uint32_t capacity() const;
  Path path() const { return local_ != nullptr ? Path::kLocal : Path::kRemote; }
  // Why it is that path, one sentence for people.
  const std::string& path_reason() const { return path_reason_; }

 private:
  friend class Client;
  friend class internal::ObjectKeeper;

  // Whether somebody waits for a slot besides `own_count` threads of this process. A hint.
  bool OthersWait(uint32_t own_count) const;

  Pool(std::shared_ptr<internal::ClientState> client, internal::LocalPool* local,
       std::shared_ptr<internal::RemotePool> remote, std::string path_reason);

  internal::RemoteLease* TryAcquireRemote() const noexcept;  // null: none

  internal::LocalPool* local_ = nullptr;  // lives as long as the process; null on the remote path
  std::shared_ptr<internal::RemotePool> remote_;
  std::shared_ptr<internal::ClientState> client_;
  std::string path_reason_;
};

}  // namespace leaseplane
