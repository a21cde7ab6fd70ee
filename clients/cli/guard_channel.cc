// SPDX-License-Identifier: Apache-2.0
#include "clients/cli/guard_channel.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/types.h>

namespace leaseplane::cli {

bool SendTo(int socket, GuardMessage message) {
  ssize_t size;
  do {
    size = ::send(socket, &message, sizeof(message), MSG_NOSIGNAL);
  } while (size < 0 && errno == EINTR);
  return size == static_cast<ssize_t>(sizeof(message));
}

std::optional<GuardMessage> ReceiveFrom(int socket) {
  GuardMessage message;
  ssize_t size;
  do {
    size = ::recv(socket, &message, sizeof(message), 0);
  } while (size < 0 && errno == EINTR);
  if (size != static_cast<ssize_t>(sizeof(message))) return std::nullopt;
  return message;
}

}  // namespace leaseplane::cli
