// SPDX-License-Identifier: Apache-2.0
//
// What the local benchmark compares: makers of loops of acquire and release. Each of them takes and
// gives back one unit kBatchOps times, unless said otherwise.
//
// A subject is shared by all workers of a gang. Those that say so live in shared memory and work
// across processes.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "leaseplane/client.h"
#include "tests/bench/harness/gang.h"

namespace leaseplane::bench {

// Two successful CAS on one word of the worker's own: what an acquire and a release cost at least.
MakeBatch FloorTwoCas();
// One successful CAS.
MakeBatch FloorOneCas();

// -- this project, through its public API. The client is made in the worker.
struct PoolRef {
  std::string target;
  std::string pool;
};
MakeBatch LeasePairs(const PoolRef& ref);
// Tries that find no slot. REQUIRES a pool without a free one.
MakeBatch LeaseFailures(const PoolRef& ref);
// Holds `held` leases and replaces the oldest, again and again.
MakeBatch LeaseChurn(const PoolRef& ref, size_t held);

// Objects of an ObjectPool on the pool, one ObjectPool shared by the workers of a process.
MakeBatch ObjectPairs(const PoolRef& ref);
// The same objects in a vector under a mutex.
MakeBatch MutexObjects(uint32_t count);

// -- the algorithm this project grew out of: 32-bit slots behind a shared hint, found by scanning.
// Works across processes.
class SeedPool {
 public:
  // `busy` of the slots are taken, at places that `Random` picks.
  SeedPool(uint32_t capacity, uint32_t busy);
  ~SeedPool();
  SeedPool(const SeedPool&) = delete;
  SeedPool& operator=(const SeedPool&) = delete;
  MakeBatch Pairs();
  MakeBatch Failures();

 private:
  struct Words;
  Words* words_;
  size_t bytes_;
};

// -- peers
struct Peer {
  std::string name;
  bool across_processes = false;
  bool names_slot = true;  // false: a permit, without saying which unit
  MakeBatch make;          // keeps the peer alive
};
// One of each, with `capacity` free units.
std::vector<Peer> ThreadPeers(uint32_t capacity);
std::vector<Peer> ProcessPeers(uint32_t capacity);

// A permutation of 0..count-1 that is the same every time.
std::vector<uint32_t> Shuffled(uint32_t count);

}  // namespace leaseplane::bench
