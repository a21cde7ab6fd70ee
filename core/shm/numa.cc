// SPDX-License-Identifier: Apache-2.0
#include "core/shm/numa.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "core/base/unique_fd.h"
#include "core/shm/layout.h"

namespace leaseplane::shm {
namespace {

// Takes a number off the front of `text`.
bool TakeNumber(std::string_view& text, uint32_t& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || number > kNumaNodeMax) return false;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return true;
}

bool TakeSign(std::string_view& text, char sign) {
  if (text.empty() || text.front() != sign) return false;
  text.remove_prefix(1);
  return true;
}

absl::Status MoveToNode(std::byte* base, uint64_t bytes, uint32_t node) {
  constexpr uint32_t kBits = 8 * sizeof(unsigned long);
  std::array<unsigned long, kNumaNodeMax / kBits + 1> mask{};
  mask[node / kBits] = 1UL << (node % kBits);
  // The kernel takes the number of bits less one.
  if (::syscall(SYS_mbind, base, bytes, MPOL_BIND, mask.data(), mask.size() * kBits + 1,
                MPOL_MF_MOVE) != 0) {
    return absl::ErrnoToStatus(errno, "mbind");
  }
  return absl::OkStatus();
}

}  // namespace

std::optional<std::vector<uint32_t>> ParseNodeList(std::string_view text) {
  while (!text.empty() && text.back() == '\n') text.remove_suffix(1);
  std::vector<uint32_t> nodes;
  do {
    uint32_t first = 0;
    if (!TakeNumber(text, first)) return std::nullopt;
    uint32_t last = first;
    if (TakeSign(text, '-') && (!TakeNumber(text, last) || last < first)) return std::nullopt;
    for (uint32_t node = first; node <= last; ++node) nodes.push_back(node);
  } while (TakeSign(text, ','));
  if (!text.empty()) return std::nullopt;
  return nodes;
}

std::vector<uint32_t> OnlineNodes(const std::string& path) {
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::array<char, kPageBytes> text;  // what such a file can hold
  const ssize_t bytes = file ? ::read(file.get(), text.data(), text.size()) : -1;
  const std::string_view line(text.data(), bytes > 0 ? static_cast<size_t>(bytes) : 0);
  return ParseNodeList(line).value_or(std::vector<uint32_t>{0});
}

NumaMachine NumaMachine::This() { return {OnlineNodes(), MoveToNode}; }

absl::Status PlaceOnNode(const NumaMachine& machine, std::byte* base, uint64_t bytes,
                         uint32_t node) {
  if (machine.nodes.size() < 2) {
    return absl::FailedPreconditionError("this machine has one NUMA node");
  }
  if (std::find(machine.nodes.begin(), machine.nodes.end(), node) == machine.nodes.end()) {
    return absl::FailedPreconditionError("this machine has no such NUMA node");
  }
  const absl::Status moved = machine.move(base, bytes, node);
  if (moved.ok()) return moved;
  return absl::FailedPreconditionError(moved.ToString());
}

}  // namespace leaseplane::shm
