// SPDX-License-Identifier: Apache-2.0
//
// KeepAlive: the stream to the daemon as the leases of one connection use it: renewals that are due
// go over it while it works, and what the daemon says unasked (a lease is lost, or wanted back, or
// the daemon is about to stop) comes to the application through it.
//
// Ownership: a part of its connection. Threads: any; OnAlarm on the renewer's. Errors: none: while
// the stream is down renewals go as calls of their own, and the stream is opened again.
// Not promised: to hear of leases that are not renewed (auto_renew off), or of one within the first
// fraction of a second after its grant: what happened until then is heard then.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "clients/cpp/mutex.h"
#include "clients/cpp/remote/grpc_lease.h"
#include "clients/cpp/remote/keep_alive_stream.h"
#include "clients/cpp/renewal/stream_schedule.h"

namespace leaseplane::internal {

class KeepAlive {
 public:
  using Key = StreamSchedule::Key;

  KeepAlive(GrpcConnection& connection, uint64_t seed) : connection_(connection), schedule_(seed) {}
  KeepAlive(const KeepAlive&) = delete;
  KeepAlive& operator=(const KeepAlive&) = delete;

  // A lease that is renewed, until Remove.
  void Add(const GrpcLease& lease);
  void Remove(const GrpcLease& lease);
  // The stream is wanted even without a lease.
  void Want();
  // The daemon shall say when somebody waits for a slot.
  void HearWaiting();
  // Sends a renewal, whose outcome the renewer is told. False: the stream is not known to work.
  bool Renew(const GrpcLease& lease, int64_t timeout_ns);
  void OnAlarm();

  // -- for the stream
  void OnAnswer(const v1::KeepAliveResponse& answer);
  void OnEnded(const KeepAliveStream& stream, const grpc::Status& status);

 private:
  using Renewal = KeepAliveStream::Renewal;

  std::vector<Renewal> MakeRenewals(const std::vector<StreamSchedule::Ask>& asks);
  void OnRenewed(const v1::KeepAliveResponse::Renewed& renewed);
  void OnLost(const v1::KeepAliveResponse::Lost& lost);
  void OnRejected(const v1::KeepAliveResponse::Rejected& rejected);
  void OnRevokeRequested(const v1::KeepAliveResponse::RevokeRequested& request);
  std::shared_ptr<GrpcLease> Named(const std::string& name);
  std::optional<StreamSchedule::Asked> Answered(int64_t sequence);
  void SetAlarm() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  GrpcConnection& connection_;

  // Taken before the renewer's lock, never while the connection's is needed.
  Mutex mu_;
  StreamSchedule schedule_ ABSL_GUARDED_BY(mu_);
  absl::flat_hash_map<std::string, Key> by_name_ ABSL_GUARDED_BY(mu_);
  std::shared_ptr<KeepAliveStream> stream_ ABSL_GUARDED_BY(mu_);
  bool hears_waiting_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace leaseplane::internal
