// SPDX-License-Identifier: Apache-2.0
#include "server/rpc/unix_socket_path.h"

#include <absl/strings/str_cat.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace leaseplane::rpc {
namespace {

absl::Status Refuse(const std::string& path, absl::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat("socket ", path, ": ", why));
}

absl::Status SystemError(const std::string& path, int error) {
  return absl::ErrnoToStatus(error, absl::StrCat("socket ", path));
}

// Somebody answers at the path.
bool IsServed(const sockaddr_un& address) {
  const UniqueFd probe(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (probe.get() < 0) return false;
  const int result =
      connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
  // EAGAIN: there is a listener, and its backlog is full.
  return result == 0 || errno == EAGAIN;
}

}  // namespace

absl::StatusOr<UnixSocketPath> UnixSocketPath::Claim(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path[0] != '/') return Refuse(path, "must be an absolute path");
  if (path.size() >= sizeof address.sun_path) {
    return Refuse(path, absl::StrCat("must be shorter than ", sizeof address.sun_path, " bytes"));
  }
  std::memcpy(address.sun_path, path.data(), path.size());

  struct stat info {};
  const bool is_there = lstat(path.c_str(), &info) == 0;
  if (is_there && !S_ISSOCK(info.st_mode)) return Refuse(path, "something else is there");

  const std::string lock_path = path + ".lock";
  UniqueFd lock(open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (lock.get() < 0) return SystemError(lock_path, errno);
  if (flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return SystemError(lock_path, errno);
    return absl::AlreadyExistsError(absl::StrCat("socket ", path, ": another daemon serves on it"));
  }
  if (is_there && IsServed(address)) {
    return absl::AlreadyExistsError(
        absl::StrCat("socket ", path, ": another program serves on it"));
  }
  return UnixSocketPath(path, std::move(lock));
}

SocketModeScope::SocketModeScope() : previous_(umask(0117)) {}

SocketModeScope::~SocketModeScope() { umask(previous_); }

}  // namespace leaseplane::rpc
