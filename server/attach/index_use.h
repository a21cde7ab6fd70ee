// SPDX-License-Identifier: Apache-2.0
//
// IndexUse: how many session indexes each process and each user has taken. An index is taken from
// the attach until its process is known to have ended, so a process that attaches and leaves again
// and again takes one more each time; the limits keep it from taking all of them.
//
// Bookkeeping only, one thread. O(1).
#pragma once

#include <cstdint>
#include <unordered_map>

namespace leaseplane::attach {

class IndexUse {
 public:
  // `process_key` 0: unknown, counted for the user only.
  void Take(uint32_t uid, uint64_t process_key) {
    ++by_uid_[uid];
    if (process_key != 0) ++by_process_[process_key];
  }
  void GiveBack(uint32_t uid, uint64_t process_key) {
    Less(by_uid_, uid);
    if (process_key != 0) Less(by_process_, process_key);
  }
  uint32_t OfUid(uint32_t uid) const { return Count(by_uid_, uid); }
  uint32_t OfProcess(uint64_t process_key) const { return Count(by_process_, process_key); }

 private:
  template <class Map, class Key>
  static uint32_t Count(const Map& map, Key key) {
    const auto found = map.find(key);
    return found == map.end() ? 0 : found->second;
  }
  template <class Map, class Key>
  static void Less(Map& map, Key key) {
    const auto found = map.find(key);
    if (found != map.end() && --found->second == 0) map.erase(found);
  }

  std::unordered_map<uint32_t, uint32_t> by_uid_;
  std::unordered_map<uint64_t, uint32_t> by_process_;
};

}  // namespace leaseplane::attach
