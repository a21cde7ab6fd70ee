// SPDX-License-Identifier: Apache-2.0
//
// GrpcLease: one lease granted over gRPC, as its holder and the connection see it.
//
// Ownership: shared by the holder's Lease (`self_`, until Release or Drop) and, while it is held
// and renewed, by the connection. Threads: any. StillHeld and RemainingNs read two atomics and a
// clock.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "clients/cpp/renewal/renewal_schedule.h"
#include "leaseplane/internal/process_mark.h"
#include "leaseplane/internal/remote_lease.h"
#include "leaseplane/status.h"

namespace leaseplane::internal {

class GrpcConnection;

class GrpcLease final : public RemoteLease {
 public:
  struct Facts {
    std::string name, pool, resource;
    int64_t ttl_ns = 0;        // as asked for; 0: the pool's default
    bool may_be_kept = false;  // for another use, when its holder has released it
    SlotIndex slot = 0;
    FencingToken token = 0;
  };

  GrpcLease(std::shared_ptr<GrpcConnection> connection, RenewalSchedule::Key key, Facts facts,
            int64_t safe_deadline_ns)
      : RemoteLease(std::move(facts.name), std::move(facts.pool), std::move(facts.resource),
                    facts.slot, facts.token),
        ttl_ns_(facts.ttl_ns),
        may_be_kept_(facts.may_be_kept),
        connection_(std::move(connection)),
        mark_(ProcessMark::Current()),
        key_(key),
        safe_deadline_ns_(safe_deadline_ns) {}
  ~GrpcLease() override = default;

  // The holder's reference.
  static RemoteLease* Hold(std::shared_ptr<GrpcLease> lease) {
    GrpcLease* raw = lease.get();
    raw->self_ = std::move(lease);
    return raw;
  }

  bool StillHeld() const noexcept override;
  int64_t RemainingNs() const noexcept override;
  absl::Status Release() noexcept override;
  void Drop() noexcept override;

  RenewalSchedule::Key key() const { return key_; }
  int64_t ttl_ns() const { return ttl_ns_; }
  // Nobody has asked for it back, and it is held.
  bool MayBeKept() const noexcept { return may_be_kept_ && !asked_back_.load() && StillHeld(); }
  void Extend(int64_t safe_deadline_ns);
  // True for the first caller only: it says why the lease ended. kNone: released by its holder.
  bool End(Reason reason);
  // True for the first caller only: an operator wants it back.
  bool AskBack() { return !asked_back_.exchange(true); }
  // Why it ended; REQUIRES End.
  Reason ended() const { return static_cast<Reason>(ended_.load() - 1); }

 private:
  const int64_t ttl_ns_;
  const bool may_be_kept_;
  const std::shared_ptr<GrpcConnection> connection_;
  const ProcessMark mark_;
  const RenewalSchedule::Key key_;
  std::shared_ptr<GrpcLease> self_;
  std::atomic<int64_t> safe_deadline_ns_;
  std::atomic<int> ended_{0};  // 0: held; else Reason + 1
  std::atomic<bool> asked_back_{false};
};

}  // namespace leaseplane::internal
