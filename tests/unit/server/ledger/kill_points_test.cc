// SPDX-License-Identifier: Apache-2.0
//
// Kills the writer at every store: before each one, what a kill would leave is written to a second
// file and loaded. It must be the content before the write or the content after it. Of stores that
// are not atomic, torn ones are tried as well: any part of their bytes may have been stored.
#include <gtest/gtest.h>

#include <cstdlib>
#include <functional>
#include <random>
#include <set>

#include "server/ledger/ordered_stores.h"
#include "tests/unit/server/ledger/ledger_fixture.h"

namespace leaseplane::ledger {
namespace {

using engine::LeaseState;

uint64_t Seed() {
  const char* given = std::getenv("LEASEPLANE_TEST_SEED");
  const uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 10) : 20240101;
  std::printf("LEASEPLANE_TEST_SEED=%llu\n", static_cast<unsigned long long>(seed));
  return seed;
}

class KillPointsTest : public LedgerFixture, public StoreObserver {
 protected:
  void BeforeStore(const void* to, const void* value, size_t bytes, bool is_atomic) override {
    const std::string file = ReadFile(path());  // the mapping is shared: this is what it holds
    Observe(file);
    if (is_atomic) return;
    const size_t at = OffsetOf(to, file);
    std::string torn = file;
    const auto* stored = static_cast<const char*>(value);
    for (size_t i = 0; i < bytes; ++i) {
      if (random_() % 2 == 0) torn[at + i] = stored[i];
    }
    Observe(torn);
    Observe(file.substr(0, at) + std::string(stored, bytes) + file.substr(at + bytes));
  }

  // Where in the file `to` is: the mapping's address is private to the ledger, so a byte is changed
  // through it and looked for.
  size_t OffsetOf(const void* to, const std::string& file) {
    auto* byte = const_cast<char*>(static_cast<const char*>(to));
    *byte = static_cast<char>(*byte ^ 0x5A);
    const std::string changed = ReadFile(path());
    *byte = static_cast<char>(*byte ^ 0x5A);
    for (size_t i = 0; i < file.size(); ++i) {
      if (file[i] != changed[i]) return i;
    }
    ADD_FAILURE() << "the store is not in the file";
    return 0;
  }

  void Observe(const std::string& bytes) {
    const std::string copy_dir = dir() + "/copy";
    std::filesystem::create_directory(copy_dir);
    WriteFile(copy_dir + "/gpu.ledger", bytes);
    auto copy = MappedLedger::Open(copy_dir, Identity(kCapacity));
    ASSERT_TRUE(copy.ok()) << copy.status();
    seen_.insert(Show((*copy)->Contents()));
    // A second load sees what the first repaired.
    auto again = MappedLedger::Open(copy_dir, Identity(kCapacity));
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_EQ(Show((*copy)->Contents()), Show((*again)->Contents()));
    ++kill_points_;
  }

  // Does `write` with a kill at every store.
  void Check(MappedLedger* ledger, const std::function<void()>& write) {
    const std::string before = Show(ledger->Contents());
    seen_.clear();
    ledger->SetStoreObserver(this);
    write();
    ledger->SetStoreObserver(nullptr);
    const std::string after = Show(ledger->Contents());
    Observe(ReadFile(path()));
    for (const std::string& state : seen_) {
      EXPECT_TRUE(state == before || state == after) << "neither before:\n"
                                                     << before << "nor after:\n"
                                                     << after << "but:\n"
                                                     << state;
    }
    EXPECT_TRUE(seen_.count(before) == 1 && seen_.count(after) == 1);
  }

  static constexpr uint32_t kCapacity = 3;
  std::mt19937_64 random_{Seed()};
  std::set<std::string> seen_;
  int kill_points_ = 0;
};

TEST_F(KillPointsTest, EveryWriteIsSeenWhollyOrNotAtAll) {
  auto ledger = CreateEmpty(kCapacity);
  FencingToken token = 0;
  bool is_live[kCapacity] = {};
  bool is_locked[kCapacity] = {};
  for (int i = 0; i < 120; ++i) {
    const auto slot = static_cast<SlotIndex>(random_() % kCapacity);
    if (random_() % 4 == 0) {
      if (is_locked[slot] && random_() % 2 == 0) {
        Check(ledger.get(), [&] { ledger->EraseLock(slot); });
        is_locked[slot] = false;
      } else {
        Check(ledger.get(), [&] { ledger->PutLock(slot, "reason " + std::to_string(i)); });
        is_locked[slot] = true;
      }
    } else if (!is_live[slot]) {
      Check(ledger.get(), [&] { ledger->PutLease(MakeLease(slot, ++token)); });
      is_live[slot] = true;
    } else if (random_() % 2 == 0) {
      Check(ledger.get(), [&] { ledger->RenewLease(slot, {i + 1000, 5000 + i}); });
    } else {
      Check(ledger.get(), [&] { ledger->EndLease(slot, LeaseState::kReleased, {i, i}); });
      is_live[slot] = false;
    }
    if (HasFatalFailure() || HasNonfatalFailure()) break;
  }
  std::printf("%d kill points\n", kill_points_);
}

TEST_F(KillPointsTest, EndingALeaseWithAllTombstonesInUseLosesOnlyTheOldestAndOnlyAtOnce) {
  auto ledger = CreateEmpty(kCapacity);
  FencingToken token = 0;
  for (uint32_t i = 0; i < ledger->tombstone_count_max() + 3; ++i) {
    ledger->PutLease(MakeLease(0, ++token));
    ledger->EndLease(0, LeaseState::kReleased, {});
  }
  for (int i = 0; i < 5; ++i) {
    ledger->PutLease(MakeLease(1, ++token));
    Check(ledger.get(), [&] { ledger->EndLease(1, LeaseState::kExpired, {i, i}); });
  }
}

}  // namespace
}  // namespace leaseplane::ledger
