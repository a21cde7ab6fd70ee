// SPDX-License-Identifier: Apache-2.0
//
// Notices: what the client library's thread has to tell the main thread of `leasectl run`, which
// sleeps in poll(2).
//
// Threads: Push from any, the rest from one. Errors: none expected.
#pragma once

#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "core/base/unique_fd.h"
#include "leaseplane/options.h"
#include "leaseplane/status.h"

namespace leaseplane::cli {

struct Notice {
  enum class Kind {
    kLost,             // the lease ended; `reason` says why
    kRevokeRequested,  // it will end within `grace`
    kAcquireDone,      // the thread that acquires has a result
  };
  Kind kind = Kind::kLost;
  Reason reason = Reason::kNone;
  absl::Duration grace;
};

class Notices {
 public:
  Notices();

  // Readable while there are notices.
  int fd() const { return fd_.get(); }
  void Push(const Notice& notice);
  std::vector<Notice> Take();

  // Callbacks of `options` that push here. The notices must outlive the client.
  void Listen(ClientOptions* options);

 private:
  UniqueFd fd_;
  absl::Mutex mutex_;
  std::vector<Notice> pending_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace leaseplane::cli
