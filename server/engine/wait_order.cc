// SPDX-License-Identifier: Apache-2.0
#include "server/engine/wait_order.h"

#include <algorithm>

namespace leaseplane::engine {
namespace {

bool IsBefore(const WaitOrder::Entry& entry, const Place& place) { return entry.place < place; }

}  // namespace

size_t WaitOrder::BlockOf(const Place& place) const {
  const auto next =
      std::upper_bound(blocks_.begin(), blocks_.end(), place,
                       [](const Place& p, const Block& block) { return p < block.front().place; });
  return next == blocks_.begin() ? 0 : static_cast<size_t>(next - blocks_.begin()) - 1;
}

void WaitOrder::Insert(const Place& place, uint64_t ticket) {
  ++size_;
  if (blocks_.empty()) {
    blocks_.push_back({Entry{place, ticket}});
    return;
  }
  const size_t at = BlockOf(place);
  Block& block = blocks_[at];
  block.insert(std::lower_bound(block.begin(), block.end(), place, IsBefore), Entry{place, ticket});
  if (block.size() <= kBlockMax) return;
  const auto middle = block.begin() + static_cast<std::ptrdiff_t>(block.size() / 2);
  Block upper(middle, block.end());
  block.erase(middle, block.end());
  blocks_.insert(blocks_.begin() + static_cast<std::ptrdiff_t>(at) + 1, std::move(upper));
}

bool WaitOrder::Erase(const Place& place) {
  if (blocks_.empty()) return false;
  const size_t at = BlockOf(place);
  Block& block = blocks_[at];
  const auto entry = std::lower_bound(block.begin(), block.end(), place, IsBefore);
  if (entry == block.end() || !(entry->place == place)) return false;
  block.erase(entry);
  if (block.empty()) blocks_.erase(blocks_.begin() + static_cast<std::ptrdiff_t>(at));
  --size_;
  return true;
}

size_t WaitOrder::Rank(const Place& place) const {
  if (blocks_.empty()) return 0;
  const size_t at = BlockOf(place);
  size_t before = 0;
  for (size_t i = 0; i < at; ++i) before += blocks_[i].size();
  const Block& block = blocks_[at];
  const auto entry = std::lower_bound(block.begin(), block.end(), place, IsBefore);
  return before + static_cast<size_t>(entry - block.begin());
}

const WaitOrder::Entry* WaitOrder::Front() const {
  return blocks_.empty() ? nullptr : &blocks_.front().front();
}

}  // namespace leaseplane::engine
