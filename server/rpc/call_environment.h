// SPDX-License-Identifier: Apache-2.0
//
// What every call needs, and the border no exception crosses.
#pragma once

#include <exception>
#include <memory>
#include <string>
#include <string_view>

#include "server/plane/plane.h"
#include "server/rpc/call_observer.h"
#include "server/rpc/guarded_plane.h"
#include "server/rpc/open_calls.h"

namespace leaseplane::rpc {

// Made by CallGate for one call; copies are cheap. What is referred to outlives every call.
struct CallEnvironment {
  plane::Plane& plane;  // what the caller may do of it: `guard`
  CallObserver& observer;
  OpenCalls& open_calls;
  std::shared_ptr<GuardedPlane> guard;

  // Who calls, as leases have it.
  const std::string& principal() const { return guard->caller().holder; }
};

// Runs `body`. If it throws, reports it and returns false: gRPC would answer UNIMPLEMENTED without
// a word, the caller of this answers INTERNAL.
template <class Body>
bool RunGuarded(CallObserver& observer, std::string_view method, Body&& body) noexcept {
  try {
    body();
    return true;
  } catch (const std::exception& error) {
    observer.HandlerFailed(method, error.what());
  } catch (...) {
    observer.HandlerFailed(method, "unknown exception");
  }
  return false;
}

}  // namespace leaseplane::rpc
