// SPDX-License-Identifier: Apache-2.0
//
// ClientState: what the copies of one Client and its Pools share: the decision which way the daemon
// is reached, the local session and the gRPC connection.
//
// Ownership: shared by Client and Pool. In a forked child its destructor leaves everything alone.
// Threads: any. Callbacks of both paths pass through here, one at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "clients/cpp/local/session.h"
#include "clients/cpp/local/session_listener.h"
#include "clients/cpp/mutex.h"
#include "clients/cpp/remote_port.h"
#include "clients/cpp/target.h"
#include "leaseplane/internal/process_mark.h"
#include "leaseplane/options.h"

namespace leaseplane::internal {

class ClientState final : public SessionListener {
 public:
  // One of the two is set.
  struct OpenedPool {
    LocalPool* local = nullptr;
    std::shared_ptr<RemotePool> remote;
    std::string path_reason;
  };

  static absl::StatusOr<std::shared_ptr<ClientState>> Connect(Target target, ClientOptions options);
  ClientState(Target target, ClientOptions options);
  ~ClientState() override;

  absl::StatusOr<OpenedPool> OpenPool(std::string_view name);

  Path path() const { return session_ != nullptr ? Path::kLocal : Path::kRemote; }
  const std::string& path_reason() const { return path_reason_; }
  const Target& target() const { return target_; }
  const ClientOptions& options() const { return options_; }
  std::string instance_id() const;
  int session_fd() const { return session_ != nullptr ? session_->socket_fd() : -1; }
  bool in_own_process() const { return mark_.IsCurrent(); }

  void OnLost(const LostLease& lease) override;
  void OnRevokeRequested(const RevokeRequest& request) override;
  void OnDraining() override;

 private:
  absl::Status ConnectUnix(int64_t deadline_ns);
  absl::Status ConnectByName(int64_t deadline_ns);
  absl::Status AttachTo(const std::string& socket_path, int64_t deadline_ns);
  absl::StatusOr<RemoteClient*> Remote();
  absl::StatusOr<OpenedPool> OpenRemote(std::string_view name, std::string path_reason,
                                        int64_t deadline_ns);

  const Target target_;
  const ClientOptions options_;
  const ProcessMark mark_;
  // Fixed by Connect.
  Session* session_ = nullptr;  // this is one of its users
  std::string path_reason_;
  std::string instance_id_;

  Mutex remote_mu_;
  std::unique_ptr<RemoteClient> remote_ ABSL_GUARDED_BY(remote_mu_);

  Mutex callback_mu_;  // held while the application's callbacks run
};

}  // namespace leaseplane::internal
