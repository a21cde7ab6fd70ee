// SPDX-License-Identifier: Apache-2.0
//
// What every call needs, and the border no exception crosses.
#pragma once

#include <exception>
#include <string_view>

#include "server/plane/plane.h"
#include "server/rpc/call_observer.h"
#include "server/rpc/open_calls.h"

namespace leaseplane::rpc {

// References to what the Server holds; all outlive every call.
struct CallEnvironment {
  plane::Plane& plane;
  CallObserver& observer;
  OpenCalls& open_calls;
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
