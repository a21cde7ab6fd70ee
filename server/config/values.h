// SPDX-License-Identifier: Apache-2.0
//
// Texts to values, the same for a flag, a variable and the file. Each returns false, and leaves the
// value alone, if the text is not of the kind or out of range.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "server/config/options.h"

namespace leaseplane::config {

bool ParseBool(std::string_view text, bool* value);
// Decimal digits only.
bool ParseInteger(std::string_view text, int64_t min, int64_t max, int64_t* value);
bool ParseCount(std::string_view text, uint32_t min, uint32_t max, uint32_t* value);
// 15s, 100ms, 1h30m; 0 without a unit.
bool ParseDurationNs(std::string_view text, int64_t min_ns, int64_t max_ns, int64_t* value_ns);
// [a-z]([a-z0-9-]{0,61}[a-z0-9])?
bool ParsePoolId(std::string_view text, std::string* value);
// Valid UTF-8 without control characters.
bool ParseText(std::string_view text, size_t bytes_min, size_t bytes_max, std::string* value);
// HOST:PORT or [IPV6]:PORT, port 0..65535.
bool ParseAddress(std::string_view text, std::string* value);
// As ParseAddress and ParseAbsolutePath; the empty text is none.
bool ParseOptionalAddress(std::string_view text, std::string* value);
bool ParseOptionalPath(std::string_view text, std::string* value);
bool ParseAbsolutePath(std::string_view text, std::string* value);
// An absolute path that a Unix socket can have, with room for attach.sock beside it.
bool ParseSocketPath(std::string_view text, std::string* value);

bool IsLoopback(const std::string& address);
std::string FormatDurationNs(int64_t ns);

}  // namespace leaseplane::config
