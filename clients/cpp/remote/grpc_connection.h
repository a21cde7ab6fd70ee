// SPDX-License-Identifier: Apache-2.0
//
// GrpcConnection: the channel to one daemon, the leases granted through it, their renewals and
// releases.
//
// Ownership: shared by its client, pools and leases. Close, by the client, ends all calls and drops
// the channel, so that what is left may be destroyed anywhere, a gRPC callback included.
// Threads: any. Renewals and late releases are asynchronous, several at a time; their answers come
// on gRPC's threads, which are never blocked. The application's callbacks are called on the
// renewer's thread.
// Errors: absl::Status with a Reason.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/security/credentials.h>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "clients/cpp/mutex.h"
#include "clients/cpp/remote/grpc_lease.h"
#include "clients/cpp/remote/keep_alive.h"
#include "clients/cpp/remote/warm_leases.h"
#include "clients/cpp/renewal/renewer.h"
#include "leaseplane/options.h"
#include "leaseplane/v1/lease_service.grpc.pb.h"

namespace leaseplane::internal {

class GrpcConnection final : public RenewalPort,
                             public std::enable_shared_from_this<GrpcConnection> {
 public:
  using LeaseStub = v1::LeaseService::Stub;

  GrpcConnection(const std::string& grpc_target,
                 const std::shared_ptr<grpc::ChannelCredentials>& credentials,
                 std::shared_ptr<const ClientOptions> options);
  ~GrpcConnection() override = default;

  // Ends it: leases are neither renewed nor reported any more; waits for releases under way, at
  // most shutdown_timeout. REQUIRES that no call of an application's thread is under way.
  void Close();

  // REQUIRE not closed.
  LeaseStub& leases() { return *leases_; }
  const ClientOptions& options() const { return *options_; }

  // A lease that was granted to a call sent at `sent_ns`; null if its safe deadline has passed
  // already. It is renewed from now on.
  std::shared_ptr<GrpcLease> Adopt(const v1::AcquireLeaseResponse& granted, int64_t sent_ns,
                                   const AcquireOptions& asked);

  // Gives the lease back and waits for the answer.
  absl::Status Release(GrpcLease& lease);
  // Gives it back in the background.
  void ReleaseLater(GrpcLease& lease);
  // An acquire whose outcome is unknown and that nobody waits for any more: what it was granted is
  // given back in the background.
  void Abandon(v1::AcquireLeaseRequest request);

  void StartRenewal(RenewalSchedule::Key key, int64_t timeout_ns) override;
  void OnLost(RenewalSchedule::Key key, Reason reason) override;
  void OnAlarm() override;

  // -- for the stream and what it says
  KeepAlive& keep_alive() { return keep_alive_; }
  WarmLeases& warm() { return warm_; }
  Renewer& renewer() { return *renewer_; }
  // Null if it has ended.
  std::shared_ptr<GrpcLease> Find(RenewalSchedule::Key key);
  void Renewed(GrpcLease& lease, const Renewer::Times& times);
  void TellRevokeRequested(std::shared_ptr<GrpcLease> lease, absl::Duration grace);
  void TellDraining();
  // Registers an asynchronous call, so that Close can cancel it. False: closed.
  bool Begin(grpc::ClientContext* context, bool is_release);
  void Finished(grpc::ClientContext* context);

 private:
  using Calls = absl::flat_hash_set<grpc::ClientContext*>;

  bool EndByHolder(GrpcLease& lease);
  void SendRelease(const std::string& name, FencingToken token);
  v1::ReleaseLeaseRequest MakeRelease(const std::string& name, FencingToken token) const;
  void RenewByCall(const std::shared_ptr<GrpcLease>& lease, int64_t timeout_ns);

  const std::shared_ptr<const ClientOptions> options_;
  std::shared_ptr<grpc::Channel> channel_;  // these two are reset by Close
  std::unique_ptr<LeaseStub> leases_;

  Mutex mu_;
  Change finished_;  // a call, after closed_
  bool closed_ ABSL_GUARDED_BY(mu_) = false;
  RenewalSchedule::Key last_key_ ABSL_GUARDED_BY(mu_) = 0;
  absl::flat_hash_map<RenewalSchedule::Key, std::shared_ptr<GrpcLease>> held_ ABSL_GUARDED_BY(mu_);
  Calls calls_ ABSL_GUARDED_BY(mu_);
  Calls releases_ ABSL_GUARDED_BY(mu_);  // of calls_ those that Close waits for

  KeepAlive keep_alive_;
  WarmLeases warm_{*this};
  std::unique_ptr<Renewer> renewer_;  // last: its thread uses the rest
};

// Sets the deadline of a call `timeout_ns` from now.
void SetTimeout(grpc::ClientContext& context, int64_t timeout_ns);

}  // namespace leaseplane::internal
