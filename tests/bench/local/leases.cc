// SPDX-License-Identifier: Apache-2.0
#include <cstdio>
#include <cstdlib>
#include <deque>

#include "tests/bench/local/subjects.h"

namespace leaseplane::bench {
namespace {

// A worker's own handle. It lives as long as its loop.
struct Handle {
  explicit Handle(const PoolRef& ref) {
    auto connected = Client::Connect(ref.target, {.require_local = true});
    if (!connected.ok()) Fail(connected.status().ToString());
    client = std::make_unique<Client>(*std::move(connected));
    auto opened = client->OpenPool(ref.pool);
    if (!opened.ok()) Fail(opened.status().ToString());
    pool = std::make_unique<Pool>(*std::move(opened));
  }
  [[noreturn]] static void Fail(const std::string& why) {
    std::fprintf(stderr, "benchmark: %s\n", why.c_str());
    std::abort();
  }
  std::unique_ptr<Client> client;
  std::unique_ptr<Pool> pool;
};

}  // namespace

MakeBatch LeasePairs(const PoolRef& ref) {
  return [ref](int) -> Batch {
    auto handle = std::make_shared<Handle>(ref);
    return [handle] {
      const Pool& pool = *handle->pool;
      for (uint64_t i = 0; i < kBatchOps;) {
        const Lease lease = pool.TryAcquire();
        i += lease ? 1 : 0;  // only what succeeds counts
      }
    };
  };
}

MakeBatch LeaseFailures(const PoolRef& ref) {
  return [ref](int) -> Batch {
    auto handle = std::make_shared<Handle>(ref);
    return [handle] {
      const Pool& pool = *handle->pool;
      for (uint64_t i = 0; i < kBatchOps; ++i) {
        const Lease lease = pool.TryAcquire();
        if (lease) Handle::Fail("the pool is not full");
      }
    };
  };
}

MakeBatch LeaseChurn(const PoolRef& ref, size_t held) {
  return [ref, held](int) -> Batch {
    struct State {
      Handle handle;
      std::vector<Lease> leases;
      size_t oldest = 0;
    };
    auto state = std::make_shared<State>(State{Handle(ref), {}, 0});
    while (state->leases.size() < held) {
      Lease lease = state->handle.pool->TryAcquire();
      if (lease) state->leases.push_back(std::move(lease));
    }
    return [state] {
      const Pool& pool = *state->handle.pool;
      for (uint64_t i = 0; i < kBatchOps;) {
        state->leases[state->oldest] = Lease();
        do {
          state->leases[state->oldest] = pool.TryAcquire();
        } while (!state->leases[state->oldest]);
        state->oldest = state->oldest + 1 == state->leases.size() ? 0 : state->oldest + 1;
        ++i;
      }
    };
  };
}

}  // namespace leaseplane::bench
