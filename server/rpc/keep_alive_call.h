// SPDX-License-Identifier: Apache-2.0
//
// KeepAliveCall: one KeepAlive stream. Renews what the client asks for, one answer for each
// renewal, and tells it at once when a lease it follows is lost or wanted back.
//
// Owner: itself, from Start until OnDone; renewals under way share it, the plane points to it as a
// watcher until OnDone has unwatched it.
// Threads: any; mutex_ is never held while the plane is called. One write and one read are under
// way at most. A client that does not read is not read from either, once kBacklogMax answers wait
// for it. Not promised: an order between answers and unasked news.
#pragma once

#include <absl/base/thread_annotations.h>
#include <absl/container/flat_hash_set.h>
#include <absl/synchronization/mutex.h>
#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "leaseplane/v1/lease_service.pb.h"
#include "server/plane/plane.h"
#include "server/rpc/call_environment.h"
#include "server/rpc/open_calls.h"
#include "server/rpc/resource_name.h"

namespace leaseplane::rpc {

class KeepAliveCall final : public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>,
                            public plane::LeaseWatcher,
                            public OpenCall,
                            public std::enable_shared_from_this<KeepAliveCall> {
 public:
  static constexpr size_t kBacklogMax = 1024;
  static constexpr int kRenewalsMax = 256;  // in one message

  static grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* Start(
      const CallEnvironment& environment);

  explicit KeepAliveCall(const CallEnvironment& environment);

  // plane::LeaseWatcher
  void OnLost(const std::string& pool, const engine::LeaseId& id, engine::Reason reason) override;
  void OnRevokeRequested(const std::string& pool, const engine::LeaseId& id,
                         int64_t grace_ns) override;
  void OnDraining() override;
  void OnWaiting(const std::string& pool) override;
  // grpc::ServerBidiReactor
  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;
  // OpenCall
  void EndForShutdown() override;

 private:
  using Renewal = v1::KeepAliveRequest::Renewal;

  void HandleMessage();
  bool AcceptClientId(const std::string& client_id);
  void Renew(const Renewal& renewal, int64_t received_at_ns);
  void OnRenewed(const LeaseRef& lease, const Renewal& renewal,
                 const plane::Result<engine::RenewResult>& result);
  // Follows the leases renewed since it was last called.
  void WatchRenewed();
  void ReadMore();
  // Ends the stream once what waits to be written is out.
  void Close(const grpc::Status& status);

  void Send(const v1::KeepAliveResponse& message);
  void SendLocked(const v1::KeepAliveResponse& message) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void WriteNext() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void EndIfDone() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void End(const grpc::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const CallEnvironment environment_;
  const std::string principal_;

  // Of the one reaction to reads.
  grpc::ByteBuffer incoming_;
  std::string client_id_;
  bool has_client_id_ = false;

  absl::Mutex mutex_;
  bool is_ended_ ABSL_GUARDED_BY(mutex_) = false;  // Finish has been called
  bool is_reading_ ABSL_GUARDED_BY(mutex_) = false;
  bool has_read_all_ ABSL_GUARDED_BY(mutex_) = false;
  bool is_writing_ ABSL_GUARDED_BY(mutex_) = false;
  size_t open_renewal_count_ ABSL_GUARDED_BY(mutex_) = 0;
  std::optional<grpc::Status> closing_ ABSL_GUARDED_BY(mutex_);
  grpc::ByteBuffer in_flight_ ABSL_GUARDED_BY(mutex_);
  std::deque<grpc::ByteBuffer> outgoing_ ABSL_GUARDED_BY(mutex_);
  std::vector<LeaseRef> to_watch_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_set<std::string> watched_ ABSL_GUARDED_BY(mutex_);  // names of leases
  std::shared_ptr<KeepAliveCall> self_;
};

}  // namespace leaseplane::rpc
