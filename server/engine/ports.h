// SPDX-License-Identifier: Apache-2.0
//
// The two small interfaces, beside the ledger, through which the engine sees the world: fresh
// identifiers and what is known about attached sessions. The daemon implements them over the
// kernel's random source and the session table; tests over counters and a map.
//
// Called under the pool's lock, from the thread that called the engine; must not call back into it.
#pragma once

#include <cstdint>
#include <string>

#include "core/base/ids.h"
#include "server/engine/types.h"

namespace leaseplane::engine {

class IdSource {
 public:
  virtual ~IdSource() = default;
  // Never empty, never the same twice; unguessable in the daemon.
  virtual LeaseId NextLeaseId() = 0;
  // 64 random bits: where ticket numbers start.
  virtual uint64_t NextRandom() = 0;
};

class SessionsPort {
 public:
  virtual ~SessionsPort() = default;
  // Attached and not revoked. Called once a busy slot by every Tick: cheap.
  virtual bool IsActive(SessionIndex session) const = 0;
  // Who that is, for people: "uid:N". Empty if unknown.
  virtual std::string PrincipalOf(SessionIndex session) const = 0;
  // When it attached, CLOCK_BOOTTIME. Bounds what a session can claim to have waited.
  virtual int64_t AttachedAtNs(SessionIndex session) const = 0;
  // When anything was heard from it last, CLOCK_BOOTTIME; kNever if it does not have to answer (a
  // process tree keeps its leases though nobody in it may read).
  virtual int64_t HeardAtNs(SessionIndex session) const = 0;
};

}  // namespace leaseplane::engine
