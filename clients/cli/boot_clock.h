// SPDX-License-Identifier: Apache-2.0
//
// CLOCK_BOOTTIME, which goes on while the machine is suspended, as lease deadlines do.
// Threads: any; a BootTimer belongs to one. Errors: none expected.
#pragma once

#include <cstdint>

#include "core/base/unique_fd.h"

namespace leaseplane::cli {

int64_t BootNowNs();

// A descriptor that becomes readable at an instant of that clock; at once after a suspension that
// the instant was in.
class BootTimer {
 public:
  BootTimer();

  int fd() const { return fd_.get(); }
  // An instant that is over makes it readable now; INT64_MAX never.
  void SetAt(int64_t at_ns);

 private:
  UniqueFd fd_;
};

}  // namespace leaseplane::cli
