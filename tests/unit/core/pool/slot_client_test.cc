// SPDX-License-Identifier: Apache-2.0
#include "core/pool/slot_client.h"

#include <gtest/gtest.h>

#include <functional>

#include "tests/unit/core/pool/heap_pool.h"

namespace leaseplane {
namespace {

using M = RecordingMemory;
constexpr SessionIndex kMe = 5;

class SlotClientTest : public testing::Test {
 protected:
  SlotClientTest() {
    authority_.Initialize(kFirst, true, 0);
    M::wakes.clear();
  }
  LocalGrant Take() {
    LocalGrant grant;
    EXPECT_EQ(client_.Try(grant), TryResult::kOk);
    return grant;
  }
  size_t WakesOf(const M::U32* word) const {
    size_t n = 0;
    for (const M::Wake& wake : M::wakes) n += wake.word == word;
    return n;
  }

  static constexpr Generation kFirst = 10;
  HeapPool<M> pool_{2};
  Authority<M> authority_{pool_.words(), 2};
  HeapClient<M> client_{pool_, kMe};
};

TEST_F(SlotClientTest, TakesAFreeSlotUnderTheNextGeneration) {
  const LocalGrant grant = Take();
  EXPECT_EQ(grant.slot, 0u);
  EXPECT_EQ(grant.token, MakeToken(1, kFirst + 1));
  EXPECT_EQ(pool_.Word(0), BusyWord(kMe, kFirst + 1));
  EXPECT_TRUE(StillHeld(client_.attachment, client_.flags, grant.slot, grant.token));
}

TEST_F(SlotClientTest, SaysNoneWhenEverySlotIsTaken) {
  Take();
  Take();
  LocalGrant grant;
  EXPECT_EQ(client_.Try(grant), TryResult::kNone);
}

// Else an idle thread would vouch for ever for a grant to its process that came to nothing.
TEST_F(SlotClientTest, NamesNoSlotToTheAuditAfterATryThatFoundNone) {
  client_.Release(Take());
  for (const SlotIndex slot : {0u, 1u}) {
    pool_.SetWord(slot, BusyWord(kMe, GenerationOfWord(pool_.Word(slot)) + 1));
  }
  LocalGrant grant;
  ASSERT_EQ(client_.Try(grant), TryResult::kNone);
  for (const SlotIndex slot : {0u, 1u}) {
    EXPECT_EQ(client_.claims.Audit(slot, GenerationOfWord(pool_.Word(slot))), 0u) << slot;
  }
  ASSERT_EQ(TryAcquireExhaustive(client_.thread, false, grant), TryResult::kNone);
  pool_.SetGate(shm::Gate::kClosed);
  ASSERT_EQ(client_.Try(grant), TryResult::kGateClosed);
  EXPECT_EQ(M::Load(client_.record.pending), 0u);
}

// A lease that was declared anew keeps its token over a change of the pool's epoch.
TEST_F(SlotClientTest, GivesBackUnderATokenOfAnotherEpoch) {
  client_.Release(Take());
  LocalGrant grant = Take();
  grant.token = MakeToken(3, GenerationOf(grant.token));
  EXPECT_EQ(client_.Release(grant), ReleaseResult::kOk);
  EXPECT_EQ(pool_.Word(grant.slot), FreeWord(GenerationOf(grant.token)));
}

TEST_F(SlotClientTest, GivesASlotBackAndWakesNobodyWhenNobodyWaits) {
  const LocalGrant grant = Take();
  EXPECT_EQ(client_.Release(grant), ReleaseResult::kOk);
  EXPECT_EQ(pool_.Word(0), FreeWord(kFirst + 1));
  EXPECT_TRUE(M::wakes.empty());
  EXPECT_EQ(pool_.wseq(), 0u);
  EXPECT_FALSE(StillHeld(client_.attachment, client_.flags, grant.slot, grant.token));
}

TEST_F(SlotClientTest, ASecondReleaseIsStaleAndChangesNothing) {
  const LocalGrant grant = Take();
  client_.Release(grant);
  pool_.Enlist(1);
  EXPECT_EQ(client_.Release(grant), ReleaseResult::kStale);
  EXPECT_EQ(pool_.Word(0), FreeWord(kFirst + 1));
  EXPECT_TRUE(M::wakes.empty());
}

TEST_F(SlotClientTest, AnOldTokenDoesNotReleaseTheNextHold) {
  const LocalGrant old = Take();
  client_.Release(old);
  const LocalGrant next = Take();
  ASSERT_EQ(next.slot, old.slot);
  EXPECT_GT(next.token, old.token);
  EXPECT_EQ(client_.Release(old), ReleaseResult::kStale);
  EXPECT_EQ(pool_.Word(0), BusyWord(kMe, GenerationOf(next.token)));
}

// A lease that was taken back is given back when the slot has been taken and given back again: by
// the fast path, the other one, and the library's thread.
TEST_F(SlotClientTest, ALateReleaseOfALeaseTakenBackLeavesNoHold) {
  const std::function<ReleaseResult(const LocalGrant&)> ways[] = {
      [this](const LocalGrant& g) { return client_.Release(g); },
      [this](const LocalGrant& g) { return ReleaseWarily(client_.thread, g.slot, g.token); },
      [this](const LocalGrant& g) {
        return ReleaseForOthers(client_.attachment, client_.flags, client_.claims, g.slot, g.token);
      }};
  for (const auto& release : ways) {
    const LocalGrant old = Take();
    ASSERT_TRUE(authority_.TakeBack(old.slot, kMe, GenerationOf(old.token)));
    const LocalGrant next = Take();
    ASSERT_EQ(next.slot, old.slot);
    ASSERT_EQ(client_.Release(next), ReleaseResult::kOk);
    EXPECT_EQ(release(old), ReleaseResult::kStale);
    EXPECT_EQ(client_.claims.HeldToken(old.slot), 0) << &release - ways;
  }
}

TEST_F(SlotClientTest, AnotherSessionCannotReleaseTheHold) {
  const LocalGrant grant = Take();
  HeapClient<M> other(pool_, kMe + 1);
  EXPECT_EQ(other.Release(grant), ReleaseResult::kStale);
}

TEST_F(SlotClientTest, AReleaseWakesOneWaiter) {
  const LocalGrant grant = Take();
  pool_.Enlist(3);
  client_.Release(grant);
  EXPECT_EQ(pool_.wseq(), 1u);
  ASSERT_EQ(M::wakes.size(), 1u);
  EXPECT_EQ(M::wakes[0].word, pool_.words().wseq);
  EXPECT_EQ(M::wakes[0].count, 1);
  EXPECT_EQ(pool_.dseq(), 0u);
}

TEST_F(SlotClientTest, UnderAClosedGateAReleaseWakesTheDaemonAlone) {
  const LocalGrant grant = Take();
  pool_.Enlist(1);
  pool_.SetGate(shm::Gate::kClosed);
  client_.Release(grant);
  EXPECT_EQ(pool_.dseq(), 1u);
  EXPECT_EQ(WakesOf(pool_.words().dseq), 1u);
  EXPECT_EQ(pool_.wseq(), 0u);
}

TEST_F(SlotClientTest, UnderNotifyAReleaseWakesTheDaemonAndAWaiter) {
  const LocalGrant grant = Take();
  pool_.Enlist(1);
  pool_.SetGate(shm::Gate::kNotify);
  client_.Release(grant);
  EXPECT_EQ(pool_.dseq(), 1u);
  EXPECT_EQ(pool_.wseq(), 1u);
}

TEST_F(SlotClientTest, AVoidGateAddsTheLocalWakeAndKeepsTheDaemons) {
  const LocalGrant grant = Take();
  pool_.Enlist(1);
  pool_.SetGate(shm::Gate::kClosed);
  client_.flags.Set(ProcessFlags<M>::kGateVoid, true);
  client_.Release(grant);
  EXPECT_EQ(pool_.dseq(), 1u);
  EXPECT_EQ(pool_.wseq(), 1u);
}

TEST_F(SlotClientTest, AClosedGateIsHonouredUnlessItIsVoid) {
  pool_.SetGate(shm::Gate::kClosed);
  LocalGrant grant;
  EXPECT_EQ(client_.Try(grant), TryResult::kGateClosed);
  EXPECT_EQ(pool_.Word(0), FreeWord(kFirst));
  client_.flags.Set(ProcessFlags<M>::kGateVoid, true);
  EXPECT_EQ(client_.Try(grant), TryResult::kOk);
}

TEST_F(SlotClientTest, ReleasesIntoLockedWhereThePoolSaysSo) {
  authority_.SetReleaseWord(shm::ReleaseWord::kLocked);
  const LocalGrant grant = Take();
  pool_.Enlist(1);
  client_.Release(grant);
  EXPECT_EQ(pool_.Word(0), LockedWord(kFirst + 1));
  EXPECT_EQ(pool_.dseq(), 1u);
  EXPECT_EQ(pool_.wseq(), 0u);
}

TEST_F(SlotClientTest, AWithheldSlotIsPassedOver) {
  ASSERT_TRUE(authority_.Lock(0));
  EXPECT_EQ(Take().slot, 1u);
}

TEST_F(SlotClientTest, ARevokedSessionIsGoneAndLeavesNothingTaken) {
  pool_.Revoke(kMe);
  LocalGrant grant;
  EXPECT_EQ(client_.Try(grant), TryResult::kGone);
  EXPECT_EQ(StateOf(pool_.Word(0)), SlotState::kFree);
  EXPECT_EQ(GenerationOfWord(pool_.Word(0)), kFirst + 1) << "an undone grant keeps its number";
}

TEST_F(SlotClientTest, UndoWakesLikeARelease) {
  pool_.Revoke(kMe);
  pool_.Enlist(1);
  LocalGrant grant;
  client_.Try(grant);
  EXPECT_EQ(pool_.wseq(), 1u);
}

TEST_F(SlotClientTest, UndoWritesFreeEvenWhereReleasesWriteLocked) {
  authority_.SetReleaseWord(shm::ReleaseWord::kLocked);
  pool_.Revoke(kMe);
  LocalGrant grant;
  client_.Try(grant);
  EXPECT_EQ(StateOf(pool_.Word(0)), SlotState::kFree);
}

TEST_F(SlotClientTest, AnAttachmentThatIsNotPresentTakesNothing) {
  client_.flags.BumpAttachGen();
  LocalGrant grant;
  EXPECT_EQ(client_.Try(grant), TryResult::kMoved);
  EXPECT_EQ(StateOf(pool_.Word(0)), SlotState::kFree);
}

TEST_F(SlotClientTest, ADeadSegmentGrantsNothingAndHoldsNothing) {
  const LocalGrant grant = Take();
  client_.flags.Set(ProcessFlags<M>::kSegmentDead, true);
  EXPECT_FALSE(StillHeld(client_.attachment, client_.flags, grant.slot, grant.token));
  LocalGrant other;
  EXPECT_EQ(client_.Try(other), TryResult::kMoved);
}

TEST_F(SlotClientTest, AReleaseDuringReDeclarationSaysSo) {
  const LocalGrant grant = Take();
  client_.flags.BumpAttachGen();
  EXPECT_EQ(client_.Release(grant), ReleaseResult::kMoved);
  EXPECT_EQ(pool_.Word(0), FreeWord(kFirst + 1));
}

TEST_F(SlotClientTest, DamagedWordsAreNeverTaken) {
  pool_.SetWord(0, 0);
  pool_.SetWord(1, FreeWord(3) | uint64_t{1} << 55);
  LocalGrant grant;
  EXPECT_EQ(client_.Try(grant), TryResult::kNone);
}

}  // namespace
}  // namespace leaseplane
