// SPDX-License-Identifier: Apache-2.0
//
// A pool that has moved to other memory asks who holds what. What was believed of the old words
// stands against every claim; beyond that the larger token wins, as far as it can be honest.
#include "tests/unit/server/engine/engine_fixture.h"

namespace leaseplane::engine {
namespace {

class RotationClaimsTest : public EngineTest {
 protected:
  static constexpr Epoch kOld = 5, kNew = 6;
  static constexpr Generation kFreshGen = 5'000;

  // A pool of two slots under kOld; Alice holds one, and a tick has seen it.
  void StartWithAHold() {
    Start();
    authority_->SetEpoch(kOld);
    held_ = MustLocalAcquire(kAlice);
    Pass(50 * kMillisecond);
  }
  void Rotate() {
    left_ = std::move(pool_);
    pool_ = std::make_unique<HeapPool>(options_.capacity);
    actions_.Clear();
    engine_->Rotate(now_, pool_->words(), kNew, kFreshGen, actions_);
    ASSERT_EQ(engine_->state(), PoolState::kRecovering);
  }
  bool Claim(SessionIndex session, SlotIndex slot, FencingToken token) {
    return engine_->Claim(now_, session, slot, token, actions_);
  }
  FencingToken HeldToken() const { return MakeToken(kOld, held_.gen); }

  SlotGrant held_;
  std::unique_ptr<HeapPool> left_;
};

TEST_F(RotationClaimsTest, TheHoldThatWasSeenTakesTheSlotFromALargerClaim) {
  StartWithAHold();
  Rotate();
  EXPECT_TRUE(Claim(kBob, held_.slot, HeldToken() + 3)) << "nobody has said anything else yet";
  EXPECT_TRUE(Claim(kAlice, held_.slot, HeldToken()));
  EXPECT_EQ(pool_->Word(held_.slot), BusyWord(kAlice, held_.gen));
  ASSERT_EQ(actions_.local_lease_ended.size(), 1u);
  EXPECT_EQ(actions_.local_lease_ended[0].session, kBob);
  EXPECT_EQ(actions_.local_lease_ended[0].token, HeldToken() + 3);
  engine_->EndRecovery(now_, actions_);
  Pass(2 * kSecond);
  EXPECT_EQ(pool_->Word(held_.slot), BusyWord(kAlice, held_.gen)) << "is not taken for damage";
  EXPECT_EQ(engine_->stats().integrity_violations, 0u);
  MustAcquire();  // the other slot
  LocalRelease(kAlice, held_);
  EXPECT_GT(MustAcquire().lease.token, HeldToken() + 3) << "perhaps that one was true";
}

TEST_F(RotationClaimsTest, TheHoldThatWasSeenIsNotTakenByALargerClaim) {
  StartWithAHold();
  Rotate();
  EXPECT_TRUE(Claim(kAlice, held_.slot, HeldToken()));
  EXPECT_FALSE(Claim(kBob, held_.slot, HeldToken() + 3));
  EXPECT_TRUE(Claim(kAlice, held_.slot, HeldToken())) << "again, as after a lost answer";
  EXPECT_EQ(pool_->Word(held_.slot), BusyWord(kAlice, held_.gen));
  EXPECT_TRUE(actions_.local_lease_ended.empty());
}

TEST_F(RotationClaimsTest, OfHoldsThatNobodyHadSeenTheLargerTokenWins) {
  StartWithAHold();
  const SlotIndex other = 1 - held_.slot;
  const FencingToken token = MakeToken(kOld, kFirstGen + 1);
  Rotate();
  EXPECT_TRUE(Claim(kBob, other, token));
  EXPECT_FALSE(Claim(kCarol, other, token)) << "no larger";
  EXPECT_TRUE(Claim(kCarol, other, token + 1));
  EXPECT_FALSE(Claim(kBob, other, token));
  EXPECT_EQ(pool_->Word(other), BusyWord(kCarol, GenerationOf(token) + 1));
}

TEST_F(RotationClaimsTest, ATokenThatNoHonestHolderCanHaveIsNotBelieved) {
  StartWithAHold();
  const Generation far = GenerationOf(HeldToken()) + kGrantsPerSecondMax + 1;
  Rotate();
  EXPECT_FALSE(Claim(kBob, held_.slot, MakeToken(kOld, far))) << "nobody grants that fast";
  EXPECT_FALSE(Claim(kBob, held_.slot, MakeToken(kNew, held_.gen))) << "the new memory's epoch";
  EXPECT_FALSE(Claim(kBob, held_.slot, MakeToken(kNew + 1, held_.gen)));
  EXPECT_FALSE(Claim(kBob, options_.capacity, HeldToken())) << "no such slot";
  EXPECT_EQ(StateAt(held_.slot), SlotState::kFree);
  EXPECT_TRUE(Claim(kAlice, held_.slot, HeldToken()));
}

TEST_F(RotationClaimsTest, ATokenOfAnEarlierNumberingIsNotBelieved) {
  options_.capacity = 1;
  Start();
  authority_->SetEpoch(kOld - 1);
  authority_->SetRenumberAt(kFirstGen + 1);
  LocalRelease(kAlice, MustLocalAcquire(kAlice));
  Pass(50 * kMillisecond);
  ASSERT_TRUE(engine_->wants_renumbering());
  engine_->Renumber(now_, kOld, actions_);
  Rotate();
  EXPECT_FALSE(Claim(kAlice, 0, MakeToken(kOld - 1, 1)));
  EXPECT_TRUE(Claim(kAlice, 0, MakeToken(kOld, 1)));
}

TEST_F(RotationClaimsTest, ARemoteLeaseStandsAgainstEveryClaim) {
  StartWithAHold();
  const Grant remote = MustAcquire();
  Rotate();
  EXPECT_FALSE(Claim(kAlice, remote.lease.slot, remote.lease.token + 1));
  EXPECT_EQ(pool_->Word(remote.lease.slot),
            BusyWord(kOwnerDaemon, GenerationOf(remote.lease.token)));
  engine_->EndRecovery(now_, actions_);
  EXPECT_EQ(Release(remote), Reason::kNone);
}

TEST_F(RotationClaimsTest, WhatNobodyClaimsIsGrantedAboveEverythingBefore) {
  StartWithAHold();
  Rotate();
  EXPECT_FALSE(LocalAcquire(kBob).has_value()) << "holders are being asked";
  EXPECT_EQ(RefusalOf(Acquire(Request())), Reason::kRecovering);
  engine_->EndRecovery(now_, actions_);
  EXPECT_FALSE(Claim(kAlice, held_.slot, HeldToken())) << "too late";
  for (int i = 0; i < 2; ++i) {
    const SlotGrant grant = MustLocalAcquire(kBob);
    EXPECT_GT(MakeToken(authority_->epoch(), grant.gen), HeldToken() + kGrantsPerSecondMax);
  }
}

TEST_F(RotationClaimsTest, TheOldMemoryGrantsNothing) {
  StartWithAHold();
  Rotate();
  EXPECT_FALSE(LocalClient::TryAcquire(left_->words(), kBob, true, /*ignores_gate=*/true));
}

}  // namespace
}  // namespace leaseplane::engine
