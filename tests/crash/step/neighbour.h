// SPDX-License-Identifier: Apache-2.0
//
// Neighbour: another process that uses the same pools through the library, at the stepper's word.
// Threads: one. Errors: throws; an answer that does not
// come within a minute is one.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "core/base/ids.h"

namespace leaseplane::step {

class Neighbour {
 public:
  explicit Neighbour(const std::string& target);
  ~Neighbour();
  Neighbour(const Neighbour&) = delete;
  Neighbour& operator=(const Neighbour&) = delete;

  // Begins to acquire, with a wait as long as it takes.
  void Ask(const std::string& pool) {
    pool_ = pool;
    Send(pool);
  }
  // Ends what Ask began: the token it was granted.
  FencingToken AwaitGrant();
  FencingToken Take(const std::string& pool) {
    Ask(pool);
    return AwaitGrant();
  }
  // True if the lease was still its own.
  bool GiveBack();

  bool holds() const { return token_ != 0; }
  // Of which pool it was asked to acquire last.
  const std::string& pool() const { return pool_; }
  FencingToken token() const { return token_; }
  SlotIndex slot() const { return slot_; }

 private:
  struct Answer {
    FencingToken token;
    SlotIndex slot;
    uint32_t ok;
  };
  [[noreturn]] static void Serve(const std::string& target, int in, int out);
  void Send(const std::string& pool);  // empty: give back
  Answer Read();

  pid_t pid_ = 0;
  int to_ = -1, from_ = -1;
  std::string pool_;
  FencingToken token_ = 0;
  SlotIndex slot_ = 0;
};

}  // namespace leaseplane::step
