// SPDX-License-Identifier: Apache-2.0
//
// WaitOrder: an ordered sequence of places that can say the rank of each. Sorted blocks of bounded
// size: insertion and removal cost O(block + blocks), rank O(blocks), which at 100,000 waiters is a
// few hundred simple steps; new places nearly always go to the end.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace leaseplane::engine {

// Where somebody stands: since when it counts as waiting, and the order of arrival among equals.
struct Place {
  int64_t since_ns = 0;
  uint64_t arrival = 0;
  bool operator==(const Place&) const = default;
  bool operator<(const Place& other) const {
    return since_ns != other.since_ns ? since_ns < other.since_ns : arrival < other.arrival;
  }
};

class WaitOrder {
 public:
  struct Entry {
    Place place;
    uint64_t ticket;
  };

  void Insert(const Place& place, uint64_t ticket);  // REQUIRES: the place is not taken
  bool Erase(const Place& place);                    // false: it was not there
  size_t Rank(const Place& place) const;             // places before it
  const Entry* Front() const;                        // nullptr if empty
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }

  template <class Visit>
  void ForEach(Visit&& visit) const {
    for (const Block& block : blocks_) {
      for (const Entry& entry : block) visit(entry);
    }
  }

 private:
  static constexpr size_t kBlockMax = 512;
  using Block = std::vector<Entry>;  // never empty

  size_t BlockOf(const Place& place) const;  // the last block that starts at or before it, or 0

  std::vector<Block> blocks_;
  size_t size_ = 0;
};

}  // namespace leaseplane::engine
