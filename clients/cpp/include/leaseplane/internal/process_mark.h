// SPDX-License-Identifier: Apache-2.0
//
// ProcessMark: tells a process from the children it fork()s. Not for users.
//
// The mark is a number on a page of its own that the kernel empties in a child (MADV_WIPEONFORK),
// so the check works without a handler having run, whatever made the child. What is bound to one
// process remembers the number it was made under, and answers "not attached" when the page reads
// another one. A child gets a new number, larger than its ancestors', when it first connects.
//
// Threads: any. Cost of IsCurrent: one load of a line that never changes.
#pragma once

#include <cstdint>

#include "core/pool/memory.h"

namespace leaseplane::internal {

// A page of zeros, never given back, that is all zero again in a child made by fork(). Aborts if
// the system cannot do that.
void* MapWipedPage();

class ProcessMark {
 public:
  // The mark of this process; made, or renewed in a child, at the first call.
  static ProcessMark Current();

  bool IsCurrent() const noexcept { return RealMemory::LoadHint(*page_) == number_; }
  uint64_t number() const noexcept { return number_; }

 private:
  ProcessMark(const RealMemory::U64* page, uint64_t number) : page_(page), number_(number) {}

  const RealMemory::U64* page_;
  uint64_t number_;
};

}  // namespace leaseplane::internal
