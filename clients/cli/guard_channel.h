// SPDX-License-Identifier: Apache-2.0
//
// What leasectl and its guard say to each other over a socket pair. That one end hangs up means
// that its process is gone.
//
//   guard    kGranted            there is a lease; COMMAND waits for the word
//   leasectl kGo                 signals are dealt with: start COMMAND
//   leasectl kSignal{number}     pass this on to COMMAND
//   guard    kEnded{exit code}   COMMAND ended, or could not be started, or there was no lease
//
// Threads: any, one at a time for each end. Errors: false and nullopt if the other end is gone.
#pragma once

#include <cstdint>
#include <optional>

namespace leaseplane::cli {

struct GuardMessage {
  enum class Kind : int32_t { kGranted, kGo, kSignal, kEnded };
  Kind kind = Kind::kGranted;
  int32_t value = 0;
};

bool SendTo(int socket, GuardMessage message);

// Blocks until there is a message.
std::optional<GuardMessage> ReceiveFrom(int socket);

}  // namespace leaseplane::cli
