// SPDX-License-Identifier: Apache-2.0
//
// What a session tells its clients. Called on the session's thread, one call at a time, never after
// RemoveUser has returned.
#pragma once

#include "leaseplane/lost_lease.h"

namespace leaseplane::internal {

class SessionListener {
 public:
  virtual ~SessionListener() = default;
  virtual void OnLost(const LostLease& lease) = 0;
  virtual void OnRevokeRequested(const RevokeRequest& request) = 0;
  virtual void OnDraining() = 0;
};

}  // namespace leaseplane::internal
