// SPDX-License-Identifier: Apache-2.0
#include "server/keeper/channel.h"

#include <errno.h>
#include <sys/socket.h>

#include <cstring>

namespace leaseplane::keeper {
namespace {

union ControlBuffer {
  char bytes[CMSG_SPACE(sizeof(int) * kDescriptorsMax)];
  cmsghdr align;
};

}  // namespace

bool SendWithDescriptors(int socket, const void* bytes, size_t count, std::span<const int> fds,
                         int flags) {
  iovec data{const_cast<void*>(bytes), count};
  ControlBuffer control{};
  msghdr header{};
  header.msg_iov = &data;
  header.msg_iovlen = 1;
  if (!fds.empty()) {
    header.msg_control = control.bytes;
    header.msg_controllen = CMSG_SPACE(fds.size_bytes());
    cmsghdr* part = CMSG_FIRSTHDR(&header);
    part->cmsg_level = SOL_SOCKET;
    part->cmsg_type = SCM_RIGHTS;
    part->cmsg_len = CMSG_LEN(fds.size_bytes());
    std::memcpy(CMSG_DATA(part), fds.data(), fds.size_bytes());
  }
  ssize_t sent;
  do {
    sent = ::sendmsg(socket, &header, flags | MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  return sent == static_cast<ssize_t>(count);
}

absl::Status Channel::Call(const ChannelMessage& message, std::span<const int> fds) {
  obs::MutexLock lock(&mu_);
  if (!SendWithDescriptors(socket_.get(), &message, sizeof(message), fds, 0)) {
    return absl::ErrnoToStatus(errno, "cannot reach the keeper");
  }
  ChannelMessage answer{};
  ssize_t got;
  do {
    got = ::recv(socket_.get(), &answer, sizeof(answer), 0);
  } while (got < 0 && errno == EINTR);
  if (got != sizeof(answer) || answer.verb != Verb::kAck) {
    return absl::UnavailableError("the keeper has gone");
  }
  if (answer.error != 0) return absl::ErrnoToStatus(answer.error, "the keeper refused");
  return absl::OkStatus();
}

absl::Status Channel::AddSess(int fd, uint64_t bytes, uint64_t uid) {
  ChannelMessage message{};
  message.verb = Verb::kAddSess;
  message.uid = uid;
  message.bytes[0] = bytes;
  return Call(message, std::span<const int>(&fd, 1));
}

absl::Status Channel::AddPool(const PoolOffer& offer) { return OfferPool(Verb::kAddPool, offer); }

absl::Status Channel::ReplacePool(const PoolOffer& offer) {
  return OfferPool(Verb::kReplacePool, offer);
}

absl::Status Channel::OfferPool(Verb verb, const PoolOffer& offer) {
  ChannelMessage message{};
  message.verb = verb;
  message.index = offer.handle;
  message.max_capacity = offer.max_capacity;
  message.uid = offer.uid;
  std::memcpy(message.bytes, offer.bytes, sizeof(message.bytes));
  if (offer.id.size() >= sizeof(message.pool_id)) {
    return absl::InvalidArgumentError("pool id too long");
  }
  std::memcpy(message.pool_id, offer.id.data(), offer.id.size());
  return Call(message, offer.fds);
}

absl::Status Channel::DropPool(uint32_t handle) {
  ChannelMessage message{};
  message.verb = Verb::kDropPool;
  message.index = handle;
  return Call(message, {});
}

absl::Status Channel::AddSession(SessionIndex index, int connection, int pidfd) {
  ChannelMessage message{};
  message.verb = Verb::kAddSession;
  message.index = index;
  const int fds[2] = {connection, pidfd};
  return Call(message, std::span<const int>(fds, pidfd < 0 ? 1 : 2));
}

absl::Status Channel::DropConnection(SessionIndex index) {
  ChannelMessage message{};
  message.verb = Verb::kDropConnection;
  message.index = index;
  return Call(message, {});
}

absl::Status Channel::DropSession(SessionIndex index) {
  ChannelMessage message{};
  message.verb = Verb::kDropSession;
  message.index = index;
  return Call(message, {});
}

ReceiveResult Receive(int socket, Received& out) {
  iovec data{&out.message, sizeof(out.message)};
  ControlBuffer control{};
  msghdr header{};
  header.msg_iov = &data;
  header.msg_iovlen = 1;
  header.msg_control = control.bytes;
  header.msg_controllen = sizeof(control.bytes);
  ssize_t got;
  do {
    got = ::recvmsg(socket, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  } while (got < 0 && errno == EINTR);
  if (got < 0 && errno == EAGAIN) return ReceiveResult::kNothing;
  if (got <= 0) return ReceiveResult::kClosed;
  for (UniqueFd& fd : out.fds) fd.reset();
  for (cmsghdr* part = CMSG_FIRSTHDR(&header); part != nullptr; part = CMSG_NXTHDR(&header, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count && i < kDescriptorsMax; ++i) {
      int fd;
      std::memcpy(&fd, CMSG_DATA(part) + i * sizeof(int), sizeof(fd));
      out.fds[i].reset(fd);
    }
  }
  if (got != sizeof(out.message)) return ReceiveResult::kClosed;  // no worker of ours
  return ReceiveResult::kMessage;
}

void Acknowledge(int socket, int error) {
  ChannelMessage answer{};
  answer.verb = Verb::kAck;
  answer.error = error;
  SendWithDescriptors(socket, &answer, sizeof(answer), {}, MSG_DONTWAIT);
}

}  // namespace leaseplane::keeper
