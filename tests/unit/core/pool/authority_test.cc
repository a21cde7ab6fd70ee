// SPDX-License-Identifier: Apache-2.0
#include "core/pool/authority.h"

#include <gtest/gtest.h>

#include "tests/unit/core/pool/heap_pool.h"

namespace leaseplane {
namespace {

using M = RecordingMemory;
constexpr SessionIndex kSession = 7;
constexpr Generation kFirst = 100;

class AuthorityTest : public testing::Test {
 protected:
  AuthorityTest() {
    authority_.Initialize(kFirst, true, 0);
    pool_.Activate(kSession);
    M::wakes.clear();
  }
  SlotGrant Grant(SessionIndex owner) {
    const auto grant = authority_.Grant(owner, 0);
    EXPECT_TRUE(grant.has_value());
    return grant.value_or(SlotGrant{});
  }

  HeapPool<M> pool_{3};
  Authority<M> authority_{pool_.words(), 2};
  std::vector<SlotEvent> events_;
};

TEST_F(AuthorityTest, AFreshPoolGrantsItsCapacityAndWithholdsTheRest) {
  for (SlotIndex i = 0; i < 3; ++i) EXPECT_EQ(pool_.Word(i), FreeWord(kFirst));
  EXPECT_TRUE(pool_.Bit(0));
  EXPECT_TRUE(pool_.Bit(1));
  EXPECT_FALSE(pool_.Bit(2));
}

TEST_F(AuthorityTest, AFreshPoolThatIsNotGrantableWithholdsEverySlotUntilRepair) {
  authority_.Initialize(kFirst, false, 0);
  EXPECT_FALSE(pool_.Bit(0));
  EXPECT_FALSE(authority_.Grant(kSession, 0).has_value());
  pool_.Enlist(1);
  authority_.Repair(0);
  EXPECT_TRUE(pool_.Bit(0));
  EXPECT_EQ(pool_.Word(0), FreeWord(kFirst)) << "nothing was damaged: the numbering goes on";
  EXPECT_EQ(pool_.wseq(), 1u);
}

TEST_F(AuthorityTest, AGrantToTheDaemonWithholdsTheSlot) {
  const SlotGrant grant = Grant(kOwnerDaemon);
  EXPECT_EQ(pool_.Word(grant.slot), BusyWord(kOwnerDaemon, kFirst + 1));
  EXPECT_FALSE(pool_.Bit(grant.slot));
}

TEST_F(AuthorityTest, ADrainedPoolOffersNothingAndWakesWhoSleeps) {
  const SlotGrant held = Grant(kSession);
  authority_.SetDrained(true);
  EXPECT_EQ(pool_.wseq(), 1u);
  ASSERT_EQ(M::wakes.size(), 1u);
  EXPECT_EQ(M::wakes[0].count, shm::kWakeAll);
  EXPECT_TRUE(pool_.words().Drained());
  EXPECT_TRUE(authority_.TakeBack(held.slot, kSession, held.gen));
  for (const SlotIndex i : {SlotIndex{0}, SlotIndex{1}}) {
    authority_.Lock(i);
    authority_.Unlock(i);
    authority_.Repair(i);
    EXPECT_EQ(StateOf(pool_.Word(i)), SlotState::kFree);
    EXPECT_FALSE(pool_.Bit(i));
  }
  EXPECT_FALSE(authority_.Grant(kSession, 0).has_value());
  EXPECT_FALSE(authority_.Grant(kOwnerDaemon, 0).has_value());
  authority_.SetDrained(false);
  EXPECT_TRUE(pool_.Bit(0) && pool_.Bit(1));
  EXPECT_FALSE(pool_.Bit(2)) << "beyond the capacity";
  EXPECT_FALSE(pool_.words().Drained());
}

TEST_F(AuthorityTest, AnAdoptedPoolIsDrainedAsItsNewOwnerSays) {
  Authority<M> successor(pool_.words(), 2);
  successor.SetDrained(true);
  successor.Adopt(0);
  EXPECT_FALSE(pool_.Bit(0) || pool_.Bit(1));
  EXPECT_TRUE(pool_.words().Drained());
  Authority<M> next(pool_.words(), 2);
  next.Adopt(0);
  EXPECT_TRUE(pool_.Bit(0) && pool_.Bit(1));
  EXPECT_FALSE(pool_.words().Drained());
}

TEST_F(AuthorityTest, AGrantToASessionLeavesTheGrantBit) {
  const SlotGrant grant = Grant(kSession);
  EXPECT_EQ(pool_.Word(grant.slot), BusyWord(kSession, kFirst + 1));
  EXPECT_TRUE(pool_.Bit(grant.slot));
}

TEST_F(AuthorityTest, GrantsGoRoundAndEndWithTheCapacity) {
  EXPECT_EQ(Grant(kSession).slot, 0u);
  EXPECT_EQ(Grant(kSession).slot, 1u);
  EXPECT_FALSE(authority_.Grant(kSession, 0).has_value());
  EXPECT_EQ(pool_.Word(2), FreeWord(kFirst)) << "beyond the capacity";
  EXPECT_FALSE(authority_.GrantSlot(2, kSession, 0).has_value());
}

TEST_F(AuthorityTest, TakingBackPublishesTheBitAndWakes) {
  const SlotGrant grant = Grant(kOwnerDaemon);
  pool_.Enlist(1);
  EXPECT_TRUE(authority_.TakeBack(grant.slot, kOwnerDaemon, grant.gen));
  EXPECT_EQ(pool_.Word(grant.slot), FreeWord(grant.gen));
  EXPECT_TRUE(pool_.Bit(grant.slot));
  EXPECT_EQ(pool_.wseq(), 1u);
}

TEST_F(AuthorityTest, TakingBackSomethingElseChangesNothing) {
  const SlotGrant grant = Grant(kSession);
  EXPECT_FALSE(authority_.TakeBack(grant.slot, kSession, grant.gen + 1));
  EXPECT_FALSE(authority_.TakeBack(grant.slot, kSession + 1, grant.gen));
  EXPECT_EQ(pool_.Word(grant.slot), BusyWord(kSession, grant.gen));
}

TEST_F(AuthorityTest, UnderAClosedGateNoLocalWaiterIsWoken) {
  const SlotGrant grant = Grant(kOwnerDaemon);
  authority_.SetGate(shm::Gate::kClosed);
  pool_.Enlist(1);
  const uint32_t before = pool_.wseq();
  authority_.TakeBack(grant.slot, kOwnerDaemon, grant.gen);
  EXPECT_EQ(pool_.wseq(), before);
}

TEST_F(AuthorityTest, InAPoolThatCleansEveryWayOutOfBusyIsLocked) {
  authority_.SetReleaseWord(shm::ReleaseWord::kLocked);
  const SlotGrant remote = Grant(kOwnerDaemon);
  const SlotGrant local = Grant(kSession);
  authority_.TakeBack(remote.slot, kOwnerDaemon, remote.gen);
  const SessionIndex owner = kSession;
  authority_.EndSessions({&owner, 1}, events_);
  EXPECT_EQ(pool_.Word(remote.slot), LockedWord(remote.gen));
  EXPECT_EQ(pool_.Word(local.slot), LockedWord(local.gen));
  EXPECT_FALSE(pool_.Bit(remote.slot));
}

TEST_F(AuthorityTest, AnUndoneGrantIsFreeEvenInAPoolThatCleans) {
  authority_.SetReleaseWord(shm::ReleaseWord::kLocked);
  const SlotGrant grant = Grant(kOwnerDaemon);
  EXPECT_TRUE(authority_.UndoGrant(grant.slot, kOwnerDaemon, grant.gen));
  EXPECT_EQ(pool_.Word(grant.slot), FreeWord(grant.gen));
  EXPECT_TRUE(pool_.Bit(grant.slot));
}

TEST_F(AuthorityTest, ReleasedSlotsAreCollectedOnceAndReopened) {
  authority_.SetReleaseWord(shm::ReleaseWord::kLocked);
  const SlotGrant grant = Grant(kSession);
  pool_.SetWord(grant.slot, LockedWord(grant.gen));  // as the client's release does
  authority_.CollectReleased(events_);
  ASSERT_EQ(events_.size(), 1u);
  EXPECT_EQ(events_[0].finding, SlotFinding::kReleasedLocked);
  EXPECT_EQ(events_[0].gen, grant.gen);
  EXPECT_FALSE(pool_.Bit(grant.slot));
  authority_.CollectReleased(events_);
  EXPECT_EQ(events_.size(), 1u);
  EXPECT_TRUE(authority_.Reopen(grant.slot));
  EXPECT_EQ(pool_.Word(grant.slot), FreeWord(grant.gen));
  EXPECT_TRUE(pool_.Bit(grant.slot));
  EXPECT_FALSE(authority_.Reopen(grant.slot));
}

TEST_F(AuthorityTest, AnImplausibleGenerationIsNeitherGrantedFromNorReopened) {
  const Generation far = kFirst + (Generation{1} << 30);
  pool_.SetWord(0, FreeWord(far));
  EXPECT_FALSE(authority_.GrantSlot(0, kOwnerDaemon, 0).has_value());
  pool_.SetWord(0, LockedWord(far));
  authority_.CollectReleased(events_);
  EXPECT_TRUE(events_.empty());
  EXPECT_FALSE(authority_.Reopen(0));
}

TEST_F(AuthorityTest, AGrantOnARewoundWordContinuesAboveEverythingSeen) {
  const SlotGrant first = Grant(kOwnerDaemon);
  authority_.TakeBack(first.slot, kOwnerDaemon, first.gen);
  pool_.SetWord(first.slot, FreeWord(3));
  const auto next = authority_.GrantSlot(first.slot, kOwnerDaemon, 0);
  ASSERT_TRUE(next.has_value());
  EXPECT_GT(next->gen, first.gen);
}

TEST_F(AuthorityTest, LocksAFreeSlotAtOnceAndUnlocksIt) {
  EXPECT_TRUE(authority_.Lock(0));
  EXPECT_EQ(pool_.Word(0), LockedWord(kFirst));
  EXPECT_FALSE(pool_.Bit(0));
  EXPECT_FALSE(authority_.GrantSlot(0, kSession, 0).has_value());
  EXPECT_FALSE(authority_.Reopen(0)) << "only Unlock ends an operator's lock";
  pool_.Enlist(1);
  authority_.Unlock(0);
  EXPECT_EQ(pool_.Word(0), FreeWord(kFirst));
  EXPECT_TRUE(pool_.Bit(0));
  EXPECT_EQ(pool_.wseq(), 1u);
}

TEST_F(AuthorityTest, ABusySlotDrainsAndIsNotGrantedAgainMeanwhile) {
  const SlotGrant grant = Grant(kSession);
  EXPECT_FALSE(authority_.Lock(grant.slot));
  EXPECT_FALSE(pool_.Bit(grant.slot));
  EXPECT_EQ(pool_.Word(grant.slot), BusyWord(kSession, grant.gen)) << "the holder keeps it";
  authority_.TakeBack(grant.slot, kSession, grant.gen);
  EXPECT_FALSE(pool_.Bit(grant.slot));
  authority_.Unlock(grant.slot);
  EXPECT_TRUE(pool_.Bit(grant.slot));
}

TEST_F(AuthorityTest, RestoresALeaseOverAFreeSlotOfAFreshSegmentUnderItsOwnToken) {
  authority_.Initialize(kFirst, false, 0);
  const FencingToken token = MakeToken(1, 40);  // its generation is of the lost segment
  EXPECT_TRUE(authority_.Restore(0, kOwnerDaemon, token, 5));
  EXPECT_EQ(pool_.Word(0), BusyWord(kOwnerDaemon, 40));
  EXPECT_FALSE(pool_.Bit(0));
  EXPECT_EQ(authority_.shadow(0).base_epoch, 1u);
  EXPECT_TRUE(authority_.TakeBack(0, kOwnerDaemon, 40));
  EXPECT_FALSE(pool_.Bit(0)) << "still recovering";
}

TEST_F(AuthorityTest, RestoreConfirmsAWordThatReadsSoAlready) {
  const SlotGrant grant = Grant(kSession);
  EXPECT_TRUE(authority_.Restore(grant.slot, kSession, MakeToken(1, grant.gen), 0));
  EXPECT_EQ(pool_.Word(grant.slot), BusyWord(kSession, grant.gen));
  EXPECT_TRUE(pool_.Bit(grant.slot));
}

TEST_F(AuthorityTest, RestoreNeverTakesASlotFromAnotherHolder) {
  const SlotGrant grant = Grant(kSession);
  EXPECT_FALSE(authority_.Restore(grant.slot, kOwnerDaemon, MakeToken(1, grant.gen + 9), 0));
  EXPECT_EQ(pool_.Word(grant.slot), BusyWord(kSession, grant.gen));
  EXPECT_TRUE(pool_.Bit(grant.slot)) << "as before";
}

TEST_F(AuthorityTest, RestoreRepairsADamagedWord) {
  const SlotGrant grant = Grant(kSession);
  pool_.SetWord(grant.slot, 0);
  EXPECT_TRUE(authority_.Restore(grant.slot, kSession, MakeToken(1, grant.gen), 0));
  EXPECT_EQ(pool_.Word(grant.slot), BusyWord(kSession, grant.gen));
}

TEST_F(AuthorityTest, ClosingTheGateWakesEverybodyAndOpeningOneAFreeSlot) {
  Grant(kSession);  // leaves one of the two free
  pool_.Enlist(4);
  authority_.SetGate(shm::Gate::kClosed);
  ASSERT_EQ(M::wakes.size(), 1u);
  EXPECT_EQ(M::wakes[0].count, shm::kWakeAll);
  M::wakes.clear();
  authority_.SetGate(shm::Gate::kOpen);
  ASSERT_EQ(M::wakes.size(), 1u);
  EXPECT_EQ(M::wakes[0].count, 1);
  authority_.SetGate(shm::Gate::kOpen);
  EXPECT_EQ(M::wakes.size(), 1u) << "no change, no wake";
}

TEST_F(AuthorityTest, FromOpenToNotifyNobodyIsWoken) {
  pool_.Enlist(2);
  authority_.SetGate(shm::Gate::kNotify);
  EXPECT_TRUE(M::wakes.empty());
  EXPECT_EQ(authority_.gate(), shm::Gate::kNotify);
}

TEST_F(AuthorityTest, AKickStartsANewRoundOfTheCount) {
  pool_.Enlist(3);
  const uint64_t before = M::Load(*pool_.words().wcnt);
  authority_.Kick(false);
  const uint64_t after = M::Load(*pool_.words().wcnt);
  EXPECT_EQ(WaiterCount(after), 0u);
  EXPECT_NE(WaiterRound(after), WaiterRound(before));
  ASSERT_EQ(M::wakes.size(), 1u);
  EXPECT_EQ(M::wakes[0].count, shm::kWakeAll);
  authority_.Kick(false);
  EXPECT_EQ(M::wakes.size(), 1u) << "nobody is enlisted";
  authority_.Kick(true);
  EXPECT_EQ(M::wakes.size(), 2u);
}

TEST_F(AuthorityTest, EndingSessionsTakesTheirSlotsAndNoOthers) {
  const SlotGrant mine = Grant(kSession);
  const SlotGrant other = Grant(kSession + 1);
  pool_.Enlist(1);
  const SessionIndex owners[] = {kSession, kSession + 5};
  authority_.EndSessions(owners, events_);
  EXPECT_EQ(pool_.Word(mine.slot), FreeWord(mine.gen));
  EXPECT_EQ(pool_.Word(other.slot), BusyWord(kSession + 1, other.gen));
  ASSERT_EQ(events_.size(), 1u);
  EXPECT_EQ(events_[0].slot, mine.slot);
  EXPECT_EQ(events_[0].owner, kSession);
  EXPECT_EQ(WaiterCount(M::Load(*pool_.words().wcnt)), 0u) << "kicked";
}

TEST_F(AuthorityTest, TheDaemonsOwnSlotsSurviveAnyEndOfSession) {
  const SlotGrant grant = Grant(kOwnerDaemon);
  const SessionIndex owners[] = {kOwnerNone, kOwnerDaemon, kOwnerCount, kOwnerCount + 7};
  authority_.EndSessions(owners, events_);
  EXPECT_EQ(pool_.Word(grant.slot), BusyWord(kOwnerDaemon, grant.gen));
  EXPECT_TRUE(events_.empty());
}

TEST_F(AuthorityTest, AdoptionBelievesWordsAndWithholdsWhatTheDaemonHeld) {
  const SlotGrant remote = Grant(kOwnerDaemon);
  const SlotGrant local = Grant(kSession);
  Authority<M> next(pool_.words(), 2);
  M::wakes.clear();
  next.Adopt(0);
  EXPECT_FALSE(pool_.Bit(remote.slot));
  EXPECT_TRUE(pool_.Bit(local.slot));
  ASSERT_FALSE(M::wakes.empty());
  EXPECT_EQ(M::wakes.back().count, shm::kWakeAll);
  EXPECT_TRUE(next.Restore(remote.slot, kOwnerDaemon, MakeToken(1, remote.gen), 0));
  EXPECT_TRUE(next.TakeBack(remote.slot, kOwnerDaemon, remote.gen));
  EXPECT_TRUE(pool_.Bit(remote.slot));
}

TEST_F(AuthorityTest, AdoptionGivesBackASlotWithheldByAWorkerThatDiedInAGrant) {
  M::Store(pool_.words().grant_bits[0], 0b10);  // between the bit and the CAS
  Authority<M> next(pool_.words(), 2);
  next.Adopt(0);
  EXPECT_TRUE(pool_.Bit(0));
}

TEST_F(AuthorityTest, AdoptionQuarantinesADamagedWord) {
  pool_.SetWord(0, 0);
  pool_.SetWord(1, FreeWord(kFirst) | uint64_t{1} << 51);
  Authority<M> next(pool_.words(), 2);
  next.SetEpoch(2);  // as every start does
  next.Adopt(0);
  EXPECT_FALSE(pool_.Bit(0));
  EXPECT_FALSE(pool_.Bit(1));
  EXPECT_FALSE(next.Grant(kOwnerDaemon, 0).has_value());
  next.Repair(0);
  EXPECT_TRUE(pool_.Bit(0));
  EXPECT_TRUE(IsGrantable(pool_.Word(0)));
  EXPECT_EQ(next.shadow(0).base_epoch, 2u) << "its numbering started again";
}

}  // namespace
}  // namespace leaseplane
