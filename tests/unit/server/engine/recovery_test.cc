// SPDX-License-Identifier: Apache-2.0
//
// Restarts, operator locks, cooling, audits, damage.
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

TEST_F(RecoveryTest, LockingABusySlotDrainsIt) {
  Start();
  const Grant remote = MustAcquire();
  const SlotGrant local = MustLocalAcquire(kAlice);
  for (const SlotIndex slot : {remote.lease.slot, local.slot}) {
    const auto info = std::get<SlotInfo>(engine_->LockSlot(now_, slot, "upgrade", actions_));
    EXPECT_TRUE(info.admin_locked);
    EXPECT_EQ(info.view, SlotView::kBusy);
  }
  EXPECT_EQ(ReasonIn(Renew(remote)), Reason::kNone);
  Release(remote);
  EXPECT_EQ(StateAt(remote.lease.slot), SlotState::kLocked);
  EXPECT_TRUE(LocalRelease(kAlice, local));
  EXPECT_FALSE(LocalAcquire(kBob).has_value());
  Pass(50 * kMillisecond);
  EXPECT_EQ(StateAt(local.slot), SlotState::kLocked);
  const uint64_t waiter = MustQueue();
  engine_->UnlockSlot(now_, local.slot, actions_);
  ASSERT_EQ(actions_.waiter_granted.size(), 1u);
  EXPECT_EQ(actions_.waiter_granted[0].ticket, waiter);
  EXPECT_EQ(ReasonIn(engine_->LockSlot(now_, 7, "", actions_)), Reason::kNotFound);
}

TEST_F(RecoveryTest, AfterAReleaseTheSlotCoolsForTheReuseDelay) {
  options_.capacity = 1;
  options_.reuse_delay_ns = 3 * kSecond;
  Start();
  const SlotGrant local = MustLocalAcquire(kAlice);
  LocalRelease(kAlice, local);
  EXPECT_EQ(StateAt(0), SlotState::kLocked);
  EXPECT_EQ(std::get<SlotInfo>(engine_->GetSlot(now_, 0)).view, SlotView::kCooling);
  EXPECT_EQ(engine_->NextDeadlineNs(), now_.boot_ns + 3 * kSecond);
  const uint64_t waiter = MustQueue();
  Pass(2 * kSecond);
  EXPECT_TRUE(actions_.waiter_granted.empty());
  Jump(kSecond);
  engine_->OnTimer(now_, actions_);
  ASSERT_EQ(actions_.waiter_granted.size(), 1u);
  EXPECT_EQ(actions_.waiter_granted[0].ticket, waiter);
  Release(actions_.waiter_granted[0].grant);
  EXPECT_EQ(engine_->Counts().cooling, 1u);
}

TEST_F(RecoveryTest, LockDelayAppliesToHoldersThatDiedButNotToReleases) {
  options_.capacity = 1;
  options_.lock_delay_ns = 5 * kSecond;
  Start();
  LocalRelease(kAlice, MustLocalAcquire(kAlice));
  EXPECT_EQ(StateAt(0), SlotState::kFree);
  MustLocalAcquire(kAlice);
  EndSession(kAlice);
  EXPECT_EQ(StateAt(0), SlotState::kLocked);
  Pass(4 * kSecond);
  EXPECT_EQ(StateAt(0), SlotState::kLocked);
  Pass(kSecond);
  EXPECT_EQ(StateAt(0), SlotState::kFree);
}

TEST_F(RecoveryTest, UnlockingACoolingSlotDoesNotCutTheCoolingShort) {
  options_.capacity = 1;
  options_.reuse_delay_ns = 3 * kSecond;
  Start();
  Release(MustAcquire());
  engine_->LockSlot(now_, 0, "look", actions_);
  engine_->UnlockSlot(now_, 0, actions_);
  EXPECT_EQ(StateAt(0), SlotState::kLocked);
  Pass(3 * kSecond);
  EXPECT_EQ(StateAt(0), SlotState::kFree);
  const SlotGrant local = MustLocalAcquire(kAlice);
  engine_->LockSlot(now_, 0, "drain", actions_);
  LocalRelease(kAlice, local);
  engine_->UnlockSlot(now_, 0, actions_);
  EXPECT_EQ(StateAt(0), SlotState::kLocked) << "it has only just been released";
  Pass(3 * kSecond);
  EXPECT_EQ(StateAt(0), SlotState::kFree);
}

TEST_F(RecoveryTest, SlotsReleasedWhileNobodyLookedCoolFromTheRestart) {
  options_.capacity = 1;
  options_.reuse_delay_ns = 3 * kSecond;
  Start();
  const SlotGrant local = MustLocalAcquire(kAlice);
  LocalClient::Release(pool_->words(), kAlice, local);
  RestartAdopting();
  EXPECT_EQ(engine_->NextDeadlineNs(), now_.boot_ns + 3 * kSecond);
  Pass(3 * kSecond);
  EXPECT_EQ(StateAt(0), SlotState::kFree);
}

TEST_F(RecoveryTest, RevokingALocalLeaseTellsItsSession) {
  options_.capacity = 1;
  Start();
  const SlotGrant local = MustLocalAcquire(kAlice);
  const FencingToken token = MakeToken(authority_->epoch(), local.gen);
  engine_->RevokeLocal(now_, 0, token, 2 * kSecond, actions_);
  ASSERT_EQ(actions_.local_revoke_requested.size(), 1u);
  EXPECT_EQ(actions_.local_revoke_requested[0].session, kAlice);
  Pass(kSecond);
  EXPECT_EQ(StateAt(0), SlotState::kBusy);
  Pass(kSecond);
  ASSERT_EQ(actions_.local_lease_ended.size(), 1u);
  EXPECT_EQ(actions_.local_lease_ended[0].token, token);
  EXPECT_FALSE(LocalRelease(kAlice, local)) << "the late release finds nothing";
  const SlotGrant again = MustLocalAcquire(kBob);
  const auto revoked =
      engine_->RevokeLocal(now_, 0, MakeToken(authority_->epoch(), again.gen), 0, actions_);
  EXPECT_EQ(std::get<LeaseInfo>(revoked).state, LeaseState::kRevoked);
  EXPECT_EQ(StateAt(0), SlotState::kFree);
  EXPECT_EQ(ReasonIn(engine_->RevokeLocal(now_, 0, token, 0, actions_)), Reason::kNotFound);
}

TEST_F(RecoveryTest, AGraceOfAnEarlierLocalHolderDoesNotHurtTheNextOne) {
  options_.capacity = 1;
  Start();
  const SlotGrant local = MustLocalAcquire(kAlice);
  engine_->RevokeLocal(now_, 0, MakeToken(1, local.gen), 2 * kSecond, actions_);
  LocalRelease(kAlice, local);
  const SlotGrant next = MustLocalAcquire(kBob);
  Pass(3 * kSecond);
  EXPECT_EQ(pool_->Word(0), BusyWord(kBob, next.gen));
}

TEST_F(RecoveryTest, AHoldItsSessionDoesNotKnowTwiceIsTakenBack) {
  options_.capacity = 1;
  Start();
  MustLocalAcquire(kAlice);
  Pass(900 * kMillisecond);
  EXPECT_TRUE(actions_.ask_audit.empty()) << "too young to ask";
  Pass(200 * kMillisecond);
  ASSERT_EQ(actions_.ask_audit.size(), 1u);
  const auto first = actions_.ask_audit[0];
  EXPECT_EQ(first.session, kAlice);
  engine_->AuditAnswer(now_, kAlice, 0, 0, first.question, actions_);
  engine_->AuditAnswer(now_, kAlice, 0, 0, first.question, actions_);
  EXPECT_EQ(StateAt(0), SlotState::kBusy) << "one answer is no proof, however often it comes";
  Pass(1100 * kMillisecond);
  ASSERT_EQ(actions_.ask_audit.size(), 2u);
  engine_->AuditAnswer(now_, kAlice, 0, 0, actions_.ask_audit[1].question, actions_);
  EXPECT_EQ(StateAt(0), SlotState::kFree);
  EXPECT_EQ(actions_.local_lease_ended.size(), 1u);
}

TEST_F(RecoveryTest, AHoldThatIsKnownOrNotAnsweredForStays) {
  Start();
  const SlotGrant known = MustLocalAcquire(kAlice);
  const SlotGrant silent = MustLocalAcquire(kBob);
  size_t asked = 0;
  for (int i = 0; i < 240; ++i) {
    Pass(50 * kMillisecond);
    for (; asked < actions_.ask_audit.size(); ++asked) {
      const auto& ask = actions_.ask_audit[asked];
      if (ask.session != kAlice) continue;
      engine_->AuditAnswer(now_, kAlice, ask.slot, ask.gen, ask.question, actions_);
    }
  }
  EXPECT_EQ(pool_->Word(known.slot), BusyWord(kAlice, known.gen));
  EXPECT_EQ(pool_->Word(silent.slot), BusyWord(kBob, silent.gen));
  EXPECT_LE(asked, 6u) << "each slot at most every 5 s";
}

TEST_F(RecoveryTest, ASentGrantIsHeldUntilItIsAcknowledged) {
  options_.capacity = 1;
  Start();
  engine_->Enqueue(now_, kAlice, 1, 0, kHour, actions_);
  ASSERT_EQ(actions_.send_grant.size(), 1u);
  Pass(10 * kSecond);
  EXPECT_TRUE(actions_.ask_audit.empty());
  engine_->GrantAck(kAlice, 0, 1);
  Pass(kSecond);
  EXPECT_EQ(actions_.ask_audit.size(), 1u);
}

TEST_F(RecoveryTest, ADamagedWordIsRestoredToItsHolderOrRepairedAfterASecond) {
  Start();
  const SlotGrant held = MustLocalAcquire(kAlice);
  Pass(50 * kMillisecond);
  pool_->Write(0, 0);
  pool_->Write(1, 0);
  Pass(50 * kMillisecond);
  ASSERT_EQ(actions_.ask_all.size(), 2u);
  EXPECT_EQ(engine_->Counts().quarantined, 2u);
  for (const auto& ask : actions_.ask_all) {
    if (ask.slot != held.slot) continue;
    engine_->AuditAnswer(now_, kBob, 0, held.gen - 1, ask.question, actions_);  // long over
    engine_->AuditAnswer(now_, kAlice, 0, held.gen, ask.question, actions_);
  }
  Pass(1100 * kMillisecond);
  EXPECT_EQ(pool_->Word(0), BusyWord(kAlice, held.gen));
  EXPECT_EQ(StateAt(1), SlotState::kFree);
  EXPECT_EQ(MustAcquire().lease.slot, 1u);
  EXPECT_EQ(engine_->stats().integrity_violations, 2u);
}

TEST_F(RecoveryTest, AnOrphanLeftByADeadSessionIsFoundByTheTick) {
  Start();
  // Won its CAS after the sweep, and died before it could undo it.
  pool_->Write(0, BusyWord(9, GenerationOfWord(pool_->Word(0)) + 1));
  Pass(50 * kMillisecond);
  EXPECT_EQ(StateAt(0), SlotState::kFree);
  EXPECT_EQ(engine_->stats().recovered_local, 1u);
}

TEST_F(RecoveryTest, LocalGrantsAreCountedOnce) {
  options_.capacity = 1;
  Start();
  for (int i = 0; i < 3; ++i) LocalRelease(kAlice, MustLocalAcquire(kAlice));
  engine_->Enqueue(now_, kAlice, 1, 0, kHour, actions_);
  Pass(100 * kMillisecond);
  EXPECT_EQ(engine_->stats().acquired_local, 4u);
  EXPECT_EQ(engine_->stats().acquired_remote, 0u);
}

}  // namespace
}  // namespace leaseplane::engine
