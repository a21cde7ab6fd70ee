// SPDX-License-Identifier: Apache-2.0
//
// SessionBridge: what attached processes ask, turned into steps of the pools' engines.
// Owner: the plane. Threads: the attach thread. Trust: every field comes from outside; indexes and
// tokens are checked before the engine sees them.
#pragma once

#include <atomic>

#include "server/attach/session_handler.h"
#include "server/attach/session_table.h"
#include "server/plane/pool_map.h"
#include "server/security/access.h"

namespace leaseplane::plane {

class SessionBridge final : public attach::SessionHandler {
 public:
  // All outlive it.
  SessionBridge(const PoolMap& pools, attach::SessionTable& table,
                const security::AccessPolicy& access)
      : pools_(pools), table_(table), access_(access) {}
  // Set once the server exists that messages go out through.
  void set_attach(attach::AttachServer* attach) { attach_ = attach; }
  void BeginDrain() { draining_.store(true); }

  std::variant<attach::OpenedPool, attach::Refusal> OpenPool(SessionIndex session,
                                                             const attach::Peer& peer,
                                                             std::string_view pool) override;
  attach::Verdict HandleMessage(SessionIndex session, const attach::Message& message) override;
  void SessionsEnded(std::span<const SessionIndex> sessions) override;

 private:
  attach::Verdict HandleFor(PoolRuntime& pool, SessionIndex session,
                            const attach::Message& message);
  attach::Verdict Audit(PoolRuntime& pool, SessionIndex session, const attach::AuditAnswer& answer);
  attach::Verdict Claim(PoolRuntime& pool, SessionIndex session, const attach::Claim& claim);

  const PoolMap& pools_;
  attach::SessionTable& table_;
  const security::AccessPolicy& access_;
  attach::AttachServer* attach_ = nullptr;
  std::atomic<bool> draining_{false};
};

// True if the pool's local_access admits the peer. Empty lists admit whoever could connect.
bool IsAdmitted(const engine::PoolOptions& options, const attach::Peer& peer);

}  // namespace leaseplane::plane
