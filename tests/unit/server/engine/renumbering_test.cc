// SPDX-License-Identifier: Apache-2.0
//
// Slots whose generations run out: withheld, renumbered under a new epoch, tokens grow.
#include "tests/unit/server/engine/engine_fixture.h"

namespace leaseplane::engine {
namespace {

class RenumberingTest : public EngineTest {
 protected:
  // Clients may use three generations of each slot.
  void StartWithThree() {
    Start();
    authority_->SetEpoch(5);
    authority_->SetRenumberAt(kFirstGen + 3);
  }
  void UseUp(SlotIndex slot) {
    for (int i = 0; i < 3; ++i) {
      const auto grant = LocalAcquireAt(slot);
      ASSERT_TRUE(grant.has_value());
      LocalRelease(kAlice, *grant);
    }
    Pass(50 * kMillisecond);
  }
  std::optional<SlotGrant> LocalAcquireAt(SlotIndex slot) {
    for (int tries = 0; tries < 4; ++tries) {
      const auto grant = LocalAcquire(kAlice);
      if (!grant || grant->slot == slot) return grant;
    }
    return std::nullopt;
  }
  bool IsValid(SlotIndex slot, FencingToken token) {
    return std::get<TokenCheck>(engine_->CheckToken(slot, token)).valid;
  }
};

TEST_F(RenumberingTest, ASpentSlotIsWithheldAndBeginsAgainUnderTheNewEpoch) {
  options_.capacity = 1;
  StartWithThree();
  EXPECT_FALSE(engine_->wants_renumbering());
  UseUp(0);
  EXPECT_FALSE(LocalAcquire(kAlice).has_value()) << "the grant bit is gone";
  EXPECT_EQ(RefusalOf(Acquire(Request())), Reason::kNoFreeSlot) << "for the daemon, too";
  ASSERT_TRUE(engine_->wants_renumbering());
  engine_->Renumber(now_, 6, actions_);
  EXPECT_FALSE(engine_->wants_renumbering());
  EXPECT_EQ(pool_->Word(0), FreeWord(0));
  EXPECT_EQ(engine_->stats().renumberings, 1u);
  const SlotGrant local = MustLocalAcquire(kBob);
  EXPECT_EQ(local.gen, 1u);
  const FencingToken token = MakeToken(6, 1);
  EXPECT_GT(token, MakeToken(5, kFirstGen + 3));
  EXPECT_TRUE(IsValid(0, token));
  EXPECT_FALSE(IsValid(0, MakeToken(5, 1))) << "the same generation of the numbering before";
  Pass(200 * kMillisecond);
  EXPECT_EQ(engine_->stats().integrity_violations, 0u);
}

TEST_F(RenumberingTest, ItWaitsUntilTheSlotIsFree) {
  options_.capacity = 1;
  StartWithThree();
  for (int i = 0; i < 2; ++i) LocalRelease(kAlice, MustLocalAcquire(kAlice));
  const SlotGrant held = MustLocalAcquire(kAlice);
  Pass(100 * kMillisecond);
  EXPECT_EQ(authority_->spent_count(), 1u);
  EXPECT_FALSE(engine_->wants_renumbering());
  engine_->Renumber(now_, 6, actions_);
  EXPECT_EQ(pool_->Word(0), BusyWord(kAlice, held.gen)) << "the holder keeps it";
  EXPECT_TRUE(IsValid(0, MakeToken(5, held.gen))) << "under its token";
  EXPECT_TRUE(LocalRelease(kAlice, held));
  ASSERT_TRUE(engine_->wants_renumbering());
  engine_->Renumber(now_, 7, actions_);
  EXPECT_EQ(pool_->Word(0), FreeWord(0));
}

TEST_F(RenumberingTest, OtherLeasesAreHeldThroughIt) {
  options_.capacity = 3;
  StartWithThree();
  UseUp(0);
  const SlotGrant local = MustLocalAcquire(kBob);
  const Grant remote = MustAcquire();
  engine_->Renumber(now_, 6, actions_);
  Pass(100 * kMillisecond);
  EXPECT_TRUE(IsValid(local.slot, MakeToken(5, local.gen)));
  EXPECT_TRUE(IsValid(remote.lease.slot, remote.lease.token));
  EXPECT_EQ(ReasonIn(Renew(remote)), Reason::kNone);
  EXPECT_EQ(Release(remote), Reason::kNone);
  EXPECT_TRUE(LocalRelease(kBob, local));
  EXPECT_GT(MustAcquire().lease.token, remote.lease.token);
}

TEST_F(RenumberingTest, AWordThatOnlyClaimsToBeSpentIsDamage) {
  options_.capacity = 1;
  Start();
  RealMemory::Store(pool_->words().Slot(0), FreeWord(kGrantableGenerationMax));
  Pass(50 * kMillisecond);
  EXPECT_EQ(engine_->stats().integrity_violations, 1u);
  EXPECT_EQ(authority_->spent_count(), 0u);
  EXPECT_FALSE(engine_->wants_renumbering());
}

TEST_F(RenumberingTest, ASuccessorKnowsTheNewNumbering) {
  options_.capacity = 1;
  StartWithThree();
  UseUp(0);
  engine_->Renumber(now_, 6, actions_);
  const SlotGrant local = MustLocalAcquire(kAlice);
  RestartAdopting();
  EXPECT_TRUE(IsValid(0, MakeToken(6, local.gen)));
  EXPECT_FALSE(IsValid(0, MakeToken(5, local.gen)));
}

TEST_F(RenumberingTest, AWaiterGetsTheSlotWhenItIsRenumbered) {
  options_.capacity = 1;
  StartWithThree();
  UseUp(0);
  const uint64_t ticket = MustQueue();
  engine_->Renumber(now_, 6, actions_);
  ASSERT_EQ(actions_.waiter_granted.size(), 1u);
  EXPECT_EQ(actions_.waiter_granted[0].ticket, ticket);
  EXPECT_EQ(actions_.waiter_granted[0].grant.lease.token, MakeToken(6, 1));
}

TEST_F(RenumberingTest, ABrokeredPoolIsGrantedByTheDaemonAlone) {
  options_.capacity = 1;
  StartWithThree();
  UseUp(0);
  engine_->SetBrokered(now_, true, actions_);
  EXPECT_FALSE(LocalAcquire(kAlice, /*ignores_gate=*/true).has_value());
  const Grant remote = MustAcquire();
  EXPECT_GT(remote.lease.token, MakeToken(5, kFirstGen + 3)) << "above what clients may grant";
  Release(remote);
  engine_->Enqueue(now_, kAlice, 1, 0, kHour, actions_);
  ASSERT_EQ(actions_.send_grant.size(), 1u);
  EXPECT_GT(actions_.send_grant[0].token, remote.lease.token);
  engine_->GrantAck(kAlice, 0, 1);
  EXPECT_TRUE(LocalRelease(kAlice, {0, GenerationOf(actions_.send_grant[0].token)}));
  EXPECT_EQ(gate(), shm::Gate::kClosed);
  engine_->SetBrokered(now_, false, actions_);
  EXPECT_EQ(gate(), shm::Gate::kOpen);
  EXPECT_FALSE(LocalAcquire(kAlice).has_value()) << "still spent";
  engine_->Renumber(now_, 6, actions_);
  EXPECT_TRUE(LocalAcquire(kAlice).has_value());
}

}  // namespace
}  // namespace leaseplane::engine
