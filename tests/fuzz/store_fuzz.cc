// SPDX-License-Identifier: Apache-2.0
#include "server/store/state_store.h"
#include "tests/fuzz/damaged_file.h"
#include "tests/unit/server/ledger/ledger_fixture.h"

namespace leaseplane::fuzz {
namespace {

constexpr int64_t kNow = 1'780'315'200;  // 2026-06-01T12:00:00Z

struct Good {
  std::string folder = FreshFolder(), path, bytes;

  Good() {
    auto made = store::StateStore::Open(folder, {});
    Must(made.ok(), "no store");
    const std::string pools[] = {"gpu"};
    Must((*made)->BumpEpochs(pools, kNow).ok(), "no epoch");
    engine::PoolOptions options;
    options.id = "gpu";
    options.capacity = 4;
    Must((*made)->PutPool(options, kNow).ok(), "no pool");
    store::PoolBatch batch{"gpu", {}};
    batch.changes.replaces_all = true;
    for (SlotIndex slot = 0; slot < 3; ++slot) {
      batch.changes.live_leases.push_back(ledger::MakeLease(slot, 1000 + slot));
    }
    Must((*made)->Commit({&batch, 1}).ok(), "no commit");
    Must((*made)->EndRun({21, 22}, 0, kNow).ok(), "no end");
    path = (*made)->path();
    made->reset();
    bytes = ReadAll(path);
  }
  ~Good() { std::filesystem::remove_all(folder); }
};

}  // namespace
}  // namespace leaseplane::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace leaseplane;  // NOLINT
  static const fuzz::Good good;
  fuzz::Input input(data, size);
  for (const char* suffix : {"-wal", "-shm"}) std::filesystem::remove(good.path + suffix);
  fuzz::WriteAll(good.path, fuzz::Damage(good.bytes, input));
  auto opened = store::StateStore::Open(good.folder, {});
  if (!opened.ok()) return 0;
  const auto contents = (*opened)->LoadPool("gpu");
  if (contents.ok()) {
    for (const auto& lease : contents->leases) {
      fuzz::Must(IsTokenInRange(lease.token), "a token out of range");
    }
  }
  const auto pools = (*opened)->LoadPools();
  if (pools.ok()) {
    for (const auto& pool : *pools) fuzz::Must(pool.capacity >= 1, "a pool without slots");
  }
  const std::string names[] = {"gpu"};
  const auto epochs = (*opened)->BumpEpochs(names, fuzz::kNow);
  if (epochs.ok()) fuzz::Must(epochs->at("gpu").epoch <= kEpochMax, "an epoch out of range");
  return 0;
}
