// SPDX-License-Identifier: Apache-2.0
#include "server/attach/connection.h"

#include <errno.h>
#include <linux/sockios.h>
#include <poll.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cstring>
#include <string>

#include "server/keeper/channel.h"
#include "server/obs/clock.h"

namespace leaseplane::attach {
namespace {

// Newer than the headers we build with.
constexpr int kSoPeerPidfd = 77;
constexpr int kSoPeerGroups = 59;
constexpr long kPidfsMagic = 0x50494446;

// Start of a process after boot, in ns; 0 if it cannot be read.
int64_t ProcessStartNs(pid_t pid) {
  const std::string path = "/proc/" + std::to_string(pid) + "/stat";
  FILE* file = ::fopen(path.c_str(), "re");
  if (file == nullptr) return 0;
  char text[1024] = {};
  const size_t got = ::fread(text, 1, sizeof(text) - 1, file);
  ::fclose(file);
  // The name in brackets may hold anything; fields are counted from the last bracket.
  const char* at = got == 0 ? nullptr : std::strrchr(text, ')');
  for (int field = 2; at != nullptr && field < 22; ++field) at = std::strchr(at + 1, ' ');
  if (at == nullptr) return 0;
  return std::strtoll(at + 1, nullptr, 10) * (1'000'000'000 / ::sysconf(_SC_CLK_TCK));
}

// Without SO_PEERPIDFD the peer is known by a number that may be somebody else's by now. It is not
// if that process began before now and the peer has not hung up meanwhile.
UniqueFd PidfdByNumber(int connection) {
  ucred credentials{};
  socklen_t bytes = sizeof(credentials);
  if (::getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &credentials, &bytes) != 0 ||
      credentials.pid <= 0) {
    return UniqueFd();
  }
  const int64_t now_ns = obs::BootNowNs();
  UniqueFd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, credentials.pid, 0)));
  if (!pidfd) return UniqueFd();
  const int64_t start_ns = ProcessStartNs(credentials.pid);
  if (start_ns == 0 || start_ns > now_ns || HasEnded(pidfd.get()) || IsHungUp(connection)) {
    return UniqueFd();
  }
  return pidfd;
}

}  // namespace

bool ReadPeer(int connection, Peer& out) {
  ucred credentials{};
  socklen_t bytes = sizeof(credentials);
  if (::getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &credentials, &bytes) != 0) return false;
  out.uid = credentials.uid;
  out.gid = credentials.gid;
  bytes = 0;
  out.groups.clear();
  // The first call tells the length by failing with ERANGE.
  if (::getsockopt(connection, SOL_SOCKET, kSoPeerGroups, nullptr, &bytes) != 0 &&
      errno == ERANGE && bytes > 0) {
    out.groups.resize(bytes / sizeof(uint32_t));
    if (::getsockopt(connection, SOL_SOCKET, kSoPeerGroups, out.groups.data(), &bytes) != 0) {
      out.groups.clear();
    }
  }
  return true;
}

UniqueFd PeerPidfd(int connection) {
  int fd = -1;
  socklen_t bytes = sizeof(fd);
  if (::getsockopt(connection, SOL_SOCKET, kSoPeerPidfd, &fd, &bytes) == 0) return UniqueFd(fd);
  return PidfdByNumber(connection);
}

uint64_t ProcessKey(int connection, int pidfd) {
  // Since Linux 6.9 each process has its own inode, never used again; before, all shared one.
  struct statfs filesystem {};
  struct stat file {};
  if (pidfd >= 0 && ::fstatfs(pidfd, &filesystem) == 0 && filesystem.f_type == kPidfsMagic &&
      ::fstat(pidfd, &file) == 0) {
    return uint64_t{file.st_ino} | uint64_t{1} << 63;
  }
  ucred credentials{};
  socklen_t bytes = sizeof(credentials);
  if (::getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &credentials, &bytes) != 0) return 0;
  return credentials.pid > 0 ? static_cast<uint64_t>(credentials.pid) : 0;
}

bool HasEnded(int pidfd) {
  pollfd state{pidfd, POLLIN, 0};
  return ::poll(&state, 1, 0) > 0 && (state.revents & POLLIN) != 0;
}

bool IsHungUp(int connection) {
  pollfd state{connection, 0, 0};
  return ::poll(&state, 1, 0) > 0 && (state.revents & (POLLHUP | POLLERR)) != 0;
}

bool HasReadAll(int connection) {
  int bytes = 0;
  if (::ioctl(connection, SIOCOUTQ, &bytes) != 0) return true;
  // Not 0: the kernel wakes us when it has let go of all but one byte of the last message.
  return bytes < static_cast<int>(kMessageBytes);
}

ReadResult ReadMessage(int connection, Message& out) {
  char bytes[sizeof(Message) + 1];  // one more, to notice longer ones
  ssize_t got;
  do {
    got = ::recv(connection, bytes, sizeof(bytes), MSG_DONTWAIT);
  } while (got < 0 && errno == EINTR);
  if (got < 0) return errno == EAGAIN ? ReadResult::kNothing : ReadResult::kHangUp;
  if (got == 0) {
    // An empty message reads like the end of the stream; only the latter hangs up.
    return IsHungUp(connection) ? ReadResult::kHangUp : ReadResult::kRubbish;
  }
  if (got != sizeof(Message)) return ReadResult::kRubbish;
  std::memcpy(&out, bytes, sizeof(out));
  return ReadResult::kMessage;
}

SendResult SendMessage(int connection, const Message& message, std::span<const int> fds) {
  if (keeper::SendWithDescriptors(connection, &message, sizeof(message), fds, MSG_DONTWAIT)) {
    return SendResult::kSent;
  }
  return errno == EAGAIN || errno == ENOBUFS ? SendResult::kFull : SendResult::kGone;
}

}  // namespace leaseplane::attach
