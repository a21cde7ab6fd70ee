// SPDX-License-Identifier: Apache-2.0
#include "clients/cpp/request_id.h"

#include <stdlib.h>
#include <sys/random.h>

#include <array>
#include <cstdint>

namespace leaseplane::internal {

std::string NewRequestId() {
  std::array<uint8_t, 16> bytes{};
  // At most 256 bytes are never given in part once the kernel's pool is ready.
  if (::getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) ::abort();
  bytes[6] = static_cast<uint8_t>((bytes[6] & 0x0f) | 0x40);  // version 4
  bytes[8] = static_cast<uint8_t>((bytes[8] & 0x3f) | 0x80);  // variant 1
  constexpr char kHex[] = "0123456789abcdef";
  std::string text;
  for (size_t i = 0; i < bytes.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    text += kHex[bytes[i] >> 4];
    text += kHex[bytes[i] & 15];
  }
  return text;
}

}  // namespace leaseplane::internal
