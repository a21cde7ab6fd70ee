// SPDX-License-Identifier: Apache-2.0
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>

#include "leaseplane/object_pool.h"
#include "tests/bench/local/subjects.h"

namespace leaseplane::bench {
namespace {

struct Object {
  uint64_t uses = 0;
};

struct SharedObjects {
  explicit SharedObjects(const PoolRef& ref)
      : client(*Client::Connect(ref.target, {.require_local = true})),
        objects(*client.OpenPool(ref.pool),
                {.create = [](const Lease&) -> absl::StatusOr<std::unique_ptr<Object>> {
                  return std::make_unique<Object>();
                }}) {}
  Client client;
  ObjectPool<Object> objects;
};

}  // namespace

MakeBatch ObjectPairs(const PoolRef& ref) {
  auto shared = std::make_shared<std::unique_ptr<SharedObjects>>();
  auto once = std::make_shared<std::once_flag>();
  return [ref, shared, once](int) -> Batch {
    std::call_once(*once, [&] { *shared = std::make_unique<SharedObjects>(ref); });
    return [shared] {
      for (uint64_t i = 0; i < kBatchOps;) {
        const PooledObject<Object> object = (*shared)->objects.TryAcquire();
        if (!object) continue;
        ++object->uses;
        ++i;
      }
    };
  };
}

MakeBatch MutexObjects(uint32_t count) {
  struct Shared {
    std::mutex mu;
    std::vector<std::unique_ptr<Object>> idle;
  };
  auto shared = std::make_shared<Shared>();
  for (uint32_t i = 0; i < count; ++i) shared->idle.push_back(std::make_unique<Object>());
  return [shared](int) -> Batch {
    return [shared] {
      for (uint64_t i = 0; i < kBatchOps;) {
        std::unique_ptr<Object> object;
        {
          const std::lock_guard<std::mutex> lock(shared->mu);
          if (shared->idle.empty()) continue;
          object = std::move(shared->idle.back());
          shared->idle.pop_back();
        }
        ++object->uses;
        const std::lock_guard<std::mutex> lock(shared->mu);
        shared->idle.push_back(std::move(object));
        ++i;
      }
    };
  };
}

}  // namespace leaseplane::bench
