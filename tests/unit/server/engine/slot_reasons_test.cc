// SPDX-License-Identifier: Apache-2.0
//
// Why a slot is kept or taken: operator locks, cooling, local revocations, audits, damage.
#include "tests/unit/server/engine/engine_fixture.h"

namespace leaseplane::engine {
namespace {

class SlotReasonsTest : public EngineTest {};

TEST_F(SlotReasonsTest, LockingABusySlotDrainsIt) {
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

TEST_F(SlotReasonsTest, UnlockingWhatIsNotLockedIsRefused) {
  options_.reuse_delay_ns = 3 * kSecond;
  Start();
  const Grant held = MustAcquire();
  for (const SlotIndex slot : {SlotIndex{0}, SlotIndex{1}}) {
    EXPECT_EQ(ReasonIn(engine_->UnlockSlot(now_, slot, actions_)), Reason::kFailedPrecondition);
  }
  engine_->LockSlot(now_, held.lease.slot, "look", actions_);
  EXPECT_EQ(ReasonIn(engine_->UnlockSlot(now_, held.lease.slot, actions_)), Reason::kNone)
      << "a lock that waits for the holder can be taken back";
  EXPECT_EQ(ReasonIn(engine_->UnlockSlot(now_, held.lease.slot, actions_)),
            Reason::kFailedPrecondition);
  Release(held);
  EXPECT_EQ(ReasonIn(engine_->UnlockSlot(now_, held.lease.slot, actions_)),
            Reason::kFailedPrecondition)
      << "a slot that cools is not locked by an operator";
  EXPECT_EQ(StateAt(held.lease.slot), SlotState::kLocked);
  EXPECT_EQ(ledger_.misuses, 0);
}

TEST_F(SlotReasonsTest, AfterAReleaseTheSlotCoolsForTheReuseDelay) {
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

TEST_F(SlotReasonsTest, LockDelayAppliesToHoldersThatDiedButNotToReleases) {
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

TEST_F(SlotReasonsTest, UnlockingACoolingSlotDoesNotCutTheCoolingShort) {
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

TEST_F(SlotReasonsTest, SlotsReleasedWhileNobodyLookedCoolFromTheRestart) {
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

TEST_F(SlotReasonsTest, LockDelayGoesOnWhereTheWorkerBeforeEnded) {
  options_.capacity = 3;
  options_.lock_delay_ns = 5 * kSecond;
  Start();
  const Grant revoked = MustAcquire(), released = MustAcquire();
  MustLocalAcquire(kAlice);
  engine_->Revoke(now_, revoked.lease.id, 0, actions_);
  Pass(kSecond);
  EndSession(kAlice);
  Pass(kSecond);
  Release(released);
  RestartAdopting();
  EXPECT_EQ(StateAt(released.lease.slot), SlotState::kFree) << "a release";
  Pass(2'900 * kMillisecond);
  EXPECT_EQ(engine_->Counts().cooling, 2u);
  Pass(200 * kMillisecond);
  EXPECT_EQ(StateAt(revoked.lease.slot), SlotState::kFree) << "5 s after its end";
  EXPECT_EQ(engine_->Counts().cooling, 1u) << "the time of that end is not known";
  Pass(2 * kSecond);
  EXPECT_EQ(engine_->Counts().free, 3u);
}

TEST_F(SlotReasonsTest, LockDelayGoesOnInNewMemory) {
  for (const bool await_claims : {false, true}) {
    for (const bool same_boot : {false, true}) {
      ledger_ = {};
      options_.lock_delay_ns = 5 * kSecond;
      Start();
      const Grant grant = MustAcquire();
      engine_->Revoke(now_, grant.lease.id, 0, actions_);
      Jump(kSecond);
      RestartFresh(same_boot, await_claims);
      engine_->EndRecovery(now_, actions_);
      Pass(3'900 * kMillisecond);
      EXPECT_FALSE(IsGrantable(pool_->Word(grant.lease.slot)));
      EXPECT_EQ(engine_->Counts().free, 1u);
      Pass(200 * kMillisecond);
      EXPECT_EQ(engine_->Counts().free, 2u);
    }
  }
}

TEST_F(SlotReasonsTest, AWorkerThatDiedBetweenAnEndAndItsWordCutsNoDelayShort) {
  options_.lock_delay_ns = 5 * kSecond;
  Start();
  const Grant revoked = MustAcquire(), released = MustAcquire();
  ledger_.EndLease(revoked.lease.slot, LeaseState::kRevoked, now_);
  ledger_.EndLease(released.lease.slot, LeaseState::kReleased, now_);
  RestartAdopting();
  Pass(4'900 * kMillisecond);
  EXPECT_EQ(StateAt(released.lease.slot), SlotState::kFree);
  EXPECT_EQ(StateAt(revoked.lease.slot), SlotState::kLocked);
  Pass(200 * kMillisecond);
  EXPECT_EQ(StateAt(revoked.lease.slot), SlotState::kFree);
}

TEST_F(SlotReasonsTest, RevokingALocalLeaseTellsItsSession) {
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

TEST_F(SlotReasonsTest, AGraceOfAnEarlierLocalHolderDoesNotHurtTheNextOne) {
  options_.capacity = 1;
  Start();
  const SlotGrant local = MustLocalAcquire(kAlice);
  engine_->RevokeLocal(now_, 0, MakeToken(1, local.gen), 2 * kSecond, actions_);
  LocalRelease(kAlice, local);
  const SlotGrant next = MustLocalAcquire(kBob);
  Pass(3 * kSecond);
  EXPECT_EQ(pool_->Word(0), BusyWord(kBob, next.gen));
}

TEST_F(SlotReasonsTest, AHoldItsSessionDoesNotKnowTwiceIsTakenBack) {
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

TEST_F(SlotReasonsTest, AHoldThatIsKnownOrNotAnsweredForStays) {
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

TEST_F(SlotReasonsTest, ASentGrantIsHeldUntilItIsAcknowledged) {
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

TEST_F(SlotReasonsTest, ADamagedWordIsRestoredToItsHolderOrRepairedAfterASecond) {
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

TEST_F(SlotReasonsTest, AHolderThatAnsweredIsRestoredWhateverTheDamageLooksLike) {
  options_.capacity = 1;
  Start();
  LocalRelease(kBob, MustLocalAcquire(kBob));
  const SlotGrant held = MustLocalAcquire(kAlice);
  Pass(50 * kMillisecond);
  pool_->Write(0, BusyWord(kBob, held.gen - 1));
  Pass(50 * kMillisecond);
  ASSERT_EQ(actions_.ask_all.size(), 1u);
  engine_->AuditAnswer(now_, kAlice, 0, held.gen, actions_.ask_all[0].question, actions_);
  Pass(1100 * kMillisecond);
  EXPECT_EQ(pool_->Word(0), BusyWord(kAlice, held.gen));
  EXPECT_TRUE(actions_.local_lease_ended.empty());
}

TEST_F(SlotReasonsTest, AnOrphanLeftByADeadSessionIsFoundByTheTick) {
  Start();
  // Won its CAS after the sweep, and died before it could undo it.
  pool_->Write(0, BusyWord(9, GenerationOfWord(pool_->Word(0)) + 1));
  Pass(50 * kMillisecond);
  EXPECT_EQ(StateAt(0), SlotState::kFree);
  EXPECT_EQ(engine_->stats().recovered_local, 1u);
}

TEST_F(SlotReasonsTest, LocalGrantsAreCountedOnce) {
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
