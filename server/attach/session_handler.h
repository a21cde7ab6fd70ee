// SPDX-License-Identifier: Apache-2.0
//
// SessionHandler: what the attach server asks of the rest of the daemon. All calls come from the
// attach thread, without any of the server's locks held; they must not wait.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <variant>

#include "core/attach/messages.h"
#include "core/base/ids.h"
#include "server/attach/connection.h"

namespace leaseplane::attach {

struct OpenedPool {
  PoolOpened answer{};         // `tag` is filled in by the server
  int fds[3] = {-1, -1, -1};   // DATA, CTL, META; valid as long as `keep`
  std::shared_ptr<void> keep;  // holds the descriptors open while they are sent
};

enum class Verdict {
  kDone,
  kRubbish,  // no honest client sends this: hang up
};

class SessionHandler {
 public:
  virtual ~SessionHandler() = default;

  // Decides by the pool's local access; nothing has been passed to the peer yet.
  virtual std::variant<OpenedPool, Refusal> OpenPool(SessionIndex session, const Peer& peer,
                                                     std::string_view pool) = 0;
  // A message of kind kEnqueue, kLeave, kAuditAnswer, kClaim, kClaimsDone or kGrantAck. Field
  // values are as the peer sent them.
  virtual Verdict HandleMessage(SessionIndex session, const Message& message) = 0;
  // The words of these sessions are revoked. May name a session again when its process has ended.
  virtual void SessionsEnded(std::span<const SessionIndex> sessions) = 0;
};

}  // namespace leaseplane::attach
