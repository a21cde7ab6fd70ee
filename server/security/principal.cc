// SPDX-License-Identifier: Apache-2.0
#include "server/security/principal.h"

#include <openssl/sha.h>

#include <algorithm>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "server/engine/types.h"

namespace leaseplane::security {

std::string UidPrincipal(uint32_t uid) { return absl::StrCat("uid:", uid); }

bool IsGivenPrincipal(std::string_view name) {
  if (name.empty() || name.size() > kPrincipalNameBytesMax || name == kAnonymous ||
      name.substr(0, 4) == "uid:") {
    return false;
  }
  return std::all_of(name.begin(), name.end(), [](char c) { return c >= ' ' && c <= '~'; });
}

std::string HolderPrincipal(std::string_view name) {
  constexpr size_t kDigits = 32;
  if (name.size() <= engine::kPrincipalBytesMax) return std::string(name);
  const std::string_view start = name.substr(0, engine::kPrincipalBytesMax - kDigits - 1);
  return absl::StrCat(std::string(start), "~", Sha256Hex(name).substr(0, kDigits));
}

std::string Sha256Hex(std::string_view bytes) {
  unsigned char digest[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), digest);
  return absl::BytesToHexString(
      absl::string_view(reinterpret_cast<const char*>(digest), sizeof(digest)));
}

}  // namespace leaseplane::security
