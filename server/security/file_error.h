// SPDX-License-Identifier: Apache-2.0
//
// FileError: what is wrong with a file that the configuration names.
#pragma once

#include <optional>
#include <string>

namespace leaseplane::security {

struct FileError {
  std::string field;  // of the configuration: tls.cert, tokens_file
  std::string got;
  std::string valid;
};

// At most this much is read of one file.
inline constexpr size_t kFileBytesMax = 1 << 20;

// The file's bytes; nullopt and `why` if it cannot be read or is too long.
std::optional<std::string> ReadSmallFile(const std::string& path, std::string* why);

}  // namespace leaseplane::security
