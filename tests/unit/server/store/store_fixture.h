// SPDX-License-Identifier: Apache-2.0
//
// A state directory of its own for every test, and a store in it on the faulty disk.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <string>

#include "server/store/state_dir.h"
#include "server/store/state_store.h"
#include "tests/unit/server/ledger/ledger_fixture.h"
#include "tests/unit/server/store/faulty_vfs.h"

namespace leaseplane::store {

// 2026-06-01T12:00:00Z
inline constexpr int64_t kNow = 1'780'315'200;

class StoreFixture : public ::testing::Test {
 protected:
  StoreFixture() {
    std::string pattern = ::testing::TempDir() + "/storeXXXXXX";
    dir_ = ::mkdtemp(pattern.data());
    EXPECT_TRUE(PrepareStateDir(dir_).ok());
    RegisterFaultyVfs();
    RepairDisk();
  }
  ~StoreFixture() override {
    RepairDisk();
    std::filesystem::remove_all(dir_);
  }

  const std::string& dir() const { return dir_; }
  std::string db_path() const { return dir_ + "/leaseplane.db"; }

  absl::StatusOr<std::unique_ptr<StateStore>> TryOpen(StoreOptions options = {}) {
    options.vfs = kFaultyVfs;
    return StateStore::Open(dir_, options);
  }
  std::unique_ptr<StateStore> Open(const StoreOptions& options = {}) {
    auto store = TryOpen(options);
    EXPECT_TRUE(store.ok()) << store.status();
    return *std::move(store);
  }
  static ledger::LedgerIdentity Identity(uint32_t max_capacity) {
    return {"gpu", {11, 12}, {21, 22}, max_capacity};
  }

 private:
  std::string dir_;
};

inline PoolEpoch Bump(StateStore* store, const std::string& pool, int64_t now_unix_s) {
  const std::string pools[] = {pool};
  const auto epochs = store->BumpEpochs(pools, now_unix_s);
  EXPECT_TRUE(epochs.ok()) << epochs.status();
  return epochs.ok() ? epochs->at(pool) : PoolEpoch{};
}

}  // namespace leaseplane::store
