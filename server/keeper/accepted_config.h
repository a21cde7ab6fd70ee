// SPDX-License-Identifier: Apache-2.0
//
// AcceptedConfig: the text of the configuration that a worker has put into force while it ran. The
// next worker is forked from the keeper, which has read the configuration once, at the start, and
// parses nothing; so it finds here what holds by now, whatever has become of the file.
//
// Owner: the shared block. Writer: the present worker, one thread. Reader: the next worker. A
// worker may die at any instant: the text is complete before it is chosen.
#pragma once

#include <atomic>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

namespace leaseplane::keeper {

inline constexpr uint64_t kConfigBytesMax = uint64_t{4} << 20;

struct AcceptedConfig {
  // False: too long; nothing changed.
  bool Store(std::string_view text) {
    if (text.size() > kConfigBytesMax) return false;
    const uint32_t next = chosen.load(std::memory_order_relaxed) == 1 ? 2 : 1;
    std::memcpy(texts[next - 1], text.data(), text.size());
    bytes[next - 1] = text.size();
    chosen.store(next);
    return true;
  }
  std::optional<std::string> Load() const {
    const uint32_t now = chosen.load();
    if (now == 0) return std::nullopt;
    return std::string(texts[now - 1], bytes[now - 1]);
  }

  std::atomic<uint32_t> chosen;  // 0: none yet; 1, 2: which of the two
  uint64_t bytes[2];
  char texts[2][kConfigBytesMax];
};

}  // namespace leaseplane::keeper
