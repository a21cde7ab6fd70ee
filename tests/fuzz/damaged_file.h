// SPDX-License-Identifier: Apache-2.0
//
// A good file, damaged as the input says: (offset u32, length u8, bytes)*, or cut short.
#pragma once

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "tests/fuzz/input.h"

namespace leaseplane::fuzz {

inline std::string FreshFolder() {
  std::string pattern = (std::filesystem::temp_directory_path() / "fuzzXXXXXX").string();
  Must(::mkdtemp(pattern.data()) != nullptr, "no folder");
  return pattern;
}
inline std::string ReadAll(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}
inline void WriteAll(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

inline std::string Damage(std::string bytes, Input& input) {
  while (input.size() > 0) {
    const uint64_t offset = input.Take<uint32_t>() % (bytes.size() + 1);
    const size_t length = input.Take<uint8_t>();
    if (length == 255) {
      bytes.resize(offset);
      continue;
    }
    const std::string patch = input.TakeText(length);
    const size_t fits = std::min<size_t>(patch.size(), bytes.size() - offset);
    bytes.replace(offset, fits, patch, 0, fits);
  }
  return bytes;
}

}  // namespace leaseplane::fuzz
