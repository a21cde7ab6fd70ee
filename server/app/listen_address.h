// SPDX-License-Identifier: Apache-2.0
//
// HOST:PORT addresses whose port 0 has been resolved once and has to stay the same over restarts
// of the worker, because callers know it by now.
#pragma once

#include <cstdint>
#include <string>

namespace leaseplane::app {

// `address` with port 0 replaced by `port`, unless that is 0 too.
inline std::string WithPort(const std::string& address, uint32_t port) {
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos || port == 0 || address.substr(colon + 1) != "0") return address;
  return address.substr(0, colon + 1) + std::to_string(port);
}

// The address that callers use: `address` with `port` in the place of its own.
inline std::string AtPort(const std::string& address, uint32_t port) {
  const size_t colon = address.rfind(':');
  return address.substr(0, colon) + ":" + std::to_string(port);
}

}  // namespace leaseplane::app
