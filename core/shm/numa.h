// SPDX-License-Identifier: Apache-2.0
//
// Memory on a chosen NUMA node: which nodes there are, and putting a mapping on one of them.
//
// Threads: any. Errors: absl::Status. Nothing here is for the fast path.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"

namespace leaseplane::shm {

inline constexpr uint32_t kNumaNodeMax = 1023;

// "0-1,3", as the kernel writes it; nullopt if it is not such a list.
std::optional<std::vector<uint32_t>> ParseNodeList(std::string_view text);

// In order; node 0 alone if the kernel does not say.
std::vector<uint32_t> OnlineNodes(const std::string& path = "/sys/devices/system/node/online");

// What placing needs of the machine.
struct NumaMachine {
  std::vector<uint32_t> nodes;
  // Binds the pages of [base, base + bytes) to `node` and moves those that are elsewhere.
  std::function<absl::Status(std::byte* base, uint64_t bytes, uint32_t node)> move;

  static NumaMachine This();
};

// Puts the memory on `node` if there is a choice. FAILED_PRECONDITION: it was not placed, and why;
// it serves as well where it is.
absl::Status PlaceOnNode(const NumaMachine& machine, std::byte* base, uint64_t bytes,
                         uint32_t node);

}  // namespace leaseplane::shm
