// SPDX-License-Identifier: Apache-2.0
//
// Tells the service manager what the daemon is doing, in the protocol of sd_notify(3): one datagram
// to the socket that it names in NOTIFY_SOCKET. Without one nothing happens.
//
// Any process, any thread. Errors are nobody's business: a manager that cannot be told finds out by
// its own means.
#pragma once

#include <sys/socket.h>
#include <sys/un.h>

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "core/base/unique_fd.h"

namespace leaseplane::app {

// `state`: "READY=1", "STOPPING=1".
inline bool TellServiceManager(std::string_view state) {
  const char* path = std::getenv("NOTIFY_SOCKET");
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const size_t length = path == nullptr ? 0 : std::strlen(path);
  const bool is_valid =
      length > 1 && length < sizeof(address.sun_path) && (path[0] == '/' || path[0] == '@');
  if (!is_valid) return false;
  std::memcpy(address.sun_path, path, length);
  if (path[0] == '@') address.sun_path[0] = '\0';  // an abstract name
  const UniqueFd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket) return false;
  const auto bytes = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + length);
  return ::sendto(socket.get(), state.data(), state.size(), MSG_NOSIGNAL,
                  reinterpret_cast<const sockaddr*>(&address), bytes) >= 0;
}

}  // namespace leaseplane::app
