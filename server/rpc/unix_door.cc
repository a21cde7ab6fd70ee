// SPDX-License-Identifier: Apache-2.0
#include "server/rpc/unix_door.h"

#include <absl/strings/str_cat.h>
#include <absl/synchronization/mutex.h>
#include <errno.h>
#include <grpcpp/security/auth_metadata_processor.h>
#include <grpcpp/security/server_credentials.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <utility>

#include "server/obs/clock.h"
#include "server/obs/log.h"
#include "server/rpc/caller.h"

namespace leaseplane::rpc {
namespace {

constexpr int kBacklog = 4096;

}  // namespace

// gRPC keeps one context for all calls of a connection and asks here before each of them. The
// first call writes the property; the lock keeps calls of the same moment from writing it twice,
// and whoever reads it has been here before.
class UnixDoor::Mark final : public grpc::AuthMetadataProcessor {
 public:
  // Before the acceptor gets its first connection.
  void set_uid(uint32_t uid) {
    absl::MutexLock lock(&mutex_);
    uid_ = absl::StrCat(uid);
  }

  bool IsBlocking() const override { return false; }
  grpc::Status Process(const InputMetadata&, grpc::AuthContext* context, OutputMetadata*,
                       OutputMetadata*) override {
    absl::MutexLock lock(&mutex_);
    if (context->FindPropertyValues(kUidProperty).empty()) {
      context->AddProperty(kUidProperty, uid_);
    }
    return grpc::Status::OK;
  }

 private:
  absl::Mutex mutex_;
  std::string uid_;
};

absl::Status UnixDoor::Open(const std::string& path) {
  auto claimed = UnixSocketPath::Claim(path);
  if (!claimed.ok()) return claimed.status();
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  UniqueFd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  stop_.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!listener || !stop_) return absl::ErrnoToStatus(errno, "cannot make the Unix socket");
  ::unlink(path.c_str());  // the claim says that nobody serves there
  int result;
  {
    const SocketModeScope mode;
    result = ::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address));
  }
  if (result != 0 || ::listen(listener.get(), kBacklog) != 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot listen on unix:", path));
  }
  path_ = *std::move(claimed);
  listener_ = std::move(listener);
  return absl::OkStatus();
}

void UnixDoor::AddTo(grpc::ServerBuilder* builder) {
  using Type = grpc::ServerBuilder::experimental_type::ExternalConnectionType;
  for (size_t i = 0; i < kUsersMax; ++i) {
    auto mark = std::make_shared<Mark>();
    auto credentials = grpc::experimental::LocalServerCredentials(UDS);
    credentials->SetAuthMetadataProcessor(mark);
    acceptors_.push_back(
        {builder->experimental().AddExternalConnectionAcceptor(Type::FROM_FD, credentials),
         std::move(mark)});
  }
}

void UnixDoor::Start() {
  thread_ = std::thread([this] { Run(); });
}

void UnixDoor::Stop() {
  if (thread_.joinable()) {
    ::eventfd_write(stop_.get(), 1);
    thread_.join();
  }
  listener_.reset();
  if (path_) ::unlink(path_->path().c_str());
  path_.reset();
}

void UnixDoor::Run() {
  pollfd events[2] = {{listener_.get(), POLLIN, 0}, {stop_.get(), POLLIN, 0}};
  while (true) {
    ::poll(events, 2, -1);
    if (events[1].revents != 0) return;
    if (events[0].revents != 0) Accept();
  }
}

void UnixDoor::Accept() {
  UniqueFd connection(::accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (!connection) {
    // Out of descriptors the connection stays in the backlog; a pause keeps us from spinning.
    if (errno == EMFILE || errno == ENFILE) ::usleep(10'000);
    return;
  }
  ucred credentials{};
  socklen_t bytes = sizeof(credentials);
  if (::getsockopt(connection.get(), SOL_SOCKET, SO_PEERCRED, &credentials, &bytes) != 0) return;
  Acceptor* const acceptor = AcceptorOf(credentials.uid);
  if (acceptor == nullptr) {
    if (refusal_log_.Allow(obs::BootNowNs())) {
      obs::Log(obs::Level::kWarning, "connection refused: too many different users",
               {{"uid", credentials.uid}, {"users_max", kUsersMax}});
    }
    return;
  }
  grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters parameters;
  parameters.listener_fd = listener_.get();
  parameters.fd = connection.release();
  acceptor->acceptor->HandleNewConnection(&parameters);
}

UnixDoor::Acceptor* UnixDoor::AcceptorOf(uint32_t uid) {
  const auto [found, is_new] = acceptor_of_uid_.try_emplace(uid, acceptor_of_uid_.size());
  if (found->second >= acceptors_.size()) {
    acceptor_of_uid_.erase(found);
    return nullptr;
  }
  Acceptor& acceptor = acceptors_[found->second];
  if (is_new) acceptor.mark->set_uid(uid);
  return &acceptor;
}

}  // namespace leaseplane::rpc
