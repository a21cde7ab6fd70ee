// SPDX-License-Identifier: Apache-2.0
#include "clients/cpp/renewal/warm_shelf.h"

#include <algorithm>

namespace leaseplane::internal {

bool WarmShelf::Put(Key key, int64_t now_ns) {
  if (kept_.size() >= count_max_ || IsWaitedFor(now_ns)) return false;
  kept_.push_back({key, now_ns});
  return true;
}

std::optional<WarmShelf::Key> WarmShelf::Take() {
  if (kept_.empty()) return std::nullopt;
  const Key key = kept_.back().key;
  kept_.pop_back();
  return key;
}

bool WarmShelf::Remove(Key key) {
  const auto found =
      std::find_if(kept_.begin(), kept_.end(), [key](const Kept& kept) { return kept.key == key; });
  if (found == kept_.end()) return false;
  kept_.erase(found);
  return true;
}

std::vector<WarmShelf::Key> WarmShelf::OnWaiting(int64_t now_ns) {
  waited_for_until_ns_ = now_ns + kWaitingHeardNs;
  return TakeAll();
}

std::vector<WarmShelf::Key> WarmShelf::TakeIdle(int64_t now_ns) {
  std::vector<Key> idle;
  while (!kept_.empty() && now_ns - kept_.front().since_ns >= idle_ns_) {
    idle.push_back(kept_.front().key);
    kept_.pop_front();
  }
  return idle;
}

std::vector<WarmShelf::Key> WarmShelf::TakeAll() {
  std::vector<Key> all;
  for (const Kept& kept : kept_) all.push_back(kept.key);
  kept_.clear();
  return all;
}

}  // namespace leaseplane::internal
