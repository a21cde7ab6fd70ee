// SPDX-License-Identifier: Apache-2.0
//
// SlotStates: why the daemon keeps a slot LOCKED. The word only says that it does; the reasons are
// here: an operator's lock, a cooling time, or both. Slots without a reason have no entry.
//
// Bookkeeping only; O(1) a call.
#pragma once

#include <cstdint>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "core/base/ids.h"

namespace leaseplane::engine {

class SlotStates {
 public:
  struct State {
    bool admin_locked = false;      // an operator wants it locked (it may still be draining)
    bool authority_locked = false;  // Authority::Lock has been called and not undone
    bool draining = false;          // was held when it was locked, and nobody saw it end yet
    int64_t cool_until_ns = 0;      // 0: not cooling
    std::string reason;             // of the operator
  };

  const State* Find(SlotIndex slot) const {
    const auto found = states_.find(slot);
    return found == states_.end() ? nullptr : &found->second;
  }
  State& Get(SlotIndex slot) { return states_[slot]; }
  // Forgets the entry if nothing is left in it.
  void Tidy(SlotIndex slot) {
    const auto found = states_.find(slot);
    if (found == states_.end()) return;
    const State& s = found->second;
    if (!s.admin_locked && !s.authority_locked && s.cool_until_ns == 0) states_.erase(found);
  }

  bool is_admin_locked(SlotIndex slot) const {
    const State* s = Find(slot);
    return s != nullptr && s->admin_locked;
  }
  bool is_cooling(SlotIndex slot) const {
    const State* s = Find(slot);
    return s != nullptr && s->cool_until_ns != 0;
  }

 private:
  absl::flat_hash_map<SlotIndex, State> states_;
};

}  // namespace leaseplane::engine
