// SPDX-License-Identifier: Apache-2.0
//
// What the lease engine costs by itself: no gRPC, no lock, no clock. One operation of a pool that
// has so many leases, and one pass over all deadlines beside a plain sum over the same array.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "server/engine/lease_table.h"
#include "server/engine/pool_engine.h"
#include "server/ledger/mapped_ledger.h"
#include "tests/support/finder_memory.h"
#include "tests/unit/server/engine/fake_world.h"

namespace leaseplane::engine {
namespace {

constexpr int64_t kStartNs = 1'000 * kSecond;

// The world's ledger, but one that keeps nothing.
class NoLedger final : public LedgerPort {
 public:
  uint64_t PutLease(const LeaseRecord&) override { return ++seq_; }
  uint64_t RenewLease(SlotIndex, const LeaseTerm&) override { return ++seq_; }
  uint64_t EndLease(SlotIndex, LeaseState, Instant) override { return ++seq_; }
  uint64_t PutLock(SlotIndex, const std::string&) override { return ++seq_; }
  uint64_t EraseLock(SlotIndex) override { return ++seq_; }
  uint32_t tombstone_count_max() const override { return 65'536; }

 private:
  uint64_t seq_ = 0;
};

std::unique_ptr<LedgerPort> MakeLedger(bool is_mapped, uint32_t capacity) {
  if (!is_mapped) return std::make_unique<NoLedger>();
  ledger::LedgerIdentity identity;
  identity.pool_id = "bench";
  identity.max_capacity = capacity;
  auto made = ledger::MappedLedger::Create("/dev/shm", identity, {});
  if (!made.ok()) return nullptr;
  return *std::move(made);
}

struct World {
  World(uint32_t capacity, bool is_mapped)
      : pool(capacity),
        finder(pool.words()),
        ledger(MakeLedger(is_mapped, capacity)),
        authority(pool.words(), capacity),
        engine(Options(capacity), authority, *ledger, ids, sessions) {
    RecoverOptions how;
    how.first_gen = 1;
    engine.Recover(now, {}, how, actions);
  }
  ~World() { (void)ledger::MappedLedger::Remove("/dev/shm", "bench"); }

  static PoolOptions Options(uint32_t capacity) {
    PoolOptions options;
    options.id = "bench";
    options.capacity = capacity;
    return options;
  }
  static AcquireRequest Request() {
    AcquireRequest request;
    request.principal = "anonymous";
    request.client_id = "bench-client-1";
    request.ttl_ns = 30 * kSecond;
    return request;
  }
  Grant Acquire() {
    AcquireAnswer answer = engine.Acquire(now, now.boot_ns, Request(), actions);
    return std::get<Granted>(std::move(answer)).grant;
  }
  void Release(const Grant& grant) {
    const HolderRef holder{grant.lease.principal, grant.lease.client_id, grant.lease.id,
                           grant.lease.token};
    engine.Release(now, holder, false, actions);
    actions.Clear();
  }

  Instant now{kStartNs, kStartNs};
  // The hints of a pool as large as the largest here; those of HeapPool are for small ones.
  struct LargeFinder {
    explicit LargeFinder(PoolWords<RealMemory>& words) { memory.Lay(words); }
    FinderMemory<RealMemory, kCapacityMax> memory;
  };

  HeapPool pool;
  LargeFinder finder;
  std::unique_ptr<LedgerPort> ledger;
  CountingIds ids;
  FakeSessions sessions;
  Authority<RealMemory> authority;
  Actions actions;
  PoolEngine engine;
};

// args: live leases, and whether they are written to a mapped file.
void AcquireRelease(benchmark::State& state) {
  const auto live = static_cast<uint32_t>(state.range(0));
  World world(live + std::min(live / 16, 40'000u) + 1, state.range(1) != 0);
  for (uint32_t i = 1; i < live; ++i) world.Acquire();
  for (auto _ : state) {
    world.now.boot_ns += 1'000;
    world.Release(world.Acquire());
  }
  state.SetItemsProcessed(state.iterations() * 2);
}
BENCHMARK(AcquireRelease)
    ->Args({1, 0})
    ->Args({1'000, 0})
    ->Args({1'000'000, 0})
    ->Args({1, 1})
    ->Args({1'000, 1});

void Renew(benchmark::State& state) {
  const auto live = static_cast<uint32_t>(state.range(0));
  World world(live + 1, true);
  std::vector<HolderRef> holders;
  for (uint32_t i = 0; i < live; ++i) {
    const Grant grant = world.Acquire();
    holders.push_back(
        {grant.lease.principal, grant.lease.client_id, grant.lease.id, grant.lease.token});
  }
  size_t next = 0;
  for (auto _ : state) {
    world.now.boot_ns += 1'000;
    benchmark::DoNotOptimize(
        world.engine.Renew(world.now, world.now.boot_ns, holders[next], 0, world.actions));
    next = (next + 1) % holders.size();
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(Renew)->Arg(1)->Arg(1'000);

// A full pool: the acquire that finds nothing.
void FailingAcquire(benchmark::State& state) {
  const auto capacity = static_cast<uint32_t>(state.range(0));
  World world(capacity, false);
  for (uint32_t i = 0; i < capacity; ++i) world.Acquire();
  for (auto _ : state) {
    benchmark::DoNotOptimize(
        world.engine.Acquire(world.now, world.now.boot_ns, World::Request(), world.actions));
  }
}
BENCHMARK(FailingAcquire)->Arg(1'000)->Arg(1'000'000);

// A client that is known to be dead, and so many slots under its name among a million.
void RecoverDeadClient(benchmark::State& state) {
  constexpr SessionIndex kDead = 2;
  const auto held = static_cast<uint32_t>(state.range(0));
  World world(1'000'000, false);
  for (auto _ : state) {
    state.PauseTiming();
    world.sessions.attached[kDead] = world.now.boot_ns;
    for (SlotIndex slot = 0; slot < held; ++slot) {
      world.pool.Write(slot, BusyWord(kDead, GenerationOfWord(world.pool.Word(slot)) + 1));
    }
    world.sessions.attached.clear();
    const SessionIndex ended[] = {kDead};
    state.ResumeTiming();
    world.engine.SessionsEnded(world.now, ended, world.actions);
    state.PauseTiming();
    for (SlotIndex slot = 0; slot < held; ++slot) {
      if (StateOf(world.pool.Word(slot)) != SlotState::kFree) state.SkipWithError("a slot is lost");
    }
    world.actions.Clear();
    state.ResumeTiming();
  }
}
BENCHMARK(RecoverDeadClient)->Arg(100'000)->Unit(benchmark::kMillisecond);

constexpr uint32_t kSweepLeases = 1'000'000;

std::unique_ptr<LeaseTable> FullTable() {
  auto table = std::make_unique<LeaseTable>(kSweepLeases, 1024, false);
  for (SlotIndex slot = 0; slot < kSweepLeases; ++slot) {
    LeaseRecord record;
    record.id = {1, slot + 1};
    record.slot = slot;
    record.ttl_ns = 30 * kSecond;
    record.deadline_at_ns = kStartNs + kHour + slot;
    table->Add(std::move(record));
  }
  return table;
}

// Every pass looks at every deadline and none is due.
void SweepDeadlines(benchmark::State& state) {
  const auto table = FullTable();
  std::vector<SlotIndex> due;
  int64_t now_ns = kStartNs;
  for (auto _ : state) {
    table->SetEndAt(0, now_ns);  // something to look for
    table->SetEndAt(0, kStartNs + kHour);
    table->CollectDue(now_ns, due);
    now_ns += kSecond / 1000;
    if (!due.empty()) state.SkipWithError("nothing should be due");
  }
}
BENCHMARK(SweepDeadlines);

// The floor: the same bytes, added up.
void SumDeadlines(benchmark::State& state) {
  std::vector<int64_t> deadlines(kSweepLeases);
  std::iota(deadlines.begin(), deadlines.end(), kStartNs);
  for (auto _ : state) {
    benchmark::DoNotOptimize(
        std::accumulate(deadlines.begin(), deadlines.end(), uint64_t{0},
                        [](uint64_t sum, int64_t at) { return sum + static_cast<uint64_t>(at); }));
    benchmark::ClobberMemory();
  }
}
BENCHMARK(SumDeadlines);

}  // namespace
}  // namespace leaseplane::engine

BENCHMARK_MAIN();
