// SPDX-License-Identifier: Apache-2.0
//
// What the callbacks of ClientOptions are told, and the path a lease was taken by. Plain values.
#pragma once

#include <cstdint>
#include <string>

#include "absl/time/time.h"
#include "core/base/ids.h"
#include "leaseplane/status.h"

namespace leaseplane {

// How a client, a pool or a lease reaches the daemon.
enum class Path {
  kNone = 0,
  kLocal,   // shared memory: a grant is one compare-and-swap, and lives as long as the process
  kRemote,  // gRPC: a grant lives for its ttl, and is renewed in the background
};

// A lease that ended without having been released. The slot may already be somebody else's: stop
// using what it stands for.
struct LostLease {
  std::string pool;
  SlotIndex slot = 0;
  FencingToken token = 0;
  std::string resource;
  Path path = Path::kNone;
  // kLeaseExpired (no renewal came through in time, or the daemon took it), kLeaseRevoked,
  // kStaleToken, kNotFound, kSessionEnded (the daemon was replaced and did not accept our claim).
  Reason reason = Reason::kLeaseExpired;
};

// An operator wants the slot back: release the lease within `grace`, after which it is taken.
struct RevokeRequest {
  std::string pool;
  SlotIndex slot = 0;
  FencingToken token = 0;
  absl::Duration grace;
};

}  // namespace leaseplane
