// SPDX-License-Identifier: Apache-2.0
//
// TokenTable: bearer tokens and whose they are. Only the SHA-256 of a token is stored, so the file
// gives nobody away; tokens must be random, at least 128 bits, for that to hold.
//
// A value, read by any thread. Find takes the same time for every token that is presented.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/security/file_error.h"

namespace leaseplane::security {

class TokenTable {
 public:
  struct Entry {
    std::string principal;
    std::string sha256;  // 64 lower-case hexadecimal digits
  };

  // Reads the text of a token file:
  //   tokens:
  //     - principal: ci
  //       sha256: <64 hexadecimal digits>
  // What is wrong goes to `errors`; then the table is empty.
  static TokenTable Parse(std::string_view text, std::vector<FileError>* errors);

  // Whose `token` is.
  std::optional<std::string> Find(std::string_view token) const;
  size_t size() const { return entries_.size(); }

 private:
  std::vector<Entry> entries_;
};

// The table in the file; what is wrong goes to `errors`.
TokenTable ReadTokenFile(const std::string& path, std::vector<FileError>* errors);

}  // namespace leaseplane::security
