// SPDX-License-Identifier: Apache-2.0
//
// Gang: workers that run the same loop at the same time, as threads or as processes, one window
// after another. Several gangs live side by side, so that windows of different subjects interleave
// and a slow moment of the machine strikes all of them.
//
// Ownership: the workers end with the gang. Threads: one caller. Errors: abort with a reason.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

namespace leaseplane::bench {

// Does a fixed number of operations (kBatchOps) each time it is called.
using Batch = std::function<void()>;
inline constexpr uint64_t kBatchOps = 256;

// Called once in each worker, in its own thread or process, to make its loop.
using MakeBatch = std::function<Batch(int worker)>;

enum class As { kThreads, kProcesses };

class Gang {
 public:
  // Processes are forked here: REQUIRES that the caller has no threads that hold locks then.
  Gang(As as, int workers, MakeBatch make);
  ~Gang();
  Gang(const Gang&) = delete;
  Gang& operator=(const Gang&) = delete;

  struct Window {
    double seconds = 0;  // wall time
    uint64_t ops = 0;    // by all workers
    uint64_t ops_least = 0, ops_most = 0;
    // Time of one worker for one operation, with all of them at work.
    double NsPerOp(int workers) const {
      return seconds * 1e9 * workers / static_cast<double>(ops == 0 ? 1 : ops);
    }
  };
  Window Run(double seconds);
  int workers() const { return workers_; }

 private:
  struct Shared;
  void Work(int worker);

  const As as_;
  const int workers_;
  const MakeBatch make_;
  Shared* shared_;
  std::vector<std::thread> threads_;
  std::vector<pid_t> children_;
};

}  // namespace leaseplane::bench
