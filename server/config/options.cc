// SPDX-License-Identifier: Apache-2.0
#include "server/config/options.h"

namespace leaseplane::config {

std::string ListenOptions::attach_socket_path() const {
  return unix_socket_path.substr(0, unix_socket_path.rfind('/') + 1) + "attach.sock";
}

}  // namespace leaseplane::config
