// SPDX-License-Identifier: Apache-2.0
//
// ReleaseListener: hears that slots of pools became free while somebody waits for the daemon.
// Threads asleep on the pools' dseq words, up to kPoolsPerThread on each.
//
// Owner: the plane. Threads: Add and Remove from one thread at a time; its own threads call
// PoolRuntime::OnReleased. Remove returns when the pool is not looked at any more.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "server/obs/mutex.h"
#include "server/plane/pool_runtime.h"
#include "server/plane/wake_budget.h"

namespace leaseplane::plane {

class ReleaseListener {
 public:
  static constexpr size_t kPoolsPerThread = 127;  // futex_waitv takes 128 words, one is ours

  ReleaseListener() = default;
  ~ReleaseListener() { Stop(); }

  void Add(PoolPtr pool);
  void Remove(const PoolPtr& pool);
  void Stop();

 private:
  class Shard {
   public:
    Shard();
    ~Shard();
    bool TryAdd(const PoolPtr& pool);
    bool Remove(const PoolPtr& pool);

   private:
    struct Watched {
      PoolPtr pool;
      uint32_t seen = 0;
      bool has_looked = false;
      WakeBudget budget;
    };
    void Run();
    void Look(Watched& watched);
    void Sleep();
    void Poke();

    obs::Mutex mu_;  // held while pools are looked at, not while asleep
    std::vector<Watched> watched_ ABSL_GUARDED_BY(mu_);
    std::atomic<uint32_t> control_{0};  // futex: the set changed, or stop
    std::atomic<bool> stopping_{false};
    std::thread thread_;
  };

  std::vector<std::unique_ptr<Shard>> shards_;
};

}  // namespace leaseplane::plane
