// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>

#include "core/pool/authority.h"
#include "tests/unit/core/pool/heap_pool.h"

namespace leaseplane {
namespace {

using M = RecordingMemory;
constexpr SessionIndex kActive = 7;
constexpr SessionIndex kEnded = 8;
constexpr Generation kFirst = 100;
constexpr int64_t kTickNs = 50'000'000;

class AuthorityScanTest : public testing::Test {
 protected:
  AuthorityScanTest() {
    authority_.Initialize(kFirst, true, 0);
    M::wakes.clear();
  }
  const ScanReport& Scan() {
    now_ns_ += kTickNs;
    authority_.Scan(
        now_ns_, kTickNs, [](SessionIndex s) { return s == kActive; }, report_);
    return report_;
  }
  SlotGrant Grant(SessionIndex owner) { return authority_.Grant(owner, now_ns_).value(); }
  bool Found(SlotIndex slot, SlotFinding finding) const {
    return std::any_of(report_.events.begin(), report_.events.end(),
                       [&](const SlotEvent& e) { return e.slot == slot && e.finding == finding; });
  }

  HeapPool<M> pool_{4};
  Authority<M> authority_{pool_.words(), 3};
  ScanReport report_;
  int64_t now_ns_ = 0;
};

TEST_F(AuthorityScanTest, CountsWhatItSees) {
  Grant(kOwnerDaemon);
  Grant(kActive);
  Scan();
  EXPECT_EQ(report_.free, 1u);
  EXPECT_EQ(report_.busy_daemon, 1u);
  EXPECT_EQ(report_.busy_local, 1u);
  EXPECT_EQ(report_.locked, 0u);
  EXPECT_EQ(report_.violations, 0u);
  EXPECT_TRUE(report_.events.empty());
}

TEST_F(AuthorityScanTest, CountsGrantsOfClientsOnce) {
  pool_.SetWord(0, FreeWord(kFirst + 1000));  // as a thousand grants and releases leave it
  EXPECT_EQ(Scan().acquired_delta, 1000u);
  EXPECT_EQ(Scan().acquired_delta, 0u);
}

TEST_F(AuthorityScanTest, CountsGrantsThatTheDaemonCameAcrossBetweenScans) {
  pool_.SetWord(0, FreeWord(kFirst + 10));
  const auto grant = authority_.GrantSlot(0, kOwnerDaemon, 0);
  ASSERT_TRUE(grant.has_value());
  EXPECT_EQ(Scan().acquired_delta, 10u);
}

TEST_F(AuthorityScanTest, TakesBackWhatASessionThatIsNotActiveHolds) {
  const SlotGrant grant = Grant(kEnded);
  Grant(kActive);
  Grant(kActive);
  pool_.Enlist(1);
  Scan();
  EXPECT_TRUE(Found(grant.slot, SlotFinding::kOrphan));
  EXPECT_EQ(pool_.Word(grant.slot), FreeWord(grant.gen));
  EXPECT_EQ(pool_.wseq(), 1u);
  EXPECT_EQ(report_.violations, 0u);
}

TEST_F(AuthorityScanTest, ADaemonWordWithoutAGrantIsDamageAndTakenBack) {
  pool_.SetWord(0, BusyWord(kOwnerDaemon, kFirst + 1));
  Scan();
  EXPECT_EQ(report_.violations, 1u);
  EXPECT_TRUE(Found(0, SlotFinding::kOrphan));
  EXPECT_EQ(StateOf(pool_.Word(0)), SlotState::kFree);
}

TEST_F(AuthorityScanTest, TheDaemonsHoldIsWrittenAgainWhateverWasWrittenOverIt) {
  const SlotGrant grant = Grant(kOwnerDaemon);
  for (SlotWord word : {FreeWord(grant.gen), BusyWord(kActive, grant.gen + 1), uint64_t{0},
                        LockedWord(grant.gen), ~uint64_t{0}}) {
    pool_.SetWord(grant.slot, word);
    M::Store(pool_.words().grant_bits[0], ~uint64_t{0});
    Scan();
    EXPECT_EQ(report_.violations, 1u);
    EXPECT_EQ(pool_.Word(grant.slot), BusyWord(kOwnerDaemon, grant.gen));
    EXPECT_FALSE(pool_.Bit(grant.slot));
  }
  EXPECT_EQ(Scan().violations, 0u);
}

TEST_F(AuthorityScanTest, EveryKindOfDamageIsQuarantinedAndCountedOnce) {
  const Generation far = kFirst + (Generation{1} << 26) + 1;
  for (SlotWord word : {SlotWord{0}, FreeWord(kFirst) | uint64_t{1} << 50, FreeWord(kFirst - 1),
                        FreeWord(far), BusyWord(kActive, far), BusyWord(kActive, kFirst - 1),
                        LockedWord(far), MakeWord(SlotState::kFree, kActive, kFirst),
                        MakeWord(SlotState::kBusy, kOwnerNone, kFirst + 1), ~uint64_t{0}}) {
    authority_.Initialize(kFirst, true, 0);
    pool_.SetWord(1, word);
    Scan();
    EXPECT_EQ(report_.violations, 1u) << std::hex << word;
    EXPECT_EQ(report_.invalid, 1u);
    EXPECT_TRUE(Found(1, SlotFinding::kInvalid)) << std::hex << word;
    EXPECT_FALSE(pool_.Bit(1));
    Scan();
    EXPECT_EQ(report_.violations, 0u);
    EXPECT_EQ(report_.invalid, 1u);
    EXPECT_FALSE(authority_.GrantSlot(1, kOwnerDaemon, 0).has_value());
  }
}

TEST_F(AuthorityScanTest, ARepairedSlotIsNumberedFarAboveEverythingSeen) {
  pool_.SetWord(1, 0);
  Scan();
  pool_.Enlist(1);
  authority_.Repair(1);
  EXPECT_EQ(pool_.Word(1), FreeWord(kFirst + (Generation{1} << 30)));
  EXPECT_TRUE(pool_.Bit(1));
  EXPECT_EQ(pool_.wseq(), 1u);
  EXPECT_EQ(Scan().violations, 0u);
}

TEST_F(AuthorityScanTest, TheFirstDaemonGrantAfterDamageSkipsGenerations) {
  const SlotGrant grant = Grant(kOwnerDaemon);
  pool_.SetWord(grant.slot, FreeWord(grant.gen));
  Scan();
  authority_.TakeBack(grant.slot, kOwnerDaemon, grant.gen);
  const auto next = authority_.GrantSlot(grant.slot, kOwnerDaemon, 0);
  ASSERT_TRUE(next.has_value());
  EXPECT_EQ(next->gen, grant.gen + (Generation{1} << 30));
}

TEST_F(AuthorityScanTest, ADrainingSlotIsLockedOnceItsHolderHasGone) {
  const SlotGrant grant = Grant(kActive);
  EXPECT_FALSE(authority_.Lock(grant.slot));
  EXPECT_TRUE(Scan().events.empty());
  pool_.SetWord(grant.slot, FreeWord(grant.gen));  // as the client's release does
  Scan();
  EXPECT_TRUE(Found(grant.slot, SlotFinding::kDrainDone));
  EXPECT_EQ(pool_.Word(grant.slot), LockedWord(grant.gen));
  EXPECT_TRUE(Scan().events.empty());
}

TEST_F(AuthorityScanTest, ASlotReleasedIntoLockedIsReportedOnce) {
  pool_.SetWord(0, LockedWord(kFirst + 1));
  Scan();
  EXPECT_TRUE(Found(0, SlotFinding::kReleasedLocked));
  EXPECT_FALSE(pool_.Bit(0));
  EXPECT_TRUE(Scan().events.empty());
  EXPECT_TRUE(authority_.Reopen(0));
  pool_.SetWord(0, LockedWord(kFirst + 2));
  Scan();
  EXPECT_TRUE(Found(0, SlotFinding::kReleasedLocked)) << "another release";
}

TEST_F(AuthorityScanTest, AFreeSlotBesideAWaiterIsAWakeAtTheSecondScanAndAKickAtTheFifth) {
  Scan();
  pool_.Enlist(1);
  M::wakes.clear();
  for (int i = 0; i < 3; ++i) Scan();
  EXPECT_EQ(M::wakes.size(), 3u);
  EXPECT_EQ(M::wakes.back().count, 1);
  Scan();
  EXPECT_EQ(M::wakes.back().count, shm::kWakeAll);
  EXPECT_EQ(WaiterCount(M::Load(*pool_.words().wcnt)), 0u);
}

TEST_F(AuthorityScanTest, SlotsBeyondTheCapacityAreNeverOffered) {
  Scan();
  pool_.SetWord(3, FreeWord(kFirst));
  EXPECT_EQ(Scan().free, 3u);
  EXPECT_FALSE(pool_.Bit(3));
}

TEST_F(AuthorityScanTest, RemembersWhenAHoldWasFirstSeen) {
  Scan();
  pool_.SetWord(0, BusyWord(kActive, kFirst + 1));
  Scan();
  const int64_t first_ns = now_ns_;
  Scan();
  EXPECT_EQ(authority_.shadow(0).first_seen_ns, first_ns);
}

}  // namespace
}  // namespace leaseplane
