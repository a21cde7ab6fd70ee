// SPDX-License-Identifier: Apache-2.0
#include "server/ledger/uuid.h"

#include <sys/random.h>

#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace leaseplane::ledger {
namespace {

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

std::string FormatUuid(const Uuid& uuid) {
  char text[37];
  std::snprintf(
      text, sizeof text, "%08x-%04x-%04x-%04x-%012" PRIx64, static_cast<unsigned>(uuid.hi >> 32),
      static_cast<unsigned>((uuid.hi >> 16) & 0xFFFF), static_cast<unsigned>(uuid.hi & 0xFFFF),
      static_cast<unsigned>(uuid.lo >> 48), uuid.lo & 0xFFFF'FFFF'FFFF);
  return text;
}

absl::StatusOr<Uuid> ParseUuid(std::string_view text) {
  const bool has_dashes = text.size() == 36;
  Uuid uuid;
  int digits = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool is_dash_place = has_dashes && (i == 8 || i == 13 || i == 18 || i == 23);
    if (is_dash_place && text[i] == '-') continue;
    const int digit = HexDigit(text[i]);
    if (digit < 0 || is_dash_place || digits == 32) {
      digits = -1;
      break;
    }
    uint64_t& half = digits < 16 ? uuid.hi : uuid.lo;
    half = half << 4 | static_cast<uint64_t>(digit);
    ++digits;
  }
  if (digits != 32) {
    return absl::InvalidArgumentError(absl::StrCat("'", std::string(text), "' is not a UUID"));
  }
  return uuid;
}

Uuid RandomUuid() {
  Uuid uuid;
  while (uuid.empty()) {
    // Below 256 bytes the call is neither cut short nor interrupted once the kernel is seeded.
    if (::getrandom(&uuid, sizeof uuid, 0) != static_cast<ssize_t>(sizeof uuid)) uuid = Uuid{};
  }
  return uuid;
}

absl::StatusOr<Uuid> ReadBootId() {
  static constexpr char kPath[] = "/proc/sys/kernel/random/boot_id";
  std::ifstream file(kPath);
  std::string line;
  if (!std::getline(file, line)) {
    return absl::UnavailableError(absl::StrCat("cannot read ", kPath));
  }
  return ParseUuid(line);
}

}  // namespace leaseplane::ledger
