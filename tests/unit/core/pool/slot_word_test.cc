// SPDX-License-Identifier: Apache-2.0
#include "core/pool/slot_word.h"

#include <gtest/gtest.h>

namespace leaseplane {
namespace {

constexpr SlotState kStates[] = {SlotState::kInvalid, SlotState::kFree, SlotState::kBusy,
                                 SlotState::kLocked};
constexpr Generation kGenerations[] = {0,
                                       1,
                                       (Generation{1} << 32) + 7,
                                       kGrantableGenerationMax - 1,
                                       kGrantableGenerationMax,
                                       kGenerationMax};

TEST(SlotWordTest, EveryFieldComesBackAsItWasPutIn) {
  for (SlotState state : kStates) {
    for (SessionIndex owner = 0; owner < kOwnerCount; ++owner) {
      for (Generation gen : kGenerations) {
        const SlotWord word = MakeWord(state, owner, gen);
        ASSERT_EQ(StateOf(word), state);
        ASSERT_EQ(OwnerOf(word), owner);
        ASSERT_EQ(GenerationOfWord(word), gen);
      }
    }
  }
}

TEST(SlotWordTest, OnlyFieldsThatFitTogetherAreWellFormed) {
  for (SlotState state : kStates) {
    for (SessionIndex owner = 0; owner < kOwnerCount; ++owner) {
      const bool fits = (state == SlotState::kFree && owner == kOwnerNone) ||
                        (state == SlotState::kBusy && owner != kOwnerNone) ||
                        (state == SlotState::kLocked && owner == kOwnerDaemon);
      for (Generation gen : kGenerations) {
        ASSERT_EQ(IsWellFormed(MakeWord(state, owner, gen)), fits);
      }
    }
  }
}

TEST(SlotWordTest, AnyReservedBitMakesAWordMalformedAndNotGrantable) {
  for (int bit = kOwnerShift + kOwnerBits; bit < kStateShift; ++bit) {
    const SlotWord stray = uint64_t{1} << bit;
    EXPECT_FALSE(IsWellFormed(FreeWord(5) | stray)) << bit;
    EXPECT_FALSE(IsWellFormed(BusyWord(2, 5) | stray)) << bit;
    EXPECT_FALSE(IsWellFormed(LockedWord(5) | stray)) << bit;
    EXPECT_FALSE(IsGrantable(FreeWord(5) | stray)) << bit;
  }
}

TEST(SlotWordTest, ZeroedMemoryIsNeverGrantable) {
  EXPECT_EQ(StateOf(0), SlotState::kInvalid);
  EXPECT_FALSE(IsWellFormed(0));
  EXPECT_FALSE(IsGrantable(0));
}

TEST(SlotWordTest, OnlyAFreeWordBelowTheLastGenerationsIsGrantable) {
  EXPECT_TRUE(IsGrantable(FreeWord(0)));
  EXPECT_TRUE(IsGrantable(FreeWord(kGrantableGenerationMax - 1)));
  EXPECT_FALSE(IsGrantable(FreeWord(kGrantableGenerationMax)));
  EXPECT_FALSE(IsGrantable(FreeWord(kGenerationMax)));
  EXPECT_FALSE(IsGrantable(BusyWord(2, 3)));
  EXPECT_FALSE(IsGrantable(LockedWord(3)));
}

TEST(TokenTest, TokensGrowWithTheGenerationAndThenWithTheEpoch) {
  EXPECT_LT(MakeToken(1, 0), MakeToken(1, 1));
  EXPECT_LT(MakeToken(1, kGenerationMax), MakeToken(2, 0));
  EXPECT_LT(MakeToken(kEpochMax - 1, kGenerationMax), MakeToken(kEpochMax, 0));
  EXPECT_EQ(MakeToken(kEpochMax, kGenerationMax), kFencingTokenMax);
  EXPECT_TRUE(IsTokenInRange(kFencingTokenMax));
  EXPECT_FALSE(IsTokenInRange(0));
  EXPECT_FALSE(IsTokenInRange(kFencingTokenMax + 1));
}

TEST(TokenTest, EpochAndGenerationComeBack) {
  for (Epoch epoch : {Epoch{1}, Epoch{77}, kEpochMax}) {
    for (Generation gen : kGenerations) {
      EXPECT_EQ(EpochOf(MakeToken(epoch, gen)), epoch);
      EXPECT_EQ(GenerationOf(MakeToken(epoch, gen)), gen);
    }
  }
}

TEST(TokenTest, EveryTokenIsExactInADouble) {
  const auto as_double = static_cast<double>(kFencingTokenMax);
  EXPECT_EQ(static_cast<FencingToken>(as_double), kFencingTokenMax);
  EXPECT_NE(static_cast<double>(kFencingTokenMax - 1), as_double);
}

}  // namespace
}  // namespace leaseplane
