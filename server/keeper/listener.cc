// SPDX-License-Identifier: Apache-2.0
#include "server/keeper/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cstring>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace leaseplane::keeper {

absl::StatusOr<UniqueFd> LockFile(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) return absl::ErrnoToStatus(errno, absl::StrCat("cannot open ", path));
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) {
      return absl::AlreadyExistsError(absl::StrCat("another daemon holds ", path));
    }
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot lock ", path));
  }
  return fd;
}

absl::StatusOr<UniqueFd> ListenOn(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(address.sun_path)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "socket path of ", path.size(), " bytes; valid: 1 to ", sizeof(address.sun_path) - 1));
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  struct stat info {};
  if (::lstat(path.c_str(), &info) == 0) {
    if (!S_ISSOCK(info.st_mode)) {
      return absl::FailedPreconditionError(absl::StrCat(path, " exists and is no socket"));
    }
    ::unlink(path.c_str());
  }
  UniqueFd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return absl::ErrnoToStatus(errno, "cannot make the attach socket");
  const auto* name = static_cast<const sockaddr*>(static_cast<const void*>(&address));
  const mode_t old_mask = ::umask(0117);
  const int bound = ::bind(fd.get(), name, sizeof(address));
  const int bind_error = errno;
  ::umask(old_mask);
  if (bound != 0) return absl::ErrnoToStatus(bind_error, absl::StrCat("cannot bind ", path));
  if (::listen(fd.get(), 4096) != 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot listen on ", path));
  }
  return fd;
}

}  // namespace leaseplane::keeper
