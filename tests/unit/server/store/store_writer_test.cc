// SPDX-License-Identifier: Apache-2.0
#include "server/store/store_writer.h"

#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <thread>
#include <vector>

#include "server/ledger/mapped_ledger.h"
#include "server/obs/mutex.h"
#include "tests/unit/server/store/store_fixture.h"

namespace leaseplane::store {
namespace {

using engine::Durability;
using engine::LeaseState;
using ledger::MakeLease;
using ledger::Show;

constexpr std::chrono::seconds kWatchdog(60);
const Uuid kBoot{21, 22};

// A pool as the daemon has it: a ledger under a lock.
class LedgerUnderLock final : public ChangeSource {
 public:
  explicit LedgerUnderLock(std::unique_ptr<ledger::MappedLedger> ledger)
      : ledger_(std::move(ledger)) {}

  ledger::Changes TakeChanges() override {
    obs::MutexLock lock(&mutex_);
    return ledger_->TakeChanges();
  }
  ledger::Changes TakeLockChanges() override {
    obs::MutexLock lock(&mutex_);
    return ledger_->TakeLockChanges();
  }
  template <class Write>
  uint64_t Do(Write write) {
    obs::MutexLock lock(&mutex_);
    return write(*ledger_);
  }
  uint64_t Put(SlotIndex slot, FencingToken token) {
    return Do([&](ledger::MappedLedger& l) { return l.PutLease(MakeLease(slot, token)); });
  }
  uint64_t End(SlotIndex slot) {
    return Do([&](ledger::MappedLedger& l) { return l.EndLease(slot, LeaseState::kReleased, {}); });
  }
  std::string Shown() {
    obs::MutexLock lock(&mutex_);
    return Show(ledger_->Contents());
  }

 private:
  obs::Mutex mutex_;
  std::unique_ptr<ledger::MappedLedger> ledger_;
};

absl::Status Unshared(const absl::Status& status) {
  return absl::Status(status.code(), status.message());
}

// One answer of OnDurable, to wait for.
class DurableAnswer {
 public:
  void Set(const absl::Status& status) {
    obs::MutexLock lock(&mutex_);
    status_ = Unshared(status);
    is_set_ = true;
    wake_.NotifyAll();
  }
  absl::Status Wait() {
    const auto end = std::chrono::steady_clock::now() + kWatchdog;
    obs::MutexLock lock(&mutex_);
    while (!is_set_) {
      if (std::chrono::steady_clock::now() > end) return absl::DeadlineExceededError("watchdog");
      wake_.WaitUntil(&mutex_, end);
    }
    return Unshared(status_);
  }

 private:
  obs::Mutex mutex_;
  obs::Wake wake_;
  bool is_set_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
};

class StoreWriterTest : public StoreFixture {
 protected:
  StoreWriterTest() {
    store_ = Open();
    auto ledger = ledger::MappedLedger::Create(LedgerDir(dir()), Identity(64), {});
    EXPECT_TRUE(ledger.ok()) << ledger.status();
    pool_ = std::make_unique<LedgerUnderLock>(*std::move(ledger));
  }

  void StartWriter(Durability durability, absl::Duration interval = absl::Milliseconds(5)) {
    StoreWriterOptions options;
    options.flush_interval = interval;
    options.retry_min = absl::Milliseconds(1);
    options.retry_max = absl::Milliseconds(5);
    options.on_state_change = [this](const absl::Status& status) {
      obs::MutexLock lock(&mutex_);
      states_.push_back(Unshared(status));
    };
    writer_ = std::make_unique<StoreWriter>(store_.get(), options);
    writer_->AddPool("gpu", durability, pool_.get());
    writer_->Start();
  }

  std::shared_ptr<DurableAnswer> Ask(uint64_t seq) {
    auto answer = std::make_shared<DurableAnswer>();
    writer_->OnDurable("gpu", seq, [answer](const absl::Status& status) { answer->Set(status); });
    return answer;
  }
  absl::Status WaitDurable(uint64_t seq) { return Ask(seq)->Wait(); }

  static bool WaitFor(const std::function<bool()>& condition) {
    const auto end = std::chrono::steady_clock::now() + kWatchdog;
    while (!condition()) {
      if (std::chrono::steady_clock::now() > end) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return true;
  }

  std::string Stored() { return Show(*store_->LoadPool("gpu")); }

  std::unique_ptr<StateStore> store_;
  std::unique_ptr<LedgerUnderLock> pool_;
  obs::Mutex mutex_;
  std::vector<absl::Status> states_;
  std::unique_ptr<StoreWriter> writer_;
};

TEST_F(StoreWriterTest, AsyncChangesArriveByThemselves) {
  StartWriter(Durability::kAsync);
  pool_->Put(1, 2);
  pool_->Put(3, 4);
  EXPECT_TRUE(WaitFor([&] { return Stored() == pool_->Shown(); }));
  pool_->End(1);
  EXPECT_TRUE(WaitFor([&] { return Stored() == pool_->Shown(); }));
}

TEST_F(StoreWriterTest, AWaiterDoesNotWaitForTheInterval) {
  for (const Durability durability : {Durability::kAsync, Durability::kSync}) {
    StartWriter(durability, absl::Hours(10));
    EXPECT_EQ(WaitDurable(pool_->Put(1, 2)), absl::OkStatus());
    EXPECT_EQ(Stored(), pool_->Shown());
    EXPECT_EQ(WaitDurable(pool_->End(1)), absl::OkStatus());
    EXPECT_EQ(Stored(), pool_->Shown());
  }
}

TEST_F(StoreWriterTest, WhatIsDurableAlreadyIsAnsweredInsideTheCall) {
  StartWriter(Durability::kSync, absl::Hours(10));
  const uint64_t seq = pool_->Put(1, 2);
  ASSERT_EQ(WaitDurable(seq), absl::OkStatus());
  for (const uint64_t done : {seq, uint64_t{0}}) {
    bool is_called = false;
    writer_->OnDurable("gpu", done, [&](const absl::Status& s) { is_called = s.ok(); });
    EXPECT_TRUE(is_called);
  }
  absl::Status unknown;
  writer_->OnDurable("other", 1, [&](const absl::Status& s) { unknown = s; });
  EXPECT_TRUE(absl::IsNotFound(unknown));
}

TEST_F(StoreWriterTest, ManyWaitersAreAllAnswered) {
  StartWriter(Durability::kSync, absl::Hours(10));
  ASSERT_EQ(WaitDurable(pool_->Put(63, 1)), absl::OkStatus());
  constexpr int kWaiters = 60;
  std::vector<std::shared_ptr<DurableAnswer>> answers;
  for (SlotIndex slot = 0; slot < kWaiters; ++slot) {
    answers.push_back(Ask(pool_->Put(slot, slot + 10)));
  }
  for (const auto& answer : answers) EXPECT_EQ(answer->Wait(), absl::OkStatus());
  EXPECT_EQ(Stored(), pool_->Shown());
}

TEST_F(StoreWriterTest, ANonePoolStoresLocksOnlyUntilItIsDrained) {
  StartWriter(Durability::kNone);
  EXPECT_EQ(WaitDurable(pool_->Put(1, 2)), absl::OkStatus());
  pool_->Do([](ledger::MappedLedger& l) { return l.PutLock(5, "maintenance"); });
  EXPECT_TRUE(WaitFor([&] { return Stored() == Show({{}, {}, {{5, "maintenance"}}}); }));
  EXPECT_EQ(writer_->Drain(kBoot, 3, kNow), absl::OkStatus());
  EXPECT_EQ(Stored(), pool_->Shown());
}

TEST_F(StoreWriterTest, ANonePoolForgetsTheLeasesOfAnEarlierRun) {
  ledger::Changes old;
  old.live_leases = {MakeLease(9, 9)};
  const PoolBatch batch[] = {{"gpu", old}};
  ASSERT_TRUE(store_->Commit(batch).ok());
  StartWriter(Durability::kNone);
  EXPECT_TRUE(WaitFor([&] { return Stored().empty(); }));
}

TEST_F(StoreWriterTest, DrainStoresEverythingAndMarksTheRunClean) {
  ASSERT_TRUE(store_->BeginRun(kBoot, kNow).ok());
  StartWriter(Durability::kAsync, absl::Hours(10));
  for (SlotIndex slot = 0; slot < 10; ++slot) pool_->Put(slot, slot + 1);
  EXPECT_EQ(writer_->Drain(kBoot, 7, kNow), absl::OkStatus());
  EXPECT_EQ(Stored(), pool_->Shown());
  const auto previous = store_->BeginRun(kBoot, kNow);
  EXPECT_TRUE((*previous)->clean);
  EXPECT_EQ((*previous)->local_sessions_at_stop, 7u);
}

TEST_F(StoreWriterTest, RemovingAPoolCancelsItsWaiters) {
  StartWriter(Durability::kSync, absl::Hours(10));
  FailFrom(1, Fault::kEio);
  EXPECT_FALSE(WaitDurable(pool_->Put(1, 2)).ok());
  writer_->RemovePool("gpu");
  RepairDisk();
  absl::Status status;
  writer_->OnDurable("gpu", 1, [&](const absl::Status& s) { status = s; });
  EXPECT_TRUE(absl::IsNotFound(status));
  // Nothing is left to write, yet the writer finds out that the disk works again.
  EXPECT_TRUE(WaitFor([&] { return !writer_->failed(); }));
}

TEST_F(StoreWriterTest, AStoppedWriterAnswersWhoeverStillWaits) {
  writer_ = std::make_unique<StoreWriter>(store_.get(), StoreWriterOptions{});
  writer_->AddPool("gpu", Durability::kSync, pool_.get());
  absl::Status status;
  writer_->OnDurable("gpu", pool_->Put(1, 2), [&](const absl::Status& s) { status = s; });
  writer_.reset();
  EXPECT_TRUE(absl::IsCancelled(status));
}

class WriterOnFailingDiskTest : public StoreWriterTest,
                                public ::testing::WithParamInterface<Fault> {};

TEST_P(WriterOnFailingDiskTest, ItSaysSoGoesOnAndRecovers) {
  for (int64_t nth = 1; nth <= 4; ++nth) {
    StartWriter(Durability::kSync, absl::Milliseconds(5));
    const auto slot = static_cast<SlotIndex>(nth * 4);
    ASSERT_EQ(WaitDurable(pool_->Put(slot, nth * 100)), absl::OkStatus());
    FailFrom(nth, GetParam());
    // A disk that still takes a few operations may take one more commit.
    absl::Status refused;
    for (SlotIndex i = 1; i < 4 && refused.ok(); ++i) {
      refused = WaitDurable(pool_->Put(slot + i, nth * 100 + i));
    }
    ASSERT_FALSE(refused.ok());
    EXPECT_TRUE(absl::IsUnavailable(refused) || absl::IsResourceExhausted(refused)) << refused;
    EXPECT_TRUE(writer_->failed());
    EXPECT_GT(writer_->lag(), absl::ZeroDuration());
    // Later waiters are not kept waiting, the ledger goes on, a drain does not claim success.
    EXPECT_FALSE(WaitDurable(pool_->End(slot)).ok());
    EXPECT_FALSE(writer_->Drain(kBoot, 0, kNow).ok());
    RepairDisk();
    EXPECT_TRUE(WaitFor([&] { return !writer_->failed(); }));
    EXPECT_EQ(WaitDurable(pool_->Put(slot, nth * 100 + 50)), absl::OkStatus());
    EXPECT_EQ(Stored(), pool_->Shown());
    EXPECT_EQ(writer_->lag(), absl::ZeroDuration());
    writer_.reset();
    obs::MutexLock lock(&mutex_);
    ASSERT_EQ(states_.size(), 2u);
    EXPECT_FALSE(states_[0].ok());
    EXPECT_TRUE(states_[1].ok());
    states_.clear();
  }
}

TEST_P(WriterOnFailingDiskTest, NothingThatWasCalledDurableIsMissingAfterReopening) {
  StartWriter(Durability::kSync, absl::Milliseconds(2));
  std::map<SlotIndex, FencingToken> durable;
  FencingToken token = 0;
  for (int round = 0; round < 30; ++round) {
    FailFrom(1 + round % 7, GetParam());
    for (int i = 0; i < 3; ++i) {
      const auto slot = static_cast<SlotIndex>((round * 3 + i) % 64);
      if (durable.erase(slot) > 0) pool_->End(slot);
      const std::string shown = pool_->Shown();
      if (shown.find("lease " + std::to_string(slot) + ' ') != std::string::npos) continue;
      const uint64_t seq = pool_->Put(slot, ++token);
      if (WaitDurable(seq).ok()) durable[slot] = token;
    }
    RepairDisk();
    ASSERT_TRUE(WaitFor([&] { return !writer_->failed(); }));
  }
  writer_.reset();
  store_.reset();
  store_ = Open();
  std::map<SlotIndex, FencingToken> stored;
  const auto loaded = store_->LoadPool("gpu");
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  for (const auto& lease : loaded->leases) stored[lease.slot] = lease.token;
  for (const auto& [slot, expected] : durable) EXPECT_EQ(stored[slot], expected) << slot;
}

INSTANTIATE_TEST_SUITE_P(Faults, WriterOnFailingDiskTest,
                         ::testing::Values(Fault::kEio, Fault::kEnospc), [](const auto& fault) {
                           return fault.param == Fault::kEio ? "Eio" : "Enospc";
                         });

}  // namespace
}  // namespace leaseplane::store
