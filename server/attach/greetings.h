// SPDX-License-Identifier: Apache-2.0
//
// Greetings: connections that have not said Hello yet. A user gets a quarter of the places, so that
// one who connects and says nothing does not keep the others out.
//
// Bookkeeping only, one thread; owns the connections. O(kMax).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "core/base/unique_fd.h"

namespace leaseplane::attach {

class Greetings {
 public:
  static constexpr size_t kMax = 256;
  static constexpr size_t kPerUidMax = kMax / 4;

  // `id` grows with every connection.
  void Add(uint32_t id, UniqueFd connection, uint32_t uid, int64_t now_ns) {
    by_id_[id] = {std::move(connection), uid, now_ns};
  }
  int ConnectionOf(uint32_t id) const {  // -1: there is none
    const auto found = by_id_.find(id);
    return found == by_id_.end() ? -1 : found->second.connection.get();
  }
  UniqueFd Take(uint32_t id) {
    auto node = by_id_.extract(id);
    return node.empty() ? UniqueFd() : std::move(node.mapped().connection);
  }
  // Hangs up those that came at `since_ns` or before, and returns how many.
  size_t DropBefore(int64_t since_ns) {
    return std::erase_if(by_id_, [=](const auto& one) { return one.second.since_ns <= since_ns; });
  }
  std::vector<uint32_t> Of(uint32_t uid) const {  // the longest silent first
    std::vector<uint32_t> ids;
    for (const auto& [id, greeting] : by_id_) {
      if (greeting.uid == uid) ids.push_back(id);
    }
    return ids;
  }
  bool is_empty() const { return by_id_.empty(); }
  bool is_full() const { return by_id_.size() >= kMax; }
  bool is_full_for(uint32_t uid) const {
    const auto is_of = [uid](const auto& one) { return one.second.uid == uid; };
    return std::count_if(by_id_.begin(), by_id_.end(), is_of) >= ptrdiff_t{kPerUidMax};
  }

 private:
  struct Greeting {
    UniqueFd connection;
    uint32_t uid = 0;
    int64_t since_ns = 0;
  };
  std::map<uint32_t, Greeting> by_id_;
};

}  // namespace leaseplane::attach
