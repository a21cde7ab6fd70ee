// SPDX-License-Identifier: Apache-2.0
//
// KeepAliveStream: one KeepAlive call, from its start to its end. Carries renewals out and answers
// in; what they mean is the business of KeepAlive.
//
// Ownership: itself, from Open until gRPC is done with it; it keeps the connection alive as long.
// Threads: any. Answers and the end are told on gRPC's threads, the end last and once.
// Cost: one write and one read are under way at most; what is sent meanwhile goes out together.
#pragma once

#include <deque>
#include <memory>
#include <vector>

#include <grpcpp/client_context.h>
#include <grpcpp/support/client_callback.h>

#include "absl/base/thread_annotations.h"
#include "clients/cpp/mutex.h"
#include "leaseplane/v1/lease_service.grpc.pb.h"

namespace leaseplane::internal {

class GrpcConnection;

class KeepAliveStream final
    : public grpc::ClientBidiReactor<v1::KeepAliveRequest, v1::KeepAliveResponse> {
 public:
  using Renewal = v1::KeepAliveRequest::Renewal;

  // Null if the connection is closed.
  static std::shared_ptr<KeepAliveStream> Open(std::shared_ptr<GrpcConnection> connection);
  explicit KeepAliveStream(std::shared_ptr<GrpcConnection> connection)
      : connection_(std::move(connection)) {}
  ~KeepAliveStream() override = default;

  // Nothing happens if the stream has ended.
  void Send(std::vector<Renewal> renewals);
  // From now on the daemon says when somebody waits for a slot.
  void HearWaiting();
  void Cancel() { context_.TryCancel(); }

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnDone(const grpc::Status& status) override;

 private:
  static constexpr int kRenewalsOfOneMessageMax = 256;

  void Start();
  void WriteNext() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const std::shared_ptr<GrpcConnection> connection_;
  grpc::ClientContext context_;
  std::shared_ptr<KeepAliveStream> self_;
  v1::KeepAliveResponse incoming_;  // of the reaction to reads

  Mutex mu_;
  bool is_over_ ABSL_GUARDED_BY(mu_) = false;  // nothing may be written any more
  bool is_writing_ ABSL_GUARDED_BY(mu_) = false;
  bool must_hear_waiting_ ABSL_GUARDED_BY(mu_) = false;  // and has not said so yet
  v1::KeepAliveRequest in_flight_ ABSL_GUARDED_BY(mu_);
  std::deque<Renewal> outgoing_ ABSL_GUARDED_BY(mu_);
};

}  // namespace leaseplane::internal
