// SPDX-License-Identifier: Apache-2.0
#include "server/engine/damage_watch.h"

#include <gtest/gtest.h>

namespace leaseplane::engine {
namespace {

class DamageWatchTest : public ::testing::Test {
 protected:
  static constexpr int64_t kTick = 50 * kMillisecond;
  static constexpr uint64_t kCapacity = 100;
  // The least that is more than kViolationsPerSecondMax in one tick.
  static constexpr uint64_t kMany = kViolationsPerSecondMax * kTick / kSecond + 1;

  void Tick(uint64_t violations, uint64_t invalid = 0) {
    now_ns_ += kTick;
    watch_.Observe(now_ns_, kTick, violations, invalid, kCapacity);
  }

  int64_t now_ns_ = kHour;
  DamageWatch watch_;
};

TEST_F(DamageWatchTest, AWriterThatGoesOnIsOverTheLimit) {
  for (uint32_t i = 1; i < kViolentTicks; ++i) {
    Tick(kMany);
    EXPECT_FALSE(watch_.is_over());
  }
  Tick(kMany);
  EXPECT_TRUE(watch_.is_over());
}

TEST_F(DamageWatchTest, ABurstThatEndsIsNot) {
  for (int i = 0; i < 10; ++i) {
    Tick(kMany);
    Tick(kMany);
    Tick(kMany - 1);
    EXPECT_FALSE(watch_.is_over());
  }
}

TEST_F(DamageWatchTest, AFewWordsNowAndThenAreNot) {
  for (int i = 0; i < 1'000; ++i) {
    Tick(1, kInvalidPercentMax);
    EXPECT_FALSE(watch_.is_over());
  }
}

TEST_F(DamageWatchTest, ManySlotsPutAsideAreWhileDamageComesAnew) {
  for (uint32_t i = 1; i < kViolentTicks; ++i) {
    Tick(1, kInvalidPercentMax + 1);
    EXPECT_FALSE(watch_.is_over());
  }
  Tick(0, kInvalidPercentMax + 1);
  EXPECT_FALSE(watch_.is_over()) << "nothing new";
  Tick(1, kInvalidPercentMax + 1);
  EXPECT_TRUE(watch_.is_over());
}

TEST_F(DamageWatchTest, DamageIsForgottenInTime) {
  Tick(1, kInvalidPercentMax + 1);
  Tick(1, kInvalidPercentMax + 1);
  now_ns_ += kDamageMemory;
  Tick(1, kInvalidPercentMax + 1);
  EXPECT_FALSE(watch_.is_over());
}

TEST_F(DamageWatchTest, ALongTickIsJudgedByItsLength) {
  for (uint32_t i = 0; i < kViolentTicks; ++i) {
    now_ns_ += kSecond;
    watch_.Observe(now_ns_, kSecond, kMany, 0, kCapacity);
  }
  EXPECT_FALSE(watch_.is_over());
}

TEST_F(DamageWatchTest, AfterResetItBeginsAnew) {
  for (uint32_t i = 0; i < kViolentTicks; ++i) Tick(kMany);
  watch_.Reset();
  EXPECT_FALSE(watch_.is_over());
  Tick(kMany);
  EXPECT_FALSE(watch_.is_over());
}

}  // namespace
}  // namespace leaseplane::engine
