// SPDX-License-Identifier: Apache-2.0
//
// CallGate: where a call becomes a caller's call. Services take everything they give to a call from
// here, so that none reaches the plane but through the guard of its caller.
//
// Owner: the front it belongs to; outlives every call. Threads: any. Cost: one lock, one map
// lookup, and for a call with a token one SHA-256.
#pragma once

#include <absl/base/thread_annotations.h>
#include <absl/container/flat_hash_map.h>
#include <absl/synchronization/mutex.h>
#include <grpcpp/server_context.h>

#include <memory>
#include <string>

#include "server/rpc/call_environment.h"
#include "server/security/access.h"
#include "server/security/credentials_watch.h"

namespace leaseplane::rpc {

class CallGate {
 public:
  // All outlive it. `credentials` may be null: then nobody has a name over TCP.
  CallGate(plane::Plane& plane, CallObserver& observer, OpenCalls& open_calls,
           const security::AccessPolicy& policy, const security::CredentialsWatch* credentials,
           security::Door tcp_door)
      : plane_(plane),
        observer_(observer),
        open_calls_(open_calls),
        policy_(policy),
        credentials_(credentials),
        tcp_door_(tcp_door) {}

  CallEnvironment Admit(const grpc::ServerContextBase& context);
  CallObserver& observer() const { return observer_; }

 private:
  // Guards that are kept for the next call of the same caller; above it the map starts anew.
  static constexpr size_t kGuardsMax = 4096;

  std::shared_ptr<GuardedPlane> GuardFor(Caller caller);

  plane::Plane& plane_;
  CallObserver& observer_;
  OpenCalls& open_calls_;
  const security::AccessPolicy& policy_;
  const security::CredentialsWatch* const credentials_;
  const security::Door tcp_door_;

  absl::Mutex mutex_;
  absl::flat_hash_map<std::string, std::shared_ptr<GuardedPlane>> guards_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace leaseplane::rpc
