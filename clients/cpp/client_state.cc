// SPDX-License-Identifier: Apache-2.0
#include "clients/cpp/client_state.h"

#include <stdlib.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "clients/cpp/boot_clock.h"
#include "leaseplane/status.h"

namespace leaseplane::internal {
namespace {

constexpr size_t kClientIdBytesMax = 63;

absl::Status CheckOptions(const ClientOptions& options) {
  const std::string& id = options.client_id;
  const bool printable =
      std::all_of(id.begin(), id.end(), [](char c) { return c > 32 && c < 127; });
  if (id.size() > kClientIdBytesMax || !printable) {
    return MakeStatus(Reason::kInvalidArgument,
                      "client_id: valid are at most 63 bytes of printable ASCII without spaces");
  }
  if (options.require_local && options.forbid_local) {
    return MakeStatus(Reason::kInvalidArgument,
                      "require_local and forbid_local exclude each other");
  }
  if (options.prefetch > 0 && options.prefetch_idle <= absl::ZeroDuration()) {
    return MakeStatus(Reason::kInvalidArgument, "prefetch_idle: valid is more than 0");
  }
  if (options.default_ttl < absl::ZeroDuration()) {
    return MakeStatus(Reason::kInvalidArgument, "default_ttl: valid are 1 s to 24 h, or 0");
  }
  return absl::OkStatus();
}

constexpr char kServerUidVariable[] = "LEASEPLANE_SERVER_UID";

// Makes the accepted uid a matter of the options alone.
absl::Status ReadServerUid(ClientOptions& options) {
  const char* text = ::getenv(kServerUidVariable);
  if (options.server_uid.has_value() || text == nullptr || *text == '\0') return absl::OkStatus();
  uint32_t uid = 0;
  if (!absl::SimpleAtoi(text, &uid)) {
    return MakeStatus(Reason::kInvalidArgument,
                      absl::StrCat(kServerUidVariable, "='", text, "': valid is a numeric uid"));
  }
  options.server_uid = uid;
  return absl::OkStatus();
}

std::string Text(const absl::Status& status) {
  return std::string(status.message().data(), status.message().size());
}

absl::Status NoLocalPath(const absl::Status& why) {
  return MakeStatus(Reason::kNoLocalPath, absl::StrCat("require_local is set, but: ", Text(why)));
}

// The local path is refused, but the daemon may be reached by gRPC.
bool MayGoRemote(const absl::Status& local) {
  const Reason reason = ReasonOf(local);
  return reason != Reason::kNotFound && reason != Reason::kUntrustedServer &&
         reason != Reason::kInvalidArgument;
}

RemoteBackend* FindRemoteBackend() {
  return &leaseplane_remote_backend_v1 != nullptr ? leaseplane_remote_backend_v1() : nullptr;
}

}  // namespace

ClientState::ClientState(Target target, ClientOptions options)
    : target_(std::move(target)), options_(std::move(options)), mark_(ProcessMark::Current()) {}

ClientState::~ClientState() {
  if (!mark_.IsCurrent()) {
    // A forked child: threads, connection and session are the parent's.
    const MutexLock lock(&remote_mu_);
    static_cast<void>(remote_.release());
    return;
  }
  {
    const MutexLock lock(&remote_mu_);
    remote_.reset();
  }
  if (session_ != nullptr) session_->RemoveUser(this);
}

absl::StatusOr<std::shared_ptr<ClientState>> ClientState::Connect(Target target,
                                                                  ClientOptions options) {
  absl::Status status = CheckOptions(options);
  if (status.ok()) status = ReadServerUid(options);
  if (!status.ok()) return status;
  const int64_t deadline_ns = DeadlineAfter(BootNowNs(), options.connect_timeout);
  auto client = std::make_shared<ClientState>(std::move(target), std::move(options));
  status = client->target_.is_unix() ? client->ConnectUnix(deadline_ns)
                                     : client->ConnectByName(deadline_ns);
  if (!status.ok()) return status;
  return client;
}

absl::Status ClientState::AttachTo(const std::string& socket_path, int64_t deadline_ns) {
  SessionConfig config;
  config.attach_path = AttachSocketOf(socket_path);
  config.liveness = options_.session.liveness;
  config.server_uid = options_.server_uid;
  config.client_name = options_.client_id;
  Session* session = FindSession(config);
  absl::Status status = session->AddUser(this, deadline_ns);
  if (status.ok()) session_ = session;
  return status;
}

absl::Status ClientState::ConnectUnix(int64_t deadline_ns) {
  absl::Status local = MakeStatus(Reason::kNoLocalPath, "forbid_local is set");
  if (!options_.forbid_local) local = AttachTo(target_.socket_path, deadline_ns);
  if (local.ok()) {
    path_reason_ = "attached to the daemon's shared memory";
    instance_id_ = session_->instance_id();
    return local;
  }
  if (!MayGoRemote(local)) return local;
  if (options_.require_local) return NoLocalPath(local);
  if (FindRemoteBackend() == nullptr) return local;
  path_reason_ = absl::StrCat("gRPC on the same socket: ", Text(local));
  const absl::Status trusted = CheckServerAt(target_.socket_path, options_.server_uid);
  if (!trusted.ok()) return trusted;
  absl::StatusOr<RemoteClient*> remote = Remote();
  if (!remote.ok()) return remote.status();
  absl::StatusOr<std::string> instance = (*remote)->InstanceId(deadline_ns);
  if (!instance.ok()) return instance.status();
  instance_id_ = *std::move(instance);
  return absl::OkStatus();
}

absl::Status ClientState::ConnectByName(int64_t deadline_ns) {
  absl::StatusOr<RemoteClient*> remote = Remote();
  if (!remote.ok()) return remote.status();
  absl::StatusOr<std::string> instance = (*remote)->InstanceId(deadline_ns);
  if (!instance.ok()) return instance.status();
  instance_id_ = *std::move(instance);

  absl::Status local = MakeStatus(Reason::kNoLocalPath, "forbid_local is set");
  if (!options_.forbid_local) {
    const std::string& socket_path = options_.local_socket;
    local = AttachTo(socket_path.empty() ? kDefaultSocket : socket_path, deadline_ns);
  }
  if (local.ok() && session_->instance_id() != instance_id_) {
    session_->RemoveUser(this);
    session_ = nullptr;
    local = MakeStatus(Reason::kNoLocalPath, "the daemon of this host is another one");
  }
  if (!local.ok() && options_.require_local) return NoLocalPath(local);
  path_reason_ =
      local.ok() ? "the target's daemon runs on this host" : absl::StrCat("gRPC: ", Text(local));
  return absl::OkStatus();
}

absl::StatusOr<RemoteClient*> ClientState::Remote() {
  RemoteBackend* backend = FindRemoteBackend();
  if (backend == nullptr) {
    return MakeStatus(Reason::kNoRemotePath,
                      absl::StrCat("target '", target_.text,
                                   "' needs gRPC: link leaseplane::client instead of "
                                   "leaseplane::local"));
  }
  const MutexLock lock(&remote_mu_);
  if (remote_ == nullptr) {
    auto options = std::make_shared<ClientOptions>(options_);
    options->on_lost = [this](const LostLease& lease) { OnLost(lease); };
    if (options_.on_revoke) {
      options->on_revoke = [this](const RevokeRequest& request) { OnRevokeRequested(request); };
    }
    if (options_.on_draining) {
      options->on_draining = [this] {
        if (session_ == nullptr) OnDraining();  // else the session says it
      };
    }
    auto remote = backend->Connect(target_.grpc_target, std::move(options));
    if (!remote.ok()) return remote.status();
    remote_ = *std::move(remote);
  }
  return remote_.get();
}

absl::StatusOr<ClientState::OpenedPool> ClientState::OpenPool(std::string_view name) {
  if (!mark_.IsCurrent()) {
    return MakeStatus(Reason::kOtherProcess, "the client was made before fork()");
  }
  const int64_t deadline_ns = DeadlineAfter(BootNowNs(), options_.connect_timeout);
  if (session_ == nullptr) return OpenRemote(name, path_reason_, deadline_ns);
  absl::StatusOr<LocalPool*> local = session_->OpenPool(name, deadline_ns);
  if (local.ok()) return OpenedPool{*local, nullptr, path_reason_};
  if (!MayGoRemote(local.status())) return local.status();
  if (options_.require_local) return NoLocalPath(local.status());
  if (FindRemoteBackend() == nullptr) return local.status();
  return OpenRemote(name, absl::StrCat("gRPC on the same daemon: ", Text(local.status())),
                    deadline_ns);
}

absl::StatusOr<ClientState::OpenedPool> ClientState::OpenRemote(std::string_view name,
                                                                std::string path_reason,
                                                                int64_t deadline_ns) {
  absl::StatusOr<RemoteClient*> remote = Remote();
  if (!remote.ok()) return remote.status();
  absl::StatusOr<std::shared_ptr<RemotePool>> pool = (*remote)->OpenPool(name, deadline_ns);
  if (!pool.ok()) return pool.status();
  return OpenedPool{nullptr, *std::move(pool), std::move(path_reason)};
}

std::string ClientState::instance_id() const { return instance_id_; }

void ClientState::OnLost(const LostLease& lease) {
  if (!options_.on_lost) return;
  const MutexLock lock(&callback_mu_);
  options_.on_lost(lease);
}

void ClientState::OnRevokeRequested(const RevokeRequest& request) {
  if (!options_.on_revoke) return;
  const MutexLock lock(&callback_mu_);
  options_.on_revoke(request);
}

void ClientState::OnDraining() {
  if (!options_.on_draining) return;
  const MutexLock lock(&callback_mu_);
  options_.on_draining();
}

}  // namespace leaseplane::internal
