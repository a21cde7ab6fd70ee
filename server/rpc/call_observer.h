// SPDX-License-Identifier: Apache-2.0
//
// CallObserver: where the rpc layer reports what became of calls, for the daemon's figures and log.
//
// Owner: the composition root; must outlive the Server. Threads: called from any thread, also at
// the same time. Must not block and must not throw: it runs on the threads that serve calls.
#pragma once

#include <cstdint>
#include <string_view>

namespace leaseplane::rpc {

class CallObserver {
 public:
  virtual ~CallObserver() = default;

  // A call has been answered. `method` is the plain method name ("AcquireLease"), `code` the name
  // of the status code ("NOT_FOUND"); both are literals, few, and fit for a metric's label.
  virtual void CallEnded(std::string_view method, std::string_view code) = 0;

  // How long the daemon took for a call that waited for nothing: no slot, no next message.
  virtual void CallTook(std::string_view /*method*/, int64_t /*duration_ns*/) {}

  // A handler failed in a way it should not have; the caller was answered INTERNAL.
  virtual void HandlerFailed(std::string_view method, std::string_view what) = 0;
};

}  // namespace leaseplane::rpc
