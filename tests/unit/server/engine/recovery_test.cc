// SPDX-License-Identifier: Apache-2.0
//
// Restarts: what the ledger says, what the words say, what sessions claim.
#include "tests/unit/server/engine/engine_fixture.h"

namespace leaseplane::engine {
namespace {

class RecoveryTest : public EngineTest {};

TEST_F(RecoveryTest, AnAdoptedSegmentKeepsLeasesOfBothPaths) {
  options_.capacity = 3;
  Start();
  const Grant remote = MustAcquire(Request(0, 3));
  const SlotGrant local = MustLocalAcquire(kAlice);
  const SlotWord remote_word = pool_->Word(remote.lease.slot);
  RestartAdopting();
  EXPECT_EQ(report_.leases_restored, 1u);
  EXPECT_EQ(report_.integrity_violations, 0u);
  EXPECT_EQ(pool_->Word(remote.lease.slot), remote_word);
  EXPECT_EQ(pool_->Word(local.slot), BusyWord(kAlice, local.gen));
  EXPECT_EQ(MustAcquire(Request(0, 3)).lease.token, remote.lease.token) << "for its whole life";
  EXPECT_TRUE(std::get<TokenCheck>(engine_->CheckToken(local.slot, MakeToken(1, local.gen))).valid)
      << "granted in the epoch before";
  EXPECT_EQ(ReasonIn(Renew(remote)), Reason::kNone);
  EXPECT_TRUE(LocalRelease(kAlice, local));
  const Grant next = MustAcquire();
  EXPECT_GT(next.lease.token, MakeToken(2, 0));
}

TEST_F(RecoveryTest, AGrantThatNeverReachedTheLedgerIsFreed) {
  Start();
  const Grant answered = MustAcquire();
  ASSERT_TRUE(authority_->Grant(kOwnerDaemon, now_.boot_ns).has_value());  // killed here
  RestartAdopting();
  EXPECT_EQ(report_.words_freed, 1u);
  EXPECT_EQ(engine_->Counts().free, 1u);
  EXPECT_EQ(StateAt(answered.lease.slot), SlotState::kBusy);
  MustAcquire();
}

TEST_F(RecoveryTest, AReleaseThatReachedTheLedgerOnlyIsFinished) {
  Start();
  const Grant grant = MustAcquire();
  ledger_.EndLease(grant.lease.slot, LeaseState::kReleased, now_);  // killed before the word
  RestartAdopting();
  EXPECT_EQ(report_.words_freed, 1u);
  EXPECT_EQ(Release(grant), Reason::kNone);
  EXPECT_EQ(engine_->Counts().free, 2u);
}

TEST_F(RecoveryTest, AfterAWorkersRestartALeaseHasItsRestButAtLeastTheGrace) {
  options_.default_ttl_ns = kMinute;
  Start();
  const Grant grant = MustAcquire();
  Pass(58 * kSecond);
  RestartAdopting();
  EXPECT_EQ(std::get<LeaseInfo>(engine_->GetLease(now_, grant.lease.id)).remaining_ns,
            15 * kSecond);
}

TEST_F(RecoveryTest, TheGraceAfterARestartIsTheConfiguredOne) {
  options_.capacity = 3;
  options_.default_ttl_ns = kMinute;
  Start();
  const Grant late = MustAcquire();
  Pass(58 * kSecond);
  const Grant early = MustAcquire();
  AcquireRequest short_one = Request();
  short_one.ttl_ns = 5 * kSecond;
  const Grant brief = MustAcquire(short_one);
  Pass(kSecond);
  restart_grace_ns_ = 40 * kSecond;
  RestartAdopting();
  const auto rest_of = [&](const Grant& grant) {
    return std::get<LeaseInfo>(engine_->GetLease(now_, grant.lease.id)).remaining_ns;
  };
  EXPECT_EQ(rest_of(late), 40 * kSecond);
  EXPECT_EQ(rest_of(early), 59 * kSecond) << "has more than the grace";
  EXPECT_EQ(rest_of(brief), 5 * kSecond) << "never more than the ttl";
}

TEST_F(RecoveryTest, AfterARebootALeaseHasItsFullTtlUnderItsOwnToken) {
  options_.default_ttl_ns = kMinute;
  Start();
  const Grant grant = MustAcquire(Request(0, 8));
  now_.boot_ns = 5 * kSecond;  // a new clock
  RestartFresh(/*same_boot=*/false, /*await_claims=*/false);
  const LeaseInfo info = std::get<LeaseInfo>(engine_->GetLease(now_, grant.lease.id));
  EXPECT_EQ(info.remaining_ns, kMinute);
  EXPECT_EQ(info.token, grant.lease.token);
  EXPECT_EQ(ledger_.leases[info.slot].deadline_at_ns, now_.boot_ns + kMinute);
  EXPECT_TRUE(std::get<TokenCheck>(engine_->CheckToken(info.slot, info.token)).valid);
  EXPECT_EQ(Release(grant), Reason::kNone);
  const Grant next = MustAcquire();
  EXPECT_GT(next.lease.token, grant.lease.token);
}

TEST_F(RecoveryTest, ARecoveringPoolGrantsNothingUntilRecoveryEnds) {
  Start(/*await_claims=*/true);
  EXPECT_EQ(engine_->state(), PoolState::kRecovering);
  const AcquireAnswer answer = Acquire(Request(kHour));
  ASSERT_EQ(RefusalOf(answer), Reason::kRecovering);
  EXPECT_GT(std::get<Refusal>(answer).retry_after_ns, 0);
  EXPECT_FALSE(LocalAcquire(kAlice).has_value());
  engine_->Enqueue(now_, kAlice, 1, 0, kHour, actions_);
  EXPECT_TRUE(actions_.send_grant.empty());
  engine_->EndRecovery(now_, actions_);
  EXPECT_EQ(actions_.send_grant.size(), 1u);
  MustAcquire();
}

TEST_F(RecoveryTest, ADeclaredLeaseIsListedUnderItsOwnToken) {
  options_.capacity = 3;
  Start();
  const SlotGrant held = MustLocalAcquire(kAlice);
  const FencingToken token = MakeToken(authority_->epoch(), held.gen);
  RestartFresh(/*same_boot=*/true, /*await_claims=*/true);
  ASSERT_TRUE(engine_->Claim(now_, kAlice, held.slot, token, actions_));
  engine_->EndRecovery(now_, actions_);
  Pass(kSecond);
  const auto listed = engine_->ListLeases(now_, 0, 9);
  ASSERT_EQ(listed.size(), 1u);
  EXPECT_EQ(listed[0].token, token);
  const auto slot = std::get<SlotInfo>(engine_->GetSlot(now_, held.slot));
  EXPECT_EQ(slot.last_token, token);
  ASSERT_TRUE(slot.lease.has_value());
  EXPECT_EQ(slot.lease->token, token);
  EXPECT_EQ(std::get<TokenCheck>(engine_->CheckToken(held.slot, 1)).current_token, token);
  ASSERT_TRUE(LocalRelease(kAlice, held));
  EXPECT_EQ(std::get<SlotInfo>(engine_->GetSlot(now_, held.slot)).last_token, token);
  const SlotGrant next = MustLocalAcquire(kBob);
  const FencingToken newer = MakeToken(authority_->epoch(), next.gen);
  EXPECT_EQ(engine_->ListLeases(now_, 0, 9).at(0).token, newer) << "of the present epoch";
  engine_->BeginDrain(now_, Reason::kNotFound, actions_);
  engine_->RevokeAll(now_, actions_);
  ASSERT_EQ(actions_.local_lease_ended.size(), 1u);
  EXPECT_EQ(actions_.local_lease_ended[0].token, newer);
}

TEST_F(RecoveryTest, ClaimsKeepSlotsAndTheHigherTokenWins) {
  options_.capacity = 3;
  Start();
  const Grant remote = MustAcquire();
  const SlotGrant local = MustLocalAcquire(kAlice);
  const FencingToken token = MakeToken(1, local.gen);
  RestartFresh(/*same_boot=*/true, /*await_claims=*/true);
  EXPECT_FALSE(engine_->Claim(now_, kBob, remote.lease.slot, MakeToken(1, 5000), actions_))
      << "the ledger's lease stands";
  EXPECT_FALSE(engine_->Claim(now_, kBob, 2, MakeToken(99, 5000), actions_)) << "epoch to come";
  EXPECT_TRUE(engine_->Claim(now_, kBob, local.slot, token - 1, actions_));
  EXPECT_TRUE(engine_->Claim(now_, kAlice, local.slot, token, actions_));
  ASSERT_EQ(actions_.local_lease_ended.size(), 1u);
  EXPECT_EQ(actions_.local_lease_ended[0].session, kBob);
  EXPECT_FALSE(engine_->Claim(now_, kBob, local.slot, token - 1, actions_));
  EXPECT_TRUE(engine_->Claim(now_, kAlice, local.slot, token, actions_)) << "again";
  engine_->EndRecovery(now_, actions_);
  EXPECT_EQ(pool_->Word(local.slot), BusyWord(kAlice, local.gen));
  EXPECT_TRUE(std::get<TokenCheck>(engine_->CheckToken(local.slot, token)).valid);
  EXPECT_EQ(engine_->Counts().free, 1u);
  EXPECT_TRUE(LocalRelease(kAlice, local));
  const Grant next = MustAcquire();
  EXPECT_GT(next.lease.token, token);
}

// What the words do not tell after a worker's death: in which epoch a slot's numbering began.
TEST_F(RecoveryTest, TokensOfEarlierNumberingsStayInvalidOverRedeclarationAndRestart) {
  Start();
  authority_->SetEpoch(5);
  const SlotGrant held = MustLocalAcquire(kAlice);
  const FencingToken token = MakeToken(5, held.gen);
  RestartFresh(/*same_boot=*/true, /*await_claims=*/true);
  ASSERT_EQ(authority_->epoch(), 6u);
  ASSERT_TRUE(engine_->Claim(now_, kAlice, held.slot, token, actions_));
  engine_->EndRecovery(now_, actions_);
  const SlotGrant fresh = MustLocalAcquire(kBob);
  const auto is_valid = [&](SlotIndex slot, Epoch epoch, Generation gen) {
    return std::get<TokenCheck>(engine_->CheckToken(slot, MakeToken(epoch, gen))).valid;
  };
  for (const char* when : {"before", "after a restart", "after two"}) {
    EXPECT_TRUE(is_valid(held.slot, 5, held.gen)) << when << ": the declared token";
    EXPECT_FALSE(is_valid(held.slot, 4, held.gen)) << when << ": older than the declared one";
    EXPECT_TRUE(is_valid(fresh.slot, 6, fresh.gen)) << when << ": granted in the new segment";
    EXPECT_FALSE(is_valid(fresh.slot, 5, fresh.gen)) << when << ": of the lost segment";
    EXPECT_FALSE(is_valid(fresh.slot, authority_->epoch() + 1, fresh.gen)) << when;
    RestartAdopting();
  }
}

TEST_F(RecoveryTest, AnAdoptedClosedGateWaitsForTicketsToBePresentedAgain) {
  options_.fairness = Fairness::kFifo;
  options_.capacity = 1;
  Start();
  const SlotGrant held = MustLocalAcquire(kAlice);
  engine_->Enqueue(now_, kBob, 1, 0, kHour, actions_);
  ASSERT_EQ(gate(), shm::Gate::kClosed);
  RestartAdopting(/*end_recovery=*/false);
  EXPECT_EQ(gate(), shm::Gate::kClosed);
  engine_->Enqueue(now_, kBob, 1, kSecond, kHour, actions_);
  engine_->EndRecovery(now_, actions_);
  EXPECT_EQ(gate(), shm::Gate::kClosed);
  LocalRelease(kAlice, held);
  EXPECT_EQ(actions_.send_grant.size(), 1u);
  EXPECT_EQ(gate(), shm::Gate::kOpen);
}

TEST_F(RecoveryTest, AnAdoptedClosedGateOpensByItselfIfNobodyComes) {
  options_.fairness = Fairness::kFifo;
  options_.capacity = 1;
  Start();
  MustLocalAcquire(kAlice);
  engine_->Enqueue(now_, kBob, 1, 0, kHour, actions_);
  RestartAdopting(/*end_recovery=*/false);
  EXPECT_EQ(engine_->NextDeadlineNs(), now_.boot_ns + kSecond);
  Jump(kSecond);
  engine_->OnTimer(now_, actions_);
  EXPECT_EQ(gate(), shm::Gate::kOpen);
}

TEST_F(RecoveryTest, APlaceTakenUpAtAFreeSlotIsServedThoughTheGateNeedNotMove) {
  options_.fairness = Fairness::kFifo;
  options_.capacity = 1;
  Start();
  const SlotGrant held = MustLocalAcquire(kAlice);
  MustQueue();
  ASSERT_EQ(gate(), shm::Gate::kClosed);
  RestartAdopting(/*end_recovery=*/false);
  engine_->CancelCall(now_, MustQueue(Request(kHour, 1)), actions_);
  LocalRelease(kAlice, held);
  ASSERT_EQ(gate(), shm::Gate::kClosed);
  MustAcquire(Request(kHour, 1));
}

TEST_F(RecoveryTest, ALeaseWhoseWordWasOverwrittenWhileTheWorkerWasAwayIsPutBack) {
  Start();
  const Grant grant = MustAcquire();
  const SlotIndex slot = grant.lease.slot;
  const Generation gen = GenerationOf(grant.lease.token);
  for (const SlotWord damage : {FreeWord(gen), SlotWord{0}, BusyWord(kAlice, gen + 1)}) {
    pool_->Write(slot, damage);
    RestartAdopting();
    EXPECT_EQ(report_.integrity_violations, 1u);
    EXPECT_EQ(pool_->Word(slot), BusyWord(kOwnerDaemon, gen));
    EXPECT_FALSE(pool_->words().IsGranted(slot));
  }
  EXPECT_EQ(actions_.local_lease_ended.size(), 1u);
}

TEST_F(RecoveryTest, ALeaseWhoseSlotIsLockedForAnotherReasonStillEndsWell) {
  Start();
  const Grant grant = MustAcquire();
  pool_->Write(grant.lease.slot, LockedWord(GenerationOf(grant.lease.token)));
  RestartAdopting();
  EXPECT_EQ(report_.integrity_violations, 1u);
  Pass(kSecond);
  EXPECT_EQ(StateAt(grant.lease.slot), SlotState::kLocked);
  EXPECT_EQ(Release(grant), Reason::kNone);
  EXPECT_EQ(StateAt(grant.lease.slot), SlotState::kFree);
  EXPECT_TRUE(pool_->words().IsGranted(grant.lease.slot));
}

TEST_F(RecoveryTest, ALeaseBeyondAShrunkenCapacityIsRevoked) {
  Start();
  MustAcquire();
  const Grant second = MustAcquire();
  options_.capacity = 1;
  RestartFresh(true, false);
  EXPECT_EQ(report_.leases_dropped, 1u);
  EXPECT_EQ(ledger_.leases.count(second.lease.slot), 0u);
}

TEST_F(RecoveryTest, AWordOverwrittenUnderALeaseIsPutBackByTheTickAndTheLeaseEndsCleanly) {
  Start();
  const Grant grant = MustAcquire();
  const SlotIndex slot = grant.lease.slot;
  pool_->Write(slot, FreeWord(GenerationOf(grant.lease.token)));
  EXPECT_EQ(Release(grant), Reason::kNone);
  Pass(100 * kMillisecond);
  EXPECT_EQ(StateAt(slot), SlotState::kFree);
  EXPECT_TRUE(pool_->words().IsGranted(slot));
  EXPECT_EQ(engine_->stats().integrity_violations, 1u);
  pool_->Write(slot, FreeWord(GenerationOf(grant.lease.token)));
  const Grant first = MustAcquire();
  const Grant second = MustAcquire();
  EXPECT_NE(first.lease.slot, second.lease.slot);
}

TEST_F(RecoveryTest, ALeasedSlotIsNotOfferedBeforeItsWordIsPutBack) {
  Start();
  const Grant grant = MustAcquire();
  MustLocalAcquire(kBob);  // the other slot
  pool_->Write(grant.lease.slot, FreeWord(GenerationOf(grant.lease.token)));
  bool was_granted = false;
  ledger_.on_renew = [&] { was_granted = was_granted || LocalAcquire(kAlice).has_value(); };
  RestartAdopting();
  EXPECT_FALSE(was_granted);
  EXPECT_EQ(pool_->Word(grant.lease.slot), BusyWord(kOwnerDaemon, GenerationOf(grant.lease.token)));
}

TEST_F(RecoveryTest, ADrainingSlotIsNotOfferedBeforeItIsLockedAgain) {
  options_.capacity = 3;
  Start();
  MustAcquire();
  const SlotGrant held = MustLocalAcquire(kBob);
  MustLocalAcquire(kCarol);
  engine_->LockSlot(now_, held.slot, "fan broken", actions_);
  bool was_granted = false;
  ledger_.on_renew = [&] {
    LocalClient::Release(pool_->words(), kBob, held);
    was_granted = was_granted || LocalAcquire(kAlice).has_value();
  };
  RestartAdopting();
  EXPECT_FALSE(was_granted);
  EXPECT_EQ(StateAt(held.slot), SlotState::kLocked);
}

TEST_F(RecoveryTest, AWorkerThatDiesInAnUnlockLeavesNoSlotBehind) {
  Start();
  engine_->LockSlot(now_, 0, "fan broken", actions_);
  ledger_.EraseLock(0);  // killed before the word
  RestartAdopting();
  Pass(kSecond);
  EXPECT_EQ(StateAt(0), SlotState::kFree);
  MustLocalAcquire(kAlice);
  MustLocalAcquire(kBob);
}

TEST_F(RecoveryTest, LocksSurviveARestart) {
  Start();
  engine_->LockSlot(now_, 0, "fan broken", actions_);
  RestartAdopting();
  const auto slots = engine_->ListSlots(now_, 0, 10);
  EXPECT_TRUE(slots[0].admin_locked);
  EXPECT_EQ(slots[0].lock_reason, "fan broken");
  EXPECT_EQ(slots[0].view, SlotView::kLocked);
  RestartFresh(true, /*await_claims=*/true);
  engine_->EndRecovery(now_, actions_);
  EXPECT_EQ(StateAt(0), SlotState::kLocked);
  EXPECT_EQ(MustAcquire().lease.slot, 1u);
  EXPECT_EQ(RefusalOf(Acquire(Request())), Reason::kNoFreeSlot);
  engine_->UnlockSlot(now_, 0, actions_);
  EXPECT_EQ(MustAcquire().lease.slot, 0u);
  EXPECT_TRUE(ledger_.locks.empty());
}

}  // namespace
}  // namespace leaseplane::engine
