// SPDX-License-Identifier: Apache-2.0
//
// Remote leases: grants, renewals, releases, ends, tokens, durability.
#include "tests/unit/server/engine/engine_fixture.h"

namespace leaseplane::engine {
namespace {

class LeaseTest : public EngineTest {};

TEST_F(LeaseTest, AGrantIsInTheLedgerAndInTheWordWhenItIsAnswered) {
  Start();
  const Grant grant = MustAcquire();
  ASSERT_EQ(ledger_.leases.count(grant.lease.slot), 1u);
  EXPECT_EQ(ledger_.leases[grant.lease.slot].token, grant.lease.token);
  EXPECT_EQ(pool_->Word(grant.lease.slot), BusyWord(kOwnerDaemon, GenerationOf(grant.lease.token)));
  EXPECT_EQ(EpochOf(grant.lease.token), authority_->epoch());
  EXPECT_EQ(grant.lease.remaining_ns, options_.default_ttl_ns);
  EXPECT_EQ(grant.renew_interval_ns, options_.default_ttl_ns / 3);
}

TEST_F(LeaseTest, AFullPoolAnswersNoFreeSlotWithAHint) {
  Start();
  MustAcquire();
  MustAcquire();
  const AcquireAnswer answer = Acquire(Request());
  ASSERT_EQ(RefusalOf(answer), Reason::kNoFreeSlot);
  EXPECT_GT(std::get<Refusal>(answer).retry_after_ns, 0);
}

TEST_F(LeaseTest, TokensOfASlotStrictlyIncreaseOverBothPaths) {
  options_.capacity = 1;
  Start();
  FencingToken last = 0;
  for (int i = 0; i < 5; ++i) {
    const Grant grant = MustAcquire();
    EXPECT_GT(grant.lease.token, last);
    last = grant.lease.token;
    EXPECT_EQ(Release(grant), Reason::kNone);
    const SlotGrant local = MustLocalAcquire(kAlice);
    EXPECT_GT(MakeToken(authority_->epoch(), local.gen), last);
    last = MakeToken(authority_->epoch(), local.gen);
    EXPECT_TRUE(LocalRelease(kAlice, local));
  }
}

TEST_F(LeaseTest, ATtlOutsideThePoolsRangeIsRefusedWithTheFieldNamed) {
  options_.max_ttl_ns = kMinute;
  Start();
  AcquireRequest request = Request();
  request.ttl_ns = 2 * kMinute;
  const AcquireAnswer answer = Acquire(request);
  ASSERT_EQ(RefusalOf(answer), Reason::kInvalidArgument);
  EXPECT_EQ(std::get<Refusal>(answer).field, "ttl");
  EXPECT_TRUE(ledger_.leases.empty());
  const Grant grant = MustAcquire();
  EXPECT_EQ(ReasonIn(Renew(grant, 100 * kMillisecond)), Reason::kInvalidArgument);
}

TEST_F(LeaseTest, ReleasingTwiceAnswersTheSameAndFreesOnce) {
  Start();
  const Grant grant = MustAcquire();
  EXPECT_EQ(Release(grant), Reason::kNone);
  const SlotGrant local = MustLocalAcquire(kAlice);
  EXPECT_EQ(local.slot, grant.lease.slot);
  EXPECT_EQ(Release(grant), Reason::kNone);
  EXPECT_EQ(pool_->Word(local.slot), BusyWord(kAlice, local.gen)) << "the next holder is untouched";
  EXPECT_EQ(engine_->stats().released_remote, 1u);
}

TEST_F(LeaseTest, OnlyTheHolderWithTheRightTokenCanRenewOrRelease) {
  Start();
  const Grant grant = MustAcquire();
  HolderRef other = HolderOf(grant);
  other.principal = "mallory";
  EXPECT_EQ(ReasonIn(engine_->Release(now_, other, true, actions_)), Reason::kNotHolder);
  HolderRef stale = HolderOf(grant);
  --stale.token;
  EXPECT_EQ(ReasonIn(engine_->Renew(now_, now_.boot_ns, stale, 0, actions_)), Reason::kStaleToken);
  HolderRef unknown = HolderOf(grant);
  unknown.id.lo += 99;
  EXPECT_EQ(ReasonIn(engine_->Release(now_, unknown, false, actions_)), Reason::kNotFound);
  EXPECT_EQ(ReasonIn(engine_->Release(now_, unknown, true, actions_)), Reason::kNone);
  EXPECT_EQ(ReasonIn(Renew(grant)), Reason::kNone);
}

TEST_F(LeaseTest, ALeaseEndsOnlyAfterItsDeadlineAndTheGuard) {
  Start();
  const Grant grant = MustAcquire();
  const int64_t guard = kAgeOutGuard + options_.default_ttl_ns / 1000;
  Pass(options_.default_ttl_ns + guard - 60 * kMillisecond);
  EXPECT_TRUE(actions_.lease_ended.empty());
  EXPECT_EQ(StateAt(grant.lease.slot), SlotState::kBusy);
  Pass(120 * kMillisecond);
  ASSERT_EQ(actions_.lease_ended.size(), 1u);
  EXPECT_EQ(actions_.lease_ended[0].reason, Reason::kLeaseExpired);
  EXPECT_EQ(StateAt(grant.lease.slot), SlotState::kFree);
  EXPECT_TRUE(ledger_.leases.empty());
  EXPECT_EQ(Release(grant), Reason::kLeaseExpired);
  EXPECT_EQ(Release(grant, /*allow_missing=*/true), Reason::kNone);
}

TEST_F(LeaseTest, RenewAfterTheDeadlineFailsEvenBeforeTheSlotIsTaken) {
  Start();
  const Grant grant = MustAcquire();
  Pass(options_.default_ttl_ns);
  EXPECT_EQ(ReasonIn(Renew(grant)), Reason::kLeaseExpired);
  EXPECT_EQ(StateAt(grant.lease.slot), SlotState::kBusy);
}

TEST_F(LeaseTest, ALateReleaseFreesTheSlotButSaysThatItWasLate) {
  Start();
  const Grant grant = MustAcquire();
  Pass(options_.default_ttl_ns);
  EXPECT_EQ(Release(grant), Reason::kLeaseExpired);
  EXPECT_EQ(StateAt(grant.lease.slot), SlotState::kFree);
  EXPECT_EQ(engine_->stats().expired, 1u);
}

TEST_F(LeaseTest, ARenewalExtendsAndNeverShortens) {
  Start();
  AcquireRequest request = Request();
  request.ttl_ns = kMinute;
  const Grant grant = MustAcquire(request);
  Pass(10 * kSecond);
  const auto shorter = std::get<Renewed>(Renew(grant, 5 * kSecond));
  EXPECT_EQ(shorter.result.lease.remaining_ns, 50 * kSecond);
  EXPECT_GE(ledger_.leases[grant.lease.slot].ttl_ns, 50 * kSecond) << "a reboot must not shorten";
  const auto longer = std::get<Renewed>(Renew(grant, kMinute));
  EXPECT_EQ(longer.result.lease.remaining_ns, kMinute);
}

TEST_F(LeaseTest, MaxDurationCapsTheWholeLife) {
  options_.max_duration_ns = 20 * kSecond;
  Start();
  const Grant grant = MustAcquire();
  Pass(14 * kSecond);
  const auto renewed = std::get<Renewed>(Renew(grant));
  EXPECT_EQ(renewed.result.lease.remaining_ns, 6 * kSecond);
}

TEST_F(LeaseTest, QueuedDurationPlusRemainingNeverPromisesMoreThanTheDeadline) {
  Start();
  const Grant grant = MustAcquire();
  const int64_t received = now_.boot_ns;
  Jump(3 * kSecond);
  const auto renewed =
      std::get<Renewed>(engine_->Renew(now_, received, HolderOf(grant), 0, actions_));
  EXPECT_EQ(renewed.result.queued_ns, 3 * kSecond);
  EXPECT_LE(received + renewed.result.queued_ns + renewed.result.lease.remaining_ns,
            ledger_.leases[grant.lease.slot].deadline_at_ns);
}

TEST_F(LeaseTest, TheSameRequestIdGetsTheSameLeaseWhileItLives) {
  Start();
  const Grant first = MustAcquire(Request(0, 42));
  Jump(kSecond);
  const Grant again = MustAcquire(Request(0, 42));
  EXPECT_EQ(again.lease.id, first.lease.id);
  EXPECT_EQ(again.lease.token, first.lease.token);
  EXPECT_EQ(again.lease.remaining_ns, first.lease.remaining_ns - kSecond);
  EXPECT_EQ(ledger_.leases.size(), 1u);
  AcquireRequest other = Request(0, 42);
  other.body_hash = 8;
  EXPECT_EQ(RefusalOf(Acquire(other)), Reason::kRequestIdConflict);
  AcquireRequest stranger = Request(0, 42);
  stranger.principal = "somebody";
  EXPECT_NE(MustAcquire(stranger).lease.id, first.lease.id) << "an id is the principal's own";
}

TEST_F(LeaseTest, TheRequestIdOfAnEndedLeaseAnswersHowItEnded) {
  Start();
  const Grant released = MustAcquire(Request(0, 1));
  Release(released);
  EXPECT_EQ(RefusalOf(Acquire(Request(0, 1))), Reason::kLeaseReleased);
  const Grant revoked = MustAcquire(Request(0, 2));
  engine_->Revoke(now_, revoked.lease.id, 0, actions_);
  EXPECT_EQ(RefusalOf(Acquire(Request(0, 2))), Reason::kLeaseRevoked);
  MustAcquire(Request(0, 3));
  Pass(kMinute);
  EXPECT_EQ(RefusalOf(Acquire(Request(0, 3))), Reason::kLeaseExpired);
}

TEST_F(LeaseTest, TombstonesAreKeptTenMinutesAndBoundedInNumber) {
  ledger_.tombstones_max = 4;
  Start();
  const Grant first = MustAcquire();
  Release(first);
  Pass(kTombstoneKeep - kSecond);
  EXPECT_EQ(ReasonIn(engine_->GetLease(now_, first.lease.id)), Reason::kNone);
  Pass(2 * kSecond);
  EXPECT_EQ(ReasonIn(engine_->GetLease(now_, first.lease.id)), Reason::kNotFound);
  std::vector<Grant> grants;
  for (int i = 0; i < 5; ++i) {
    grants.push_back(MustAcquire());
    Release(grants.back());
  }
  EXPECT_EQ(ReasonIn(engine_->GetLease(now_, grants[0].lease.id)), Reason::kNotFound);
  EXPECT_EQ(ReasonIn(engine_->GetLease(now_, grants[1].lease.id)), Reason::kNone);
}

TEST_F(LeaseTest, AClientsLeasesAndWaitersTogetherStayBelowItsQuota) {
  options_.capacity = 4;
  options_.max_leases_per_client = 2;
  Start();
  const Grant grant = MustAcquire();
  MustAcquire();
  EXPECT_EQ(RefusalOf(Acquire(Request())), Reason::kClientQuota);
  AcquireRequest other = Request();
  other.client_id = "other";
  MustAcquire(other);
  Release(grant);
  MustAcquire();
}

TEST_F(LeaseTest, AnAbandonedGrantIsReleasedUnlessItsRequestHasAnId) {
  Start();
  const Grant anonymous = MustAcquire();
  const Grant named = MustAcquire(Request(0, 5));
  engine_->Abandon(now_, anonymous, actions_);
  engine_->Abandon(now_, named, actions_);
  EXPECT_EQ(StateAt(anonymous.lease.slot), SlotState::kFree);
  EXPECT_EQ(StateAt(named.lease.slot), SlotState::kBusy);
}

TEST_F(LeaseTest, AGrantThatIsGivenBackLeavesItsRequestIdFree) {
  Start();
  const Grant untold = MustAcquire(Request(0, 5));
  engine_->GiveBack(now_, untold, actions_);
  EXPECT_EQ(StateAt(untold.lease.slot), SlotState::kFree);
  EXPECT_EQ(ReasonIn(Renew(untold)), Reason::kLeaseReleased);
  const Grant told = MustAcquire(Request(0, 5));
  EXPECT_FALSE(told.lease.id == untold.lease.id);
  EXPECT_EQ(MustAcquire(Request(0, 5)).lease.token, told.lease.token);
  engine_->GiveBack(now_, untold, actions_);
  EXPECT_EQ(ReasonIn(Renew(told)), Reason::kNone) << "another lease of the request";
}

TEST_F(LeaseTest, RevokeWithGraceTellsTheHolderFirst) {
  options_.lock_delay_ns = 5 * kSecond;
  Start();
  const Grant grant = MustAcquire();
  EXPECT_EQ(ReasonIn(engine_->Revoke(now_, grant.lease.id, 10 * kSecond, actions_)), Reason::kNone);
  ASSERT_EQ(actions_.revoke_requested.size(), 1u);
  EXPECT_EQ(actions_.revoke_requested[0].grace_ns, 10 * kSecond);
  Pass(9 * kSecond);
  EXPECT_EQ(StateAt(grant.lease.slot), SlotState::kBusy);
  EXPECT_EQ(engine_->NextDeadlineNs(), now_.boot_ns + kSecond);
  Pass(kSecond);
  ASSERT_EQ(actions_.lease_ended.size(), 1u);
  EXPECT_EQ(actions_.lease_ended[0].reason, Reason::kLeaseRevoked);
  EXPECT_EQ(StateAt(grant.lease.slot), SlotState::kLocked) << "lock_delay";
  Pass(5 * kSecond);
  EXPECT_EQ(StateAt(grant.lease.slot), SlotState::kFree);
  EXPECT_EQ(ReasonIn(Renew(grant)), Reason::kLeaseRevoked);
}

TEST_F(LeaseTest, AShorterGraceEndsAPendingRevocationEarlierAndRenewalsDoNotMoveIt) {
  Start();
  const Grant grant = MustAcquire();
  engine_->Revoke(now_, grant.lease.id, kMinute, actions_);
  engine_->Revoke(now_, grant.lease.id, 20 * kSecond, actions_);
  engine_->Revoke(now_, grant.lease.id, 50 * kSecond, actions_);
  for (int i = 0; i < 3; ++i) {
    Pass(6 * kSecond);
    Renew(grant);
  }
  EXPECT_EQ(StateAt(grant.lease.slot), SlotState::kBusy);
  Pass(3 * kSecond);
  ASSERT_EQ(actions_.lease_ended.size(), 1u);
  EXPECT_EQ(actions_.lease_ended[0].reason, Reason::kLeaseRevoked);
}

TEST_F(LeaseTest, ARevocationUnderWaySurvivesTheWorker) {
  Start();
  const Grant grant = MustAcquire();
  engine_->Revoke(now_, grant.lease.id, 20 * kSecond, actions_);
  Pass(5 * kSecond);
  RestartAdopting();
  const auto lease = engine_->GetLease(now_, grant.lease.id);
  EXPECT_EQ(std::get<LeaseInfo>(lease).revoke_in_ns, 15 * kSecond);
  Pass(14 * kSecond);
  EXPECT_EQ(ReasonIn(Renew(grant)), Reason::kNone);
  Pass(2 * kSecond);
  EXPECT_EQ(ReasonIn(Renew(grant)), Reason::kLeaseRevoked);
  EXPECT_EQ(StateAt(grant.lease.slot), SlotState::kFree);
}

TEST_F(LeaseTest, ThePendingRevocationOfAReleasedLeaseDoesNotHurtTheNextHolder) {
  options_.capacity = 1;
  Start();
  const Grant first = MustAcquire();
  engine_->Revoke(now_, first.lease.id, 5 * kSecond, actions_);
  Release(first);
  MustAcquire();
  Pass(6 * kSecond);
  EXPECT_EQ(ledger_.leases.size(), 1u);
}

TEST_F(LeaseTest, WhenTheDaemonItselfWasAwayLeasesGetThatTimeBack) {
  Start();
  const Grant long_gap = MustAcquire();
  Jump(40 * kSecond);
  engine_->Tick(now_, 40 * kSecond, actions_);
  EXPECT_EQ(StateAt(long_gap.lease.slot), SlotState::kFree) << "the extension is 15 s at most";
  const Grant timer_first = MustAcquire();
  Jump(16 * kSecond);
  engine_->OnTimer(now_, actions_);
  EXPECT_EQ(StateAt(timer_first.lease.slot), SlotState::kBusy);
  Jump(kMillisecond);
  engine_->Tick(now_, 16 * kSecond, actions_);
  EXPECT_EQ(ReasonIn(Renew(timer_first)), Reason::kNone);
  Jump(16 * kSecond);
  EXPECT_EQ(ReasonIn(Renew(timer_first)), Reason::kNone) << "the renewal itself came first";
}

TEST_F(LeaseTest, CheckTokenIsTrueForThePresentHolderOnly) {
  Start();
  const Grant grant = MustAcquire();
  const SlotIndex slot = grant.lease.slot;
  EXPECT_TRUE(std::get<TokenCheck>(engine_->CheckToken(slot, grant.lease.token)).valid);
  EXPECT_FALSE(std::get<TokenCheck>(engine_->CheckToken(slot, grant.lease.token - 1)).valid);
  const SlotIndex other = 1 - slot;
  EXPECT_FALSE(std::get<TokenCheck>(engine_->CheckToken(other, grant.lease.token)).valid);
  EXPECT_EQ(std::get<TokenCheck>(engine_->CheckToken(other, 1)).current_token, 0)
      << "never granted";
  Release(grant);
  const auto after = std::get<TokenCheck>(engine_->CheckToken(slot, grant.lease.token));
  EXPECT_FALSE(after.valid);
  EXPECT_EQ(after.current_token, grant.lease.token);
  const SlotGrant local = MustLocalAcquire(kAlice);
  const FencingToken token = MakeToken(authority_->epoch(), local.gen);
  EXPECT_TRUE(std::get<TokenCheck>(engine_->CheckToken(local.slot, token)).valid);
  EXPECT_FALSE(
      std::get<TokenCheck>(engine_->CheckToken(local.slot, MakeToken(99, local.gen))).valid);
  EXPECT_EQ(ReasonIn(engine_->CheckToken(2, token)), Reason::kNotFound);
}

TEST_F(LeaseTest, ListsShowLeasesOfBothPaths) {
  options_.resources = {"gpu-a", "gpu-b"};
  Start();
  const Grant grant = MustAcquire();
  const SlotGrant local = MustLocalAcquire(kBob);
  Pass(2 * kSecond);
  const auto leases = engine_->ListLeases(now_, 0, 10);
  ASSERT_EQ(leases.size(), 2u);
  EXPECT_EQ(leases[0].id, grant.lease.id);
  EXPECT_EQ(leases[0].resource, "gpu-a");
  EXPECT_EQ(leases[1].path, LeasePath::kLocal);
  EXPECT_EQ(leases[1].principal, "uid:1003");
  EXPECT_EQ(leases[1].token, MakeToken(authority_->epoch(), local.gen));
  EXPECT_NEAR(static_cast<double>(leases[1].acquired_unix_ns),
              static_cast<double>(now_.unix_ns - 2 * kSecond), 1e8);
  EXPECT_EQ(engine_->ListLeases(now_, 1, 10).size(), 1u);
  EXPECT_EQ(engine_->ListLeases(now_, 0, 1).size(), 1u);
  EXPECT_EQ(ReasonIn(engine_->GetLocalLease(now_, 1, leases[1].token)), Reason::kNone);
  EXPECT_EQ(ReasonIn(engine_->GetLocalLease(now_, 0, grant.lease.token)), Reason::kNotFound);
  const PoolCounts counts = engine_->Counts();
  EXPECT_EQ(counts.busy_local, 1u);
  EXPECT_EQ(counts.busy_remote, 1u);
  EXPECT_EQ(counts.free, 0u);
}

}  // namespace
}  // namespace leaseplane::engine
