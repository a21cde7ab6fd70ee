// SPDX-License-Identifier: Apache-2.0
//
// A port for Wait where no daemon serves a queue: everybody waits on the words.
#pragma once

#include <chrono>
#include <cstdint>

#include "core/pool/waiter.h"

namespace leaseplane::testing {

struct NoQueuePort {
  int64_t NowNs() const {
    return std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1);
  }
  void Enqueue(Ticket<RealMemory>& ticket, int64_t, int64_t) {
    ticket.Answer(TicketState::kRefused);
  }
  void Forget(Ticket<RealMemory>&) {}
  void Leave(Ticket<RealMemory>&) {}
};

}  // namespace leaseplane::testing
