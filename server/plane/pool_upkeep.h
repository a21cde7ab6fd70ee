// SPDX-License-Identifier: Apache-2.0
//
// PoolUpkeep: gives pools the epochs they want while they run, within their rations. A thread of
// its own, because an epoch waits for the disk.
//
// Owner: the plane. Threads: Start and Stop from one; `rotate` and `renumber` run on the upkeep's.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "server/obs/mutex.h"
#include "server/plane/epoch_ration.h"
#include "server/plane/pool_map.h"

namespace leaseplane::plane {

class PoolUpkeep {
 public:
  static constexpr int64_t kRotateEveryNs = 10 * engine::kSecond;  // one pool, at most
  // Returns whether an epoch was spent.
  using Work = std::function<bool(const PoolPtr& pool)>;

  PoolUpkeep(const PoolMap& pools, int64_t stock, Work renumber, Work rotate)
      : pools_(pools), stock_(stock), renumber_(std::move(renumber)), rotate_(std::move(rotate)) {}
  ~PoolUpkeep() { Stop(); }
  void Start();
  void Stop();

 private:
  struct Account {
    EpochRation ration;
    int64_t next_rotation_ns = 0;
    bool is_brokered = false;
  };
  void Run();
  void Tend(const PoolPtr& pool, int64_t now_ns);

  const PoolMap& pools_;
  const int64_t stock_;
  const Work renumber_, rotate_;
  absl::flat_hash_map<std::string, Account> accounts_;  // the thread's
  obs::Mutex mu_;
  obs::Wake wake_;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  std::thread thread_;
};

}  // namespace leaseplane::plane
