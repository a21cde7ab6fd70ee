// SPDX-License-Identifier: Apache-2.0
//
// Principals: the names under which the daemon knows its callers. "anonymous" is nobody, "uid:N" a
// user of this host; every other name comes from a certificate or a token and may be neither.
//
// Pure functions, any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace leaseplane::security {

inline constexpr std::string_view kAnonymous = "anonymous";
inline constexpr size_t kPrincipalNameBytesMax = 255;

std::string UidPrincipal(uint32_t uid);

// A name that a certificate or a token may give: 1..255 bytes of printable ASCII, not reserved.
bool IsGivenPrincipal(std::string_view name);

// What is stored with leases, at most engine::kPrincipalBytesMax bytes: short names as they are,
// longer ones as their beginning, `~` and half of their SHA-256, so that no two are the same.
std::string HolderPrincipal(std::string_view name);

// Lower-case hexadecimal digits of the SHA-256 of `bytes`.
std::string Sha256Hex(std::string_view bytes);

}  // namespace leaseplane::security
