// SPDX-License-Identifier: Apache-2.0
#include "clients/cpp/local/attach_socket.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "clients/cpp/boot_clock.h"
#include "clients/cpp/local/fork_close.h"
#include "leaseplane/status.h"

namespace leaseplane::internal {
namespace {

constexpr int kFdsMax = 4;
constexpr int kBacklogRetryMs = 10;

absl::Status CannotConnect(const std::string& path, int error) {
  return MakeStatus(Reason::kUnreachable,
                    absl::StrCat("no daemon at '", path, "': ", ::strerror(error)));
}

absl::Status CheckServer(int fd, const std::string& path, std::optional<uint32_t> server_uid) {
  ucred peer{};
  socklen_t length = sizeof(peer);
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0) {
    return CannotConnect(path, errno);
  }
  if (peer.uid == 0 || peer.uid == ::geteuid() || peer.uid == server_uid) return absl::OkStatus();
  return MakeStatus(Reason::kUntrustedServer,
                    absl::StrCat("the daemon at '", path, "' runs as uid ", peer.uid,
                                 "; accepted are root, our own uid, and LEASEPLANE_SERVER_UID"));
}

absl::StatusOr<UniqueFd> ConnectSocket(const std::string& path, int type, int64_t deadline_ns) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) return CannotConnect(path, ENAMETOOLONG);
  std::copy(path.begin(), path.end(), address.sun_path);
  UniqueFd fd(::socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return CannotConnect(path, errno);
  const void* untyped = &address;
  while (::connect(fd.get(), static_cast<const sockaddr*>(untyped), sizeof(address)) != 0) {
    // EAGAIN: the daemon's backlog is full, for it is starting again.
    if ((errno != EAGAIN && errno != EINTR) || BootNowNs() >= deadline_ns) {
      return CannotConnect(path, errno);
    }
    ::poll(nullptr, 0, kBacklogRetryMs);
  }
  return fd;
}

void TakeFds(msghdr& header, std::vector<UniqueFd>& fds) {
  for (cmsghdr* c = CMSG_FIRSTHDR(&header); c != nullptr; c = CMSG_NXTHDR(&header, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd = -1;
      ::memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
      fds.emplace_back(fd);
    }
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<AttachSocket>> AttachSocket::Connect(
    const std::string& path, std::optional<uint32_t> server_uid, int64_t deadline_ns) {
  absl::StatusOr<UniqueFd> fd = ConnectSocket(path, SOCK_SEQPACKET, deadline_ns);
  if (!fd.ok()) return fd.status();
  const absl::Status status = CheckServer(fd->get(), path, server_uid);
  if (!status.ok()) return status;
  return std::make_unique<AttachSocket>(*std::move(fd));
}

absl::Status CheckServerAt(const std::string& path, std::optional<uint32_t> server_uid) {
  absl::StatusOr<UniqueFd> fd = ConnectSocket(path, SOCK_STREAM, BootNowNs());
  return fd.ok() ? CheckServer(fd->get(), path, server_uid) : fd.status();
}

AttachSocket::~AttachSocket() {
  if (closed_in_children_) KeepInForkedChildren(fd_.get());
}

void AttachSocket::CloseInChildren() {
  closed_in_children_ = true;
  CloseInForkedChildren(fd_.get());
}

bool AttachSocket::Send(const attach::Message& message) const {
  for (;;) {
    const ssize_t n = ::send(fd_.get(), &message, sizeof(message), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n == static_cast<ssize_t>(sizeof(message))) return true;
    if (n >= 0 || errno != EINTR) return false;
  }
}

AttachSocket::Got AttachSocket::Receive(Incoming& incoming) const {
  incoming.fds.clear();
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kFdsMax)];
  iovec data{&incoming.message, sizeof(incoming.message)};
  msghdr header{};
  header.msg_iov = &data;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof(control);
  ssize_t n = 0;
  do {
    n = ::recvmsg(fd_.get(), &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  } while (n < 0 && errno == EINTR);
  if (n < 0) return errno == EAGAIN ? Got::kNothing : Got::kClosed;
  TakeFds(header, incoming.fds);
  // A message of another length is not of this protocol: nothing after it can be believed.
  return n == static_cast<ssize_t>(sizeof(incoming.message)) ? Got::kMessage : Got::kClosed;
}

bool AttachSocket::WaitReadable(int64_t deadline_ns) const {
  for (;;) {
    const int64_t rest_ns = deadline_ns - BootNowNs();
    if (rest_ns <= 0) return false;
    pollfd item{fd_.get(), POLLIN, 0};
    const int64_t rest_ms = std::min<int64_t>(rest_ns / kMillisecondNs + 1, 1000);
    if (::poll(&item, 1, static_cast<int>(rest_ms)) > 0) return true;
  }
}

attach::Message MakeMessage(attach::Kind kind) {
  attach::Message message;
  ::memset(&message, 0, sizeof(message));
  message.kind = kind;
  return message;
}

}  // namespace leaseplane::internal
