// SPDX-License-Identifier: Apache-2.0
//
// OpenCalls: the calls that may stay open for long (waits for a slot, KeepAlive streams), so that
// the daemon can end them before it stops. gRPC's own shutdown only waits for them, and then cuts
// them without a word.
//
// Owner: Server; outlives every call. Threads: any. A call enters itself when it begins to wait and
// leaves when it is done. Cost: one lock and one hash map operation.
#pragma once

#include <absl/base/thread_annotations.h>
#include <absl/container/flat_hash_map.h>
#include <absl/synchronization/mutex.h>

#include <cstddef>
#include <memory>

namespace leaseplane::rpc {

class OpenCall {
 public:
  virtual ~OpenCall() = default;
  // Answers UNAVAILABLE / DRAINING if the call is not answered yet. Any thread; must not block.
  virtual void EndForShutdown() = 0;
};

class OpenCalls {
 public:
  // False once EndAll has begun: the call must then end itself.
  bool Add(const std::shared_ptr<OpenCall>& call);
  void Remove(const OpenCall* call);

  // Ends every call that is open, and lets no more in.
  void EndAll();

  size_t count() const;

 private:
  mutable absl::Mutex mutex_;
  bool is_closed_ ABSL_GUARDED_BY(mutex_) = false;
  absl::flat_hash_map<const OpenCall*, std::weak_ptr<OpenCall>> calls_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace leaseplane::rpc
