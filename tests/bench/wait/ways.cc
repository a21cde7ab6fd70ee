// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/wait/ways.h"
#include "tests/bench/harness/shared_memory.h"

#include <linux/futex.h>
#include <sched.h>
#include <semaphore.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <optional>

#include "leaseplane/client.h"

namespace leaseplane::bench {
namespace {

void Sleep(std::atomic<uint32_t>& word, uint32_t seen) {
  ::syscall(SYS_futex, &word, FUTEX_WAIT, seen, nullptr, nullptr, 0);
}
void Wake(std::atomic<uint32_t>& word, int count = 1) {
  ::syscall(SYS_futex, &word, FUTEX_WAKE, count, nullptr, nullptr, 0);
}

// S: void Take(); void Give(); in shared memory.
template <class S>
class TakerOf final : public Taker {
 public:
  explicit TakerOf(S* shared) : shared_(shared) {}
  void Take() override { ticket_ = shared_->Take(); }
  void Give() override { shared_->Give(); }

 private:
  S* shared_;
  uint32_t ticket_ = 0;
};
template <class S>
JoinProcess WayOf(S* shared) {
  return
      [shared]() -> MakeTaker { return [shared] { return std::make_unique<TakerOf<S>>(shared); }; };
}

struct Barging {
  std::atomic<uint32_t> free{0};
  alignas(64) std::atomic<uint32_t> sleepers{0};

  uint32_t Take() {
    for (;;) {
      uint32_t seen = free.load();
      while (seen != 0) {
        if (free.compare_exchange_weak(seen, seen - 1)) return 0;
      }
      sleepers.fetch_add(1);
      Sleep(free, 0);
      sleepers.fetch_sub(1);
    }
  }
  void Give() {
    free.fetch_add(1);
    if (sleepers.load() != 0) Wake(free);
  }
};

struct Tickets {
  static constexpr uint32_t kPlaces = 2 * Crowd::kWorkersMax;
  std::atomic<uint32_t> next{0};                // ticket of the next to come
  alignas(64) std::atomic<uint32_t> called{0};  // tickets below may go
  struct alignas(64) Place {
    std::atomic<uint32_t> call{0};    // the ticket that may go, plus one; only grows
    std::atomic<uint32_t> sleeps{0};  // the last ticket whose owner sleeps, plus one; only grows
  } places[kPlaces];

  uint32_t Take() {
    const uint32_t ticket = next.fetch_add(1);
    Place& place = places[ticket % kPlaces];
    if (place.call.load() == ticket + 1) return ticket;
    uint32_t sleeps = place.sleeps.load();
    while (sleeps < ticket + 1 && !place.sleeps.compare_exchange_weak(sleeps, ticket + 1)) {
    }
    uint32_t seen = 0;
    while ((seen = place.call.load()) < ticket + 1) Sleep(place.call, seen);
    return ticket;
  }
  void Give() {
    const uint32_t ticket = called.fetch_add(1);
    Place& place = places[ticket % kPlaces];
    // Whoever calls the place's last ticket may have lost its core before it did.
    const uint32_t before = ticket < kPlaces ? 0 : ticket + 1 - kPlaces;
    while (place.call.load() != before) ::sched_yield();
    place.call.store(ticket + 1);
    // The place's next ticket may be asleep there already, beside this one.
    if (place.sleeps.load() >= ticket + 1) Wake(place.call, INT_MAX);
  }
};

struct Semaphore {
  sem_t permits;
  uint32_t Take() {
    while (::sem_wait(&permits) != 0) {
    }
    return 0;
  }
  void Give() { ::sem_post(&permits); }
};

class LeaseTaker final : public Taker {
 public:
  explicit LeaseTaker(Pool pool) : pool_(std::move(pool)) {}
  void Take() override {
    auto lease = pool_.Acquire({.max_wait = absl::InfiniteDuration()});
    if (!lease.ok()) {
      std::fprintf(stderr, "benchmark: %s\n", lease.status().ToString().c_str());
      std::abort();
    }
    lease_ = *std::move(lease);
  }
  void Give() override { lease_ = Lease(); }

 private:
  Pool pool_;
  Lease lease_;
};

}  // namespace

JoinProcess LeaseplaneWay(const std::string& target, const std::string& pool) {
  return [target, pool]() -> MakeTaker {
    auto client = Client::Connect(target, {.require_local = true});
    if (!client.ok()) std::abort();
    auto opened = client->OpenPool(pool);
    if (!opened.ok()) std::abort();
    return [pool = *opened] { return std::make_unique<LeaseTaker>(pool); };
  };
}

JoinProcess WakeOne(uint32_t slots) {
  auto* shared = InSharedMemory<Barging>();
  shared->free.store(slots);
  return WayOf(shared);
}

JoinProcess StrictFifo(uint32_t slots) {
  auto* shared = InSharedMemory<Tickets>();
  for (uint32_t i = 0; i < slots; ++i) shared->Give();
  return WayOf(shared);
}

JoinProcess PosixSemaphoreWay(uint32_t slots) {
  auto* shared = InSharedMemory<Semaphore>();
  if (::sem_init(&shared->permits, 1, slots) != 0) std::abort();
  return WayOf(shared);
}

}  // namespace leaseplane::bench
