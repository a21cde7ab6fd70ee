// SPDX-License-Identifier: Apache-2.0
#include "server/security/file_error.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <cstring>

#include "core/base/unique_fd.h"

namespace leaseplane::security {

std::optional<std::string> ReadSmallFile(const std::string& path, std::string* why) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) {
    *why = std::strerror(errno);
    return std::nullopt;
  }
  std::string bytes;
  char chunk[8192];
  for (ssize_t got; (got = ::read(fd.get(), chunk, sizeof(chunk))) != 0;) {
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 || bytes.size() + static_cast<size_t>(got) > kFileBytesMax) {
      *why = got < 0 ? std::strerror(errno) : "more than 1 MiB";
      return std::nullopt;
    }
    bytes.append(chunk, static_cast<size_t>(got));
  }
  return bytes;
}

}  // namespace leaseplane::security
