// SPDX-License-Identifier: Apache-2.0
// The daemon goes and another one comes.
#include "clients/cpp/boot_clock.h"
#include "clients/cpp/local/session.h"
#include "tests/unit/clients/cpp/local_fixture.h"

namespace leaseplane {
namespace {

class LocalRestartTest : public LocalTest {
 protected:
  internal::Session* SessionOfClients() {
    internal::SessionConfig config;
    config.attach_path = folder_ + "/attach.sock";
    return internal::FindSession(config);
  }
  static absl::StatusOr<internal::LocalPool*> OpenGpu(internal::Session* session) {
    return session->OpenPool("gpu", internal::BootNowNs() + 60 * internal::kSecondNs);
  }
};

TEST_F(LocalRestartTest, LeasesSurviveTheReplacementOfTheDaemonByDeclaration) {
  StartDaemon();
  Heard heard;
  const Client client = Connect(heard.Options());
  const Pool pool = Open(client);
  Lease one = pool.TryAcquire();
  Lease two = pool.TryAcquire();
  const FencingToken token = one.token();
  const SlotIndex slot = one.slot();
  ReplaceDaemon();
  ASSERT_TRUE(Eventually([&] { return daemon_->accepted_claims() == 2 && one.still_held(); }));
  EXPECT_TRUE(two.still_held());
  EXPECT_EQ(one.token(), token) << "a lease keeps its token for its whole life";
  EXPECT_FALSE(pool.TryAcquire());
  EXPECT_TRUE(std::move(one).Release().ok());
  daemon_->EndRecovery();
  const Lease next = pool.TryAcquire();
  ASSERT_TRUE(next);
  EXPECT_EQ(next.slot(), slot);
  EXPECT_GT(next.token(), token);
  EXPECT_TRUE(heard.lost().empty());
}

TEST_F(LocalRestartTest, AWorkerThatOutlivesItsKeeperTakesNothingBackAndIsNotJoined) {
  StartDaemon();
  Heard heard;
  const Client client = Connect(heard.Options());
  const Pool pool = Open(client);
  const Lease lease = pool.TryAcquire();
  daemon_->KillKeeper();
  ASSERT_TRUE(Eventually([&] { return !lease.still_held(); }));
  std::this_thread::sleep_for(std::chrono::milliseconds(100));  // some tries to attach
  EXPECT_EQ(daemon_->BusyCount("gpu"), 1u);
  EXPECT_FALSE(pool.TryAcquire());
  ReplaceDaemon();
  EXPECT_TRUE(Eventually([&] { return lease.still_held(); }));
  EXPECT_TRUE(heard.lost().empty());
}

TEST_F(LocalRestartTest, WhileTheDaemonIsGoneNothingIsHeldAndNothingGranted) {
  StartDaemon();
  const Client client = Connect();
  const Pool pool = Open(client);
  const Lease lease = pool.TryAcquire();
  KillDaemon();
  ASSERT_TRUE(Eventually([&] { return !lease.still_held(); }));
  EXPECT_FALSE(pool.TryAcquire());
  EXPECT_EQ(ReasonOf(pool.Acquire().status()), Reason::kSessionEnded);
  const auto waited = pool.Acquire({.max_wait = absl::Milliseconds(50)});
  EXPECT_EQ(ReasonOf(waited.status()), Reason::kSessionEnded);
}

TEST_F(LocalRestartTest, AWaiterGoesOnWaitingAtTheNewDaemon) {
  StartDaemon();
  const Client client = Connect();
  const Pool pool = Open(client, "line");
  Lease held = pool.TryAcquire();
  absl::StatusOr<Lease> result;
  std::thread waiter([&] { result = pool.Acquire({.max_wait = absl::Seconds(60)}); });
  ASSERT_TRUE(Eventually([this] { return daemon_->QueueLength() == 1; }));
  ReplaceDaemon();
  ASSERT_TRUE(Eventually([&] { return held.still_held(); }));
  EXPECT_TRUE(std::move(held).Release().ok());
  ASSERT_TRUE(Eventually([this] { return daemon_->claims_done() == 1; }));
  daemon_->EndRecovery();
  waiter.join();
  EXPECT_TRUE(result.ok()) << result.status();
}

TEST_F(LocalRestartTest, WhatIsReleasedWhileTheDaemonIsGoneIsNotDeclared) {
  StartDaemon();
  const Client client = Connect();
  const Pool pool = Open(client);
  Lease one = pool.TryAcquire();
  Lease two = pool.TryAcquire();
  KillDaemon();
  ASSERT_TRUE(Eventually([&] { return !one.still_held(); }));
  EXPECT_TRUE(std::move(one).Release().ok());
  ReplaceDaemon();
  ASSERT_TRUE(Eventually([&] { return two.still_held(); }));
  EXPECT_EQ(daemon_->accepted_claims(), 1);
  EXPECT_EQ(daemon_->BusyCount("gpu"), 1u);
}

// A thread gives back in the old memory, and stands still before it looks into the new one.
TEST_F(LocalRestartTest, ALateReleaseOfTheOldMemoryHidesNoneOfTheNew) {
  daemon_options_.pools[0].capacity = 1;
  StartDaemon();
  const Client client = Connect();
  const Pool pool = Open(client);
  internal::Session* session = SessionOfClients();
  const auto local = OpenGpu(session);
  ASSERT_TRUE(local.ok()) << local.status();
  const internal::LocalState& old = *(*local)->state();
  Lease lease = pool.TryAcquire();
  const FencingToken token = lease.token();
  KillDaemon();
  ASSERT_TRUE(Eventually([&] { return !lease.still_held(); }));
  EXPECT_TRUE(std::move(lease).Release().ok());
  ReplaceDaemon();
  ASSERT_TRUE(Eventually([this] { return daemon_->claims_done() == 1; }));
  daemon_->EndRecovery();
  ASSERT_TRUE(Eventually([&] { return static_cast<bool>(pool.TryAcquire()); }));
  EXPECT_FALSE(session->FinishMovedRelease(**local, old, 0, token));
  EXPECT_EQ((*local)->state()->claims->HeldToken(0), 0) << "nobody holds it";
  EXPECT_EQ(daemon_->BusyCount("gpu"), 0u);
}

TEST_F(LocalRestartTest, AClaimThatIsNotAcceptedIsReportedAsLost) {
  StartDaemon();
  Heard heard;
  const Client client = Connect(heard.Options());
  const Pool pool = Open(client);
  Lease lease = pool.TryAcquire();
  const FencingToken token = lease.token();
  KillDaemon();
  ++daemon_options_.epoch;  // comes back with empty hands, and takes no claims any more
  StartDaemon();
  ASSERT_TRUE(Eventually([&] { return heard.lost().size() == 1; }));
  EXPECT_EQ(heard.lost()[0].token, token);
  EXPECT_EQ(heard.lost()[0].reason, Reason::kSessionEnded);
  EXPECT_FALSE(lease.still_held());
  EXPECT_FALSE(std::move(lease).Release().ok());
  EXPECT_TRUE(Eventually([&] { return static_cast<bool>(pool.TryAcquire()); }));
}

TEST_F(LocalRestartTest, ALeaseThatWasTakenBackWithoutAWordIsReportedAsLost) {
  StartDaemon();
  Heard heard;
  const Client client = Connect(heard.Options());
  const Pool pool = Open(client);
  const Lease kept = pool.TryAcquire();
  const Lease taken = pool.TryAcquire();
  ASSERT_TRUE(daemon_->RevokeSilently("gpu", taken.slot()));
  ReplaceDaemon();
  ASSERT_TRUE(Eventually([&] { return heard.lost().size() == 1; }));
  EXPECT_EQ(heard.lost()[0].token, taken.token());
  EXPECT_TRUE(kept.still_held());
  EXPECT_EQ(daemon_->accepted_claims(), 1);
}

TEST_F(LocalRestartTest, ALeaseThatAKilledWorkerTookBackWithoutAWordIsReportedAsLostOnce) {
  daemon_options_.pools[0].capacity = 4;
  StartDaemon();
  Heard heard;
  const Client client = Connect(heard.Options());
  const Pool pool = Open(client);
  const Lease kept = pool.TryAcquire();
  const Lease taken = pool.TryAcquire();
  const Lease granted_anew = pool.TryAcquire();
  Lease released = pool.TryAcquire();
  EXPECT_TRUE(std::move(released).Release().ok());
  ASSERT_TRUE(daemon_->RevokeSilently("gpu", taken.slot()));
  ASSERT_TRUE(daemon_->RevokeSilently("gpu", granted_anew.slot()));
  std::vector<SlotIndex> theirs;
  while (const auto slot = daemon_->TakeSlot("gpu")) theirs.push_back(*slot);
  EXPECT_EQ(theirs.size(), 3u);
  daemon_->GiveSlot("gpu", taken.slot());
  EXPECT_TRUE(heard.lost().empty());
  daemon_->RestartWorker();
  ASSERT_TRUE(Eventually([&] { return heard.lost().size() == 2; }));
  for (const LostLease& lost : heard.lost()) {
    const Lease& lease = lost.slot == taken.slot() ? taken : granted_anew;
    EXPECT_EQ(lost.token, lease.token());
    EXPECT_EQ(lost.reason, Reason::kLeaseRevoked);
    EXPECT_EQ(lost.pool, "gpu");
  }
  EXPECT_NE(heard.lost()[0].slot, heard.lost()[1].slot);
  daemon_->RestartWorker();
  const Generation gen = GenerationOf(kept.token());
  EXPECT_EQ(daemon_->Audit("gpu", kept.slot(), gen), gen);  // and so the news was read
  ReplaceDaemon();
  ASSERT_TRUE(Eventually([&] { return daemon_->accepted_claims() == 1 && kept.still_held(); }));
  EXPECT_EQ(heard.lost().size(), 2u);
}

TEST_F(LocalRestartTest, WhatAKilledWorkerTookBackVouchesForNoGrantThatNobodyHeardOf) {
  StartDaemon();
  Heard heard;
  const Client client = Connect(heard.Options());
  const Pool pool = Open(client);
  const Lease taken = pool.TryAcquire();
  ASSERT_TRUE(daemon_->RevokeSilently("gpu", taken.slot()));
  daemon_->RestartWorker();
  ASSERT_TRUE(Eventually([&] { return heard.lost().size() == 1; }));
  const Generation gen = daemon_->GrantSilently("gpu", taken.slot());
  ASSERT_NE(gen, 0u);
  EXPECT_EQ(daemon_->Audit("gpu", taken.slot(), gen), 0u);
}

TEST_F(LocalRestartTest, AWordThatCannotBeTrueIsNotTakenForAnEndByTheWorkerBefore) {
  StartDaemon();
  Heard heard;
  const Client client = Connect(heard.Options());
  const Pool pool = Open(client);
  const Lease lease = pool.TryAcquire();
  const Lease other = pool.TryAcquire();
  const Generation gen = GenerationOf(lease.token());
  for (const SlotWord rubbish :
       {SlotWord{0}, ~SlotWord{0}, MakeWord(SlotState::kFree, kOwnerSessionFirst, gen + 1)}) {
    daemon_->WriteWord("gpu", lease.slot(), rubbish);
    daemon_->RestartWorker();
    daemon_->Audit("gpu", other.slot(), 0);  // answered after the news was read
  }
  daemon_->WriteWord("gpu", lease.slot(), BusyWord(kOwnerSessionFirst, gen));
  EXPECT_TRUE(heard.lost().empty());
  EXPECT_TRUE(lease.still_held());
}

// What is held is noted in tables as large as the pool is; the new ones are empty until everything
// is declared.
TEST_F(LocalRestartTest, TheNewDaemonIsAnsweredWhileLeasesMoveToAPoolOfAnotherSize) {
  StartDaemon();
  Heard heard;
  const Client client = Connect(heard.Options());
  const Pool pool = Open(client);
  Lease kept = pool.TryAcquire();
  const Lease taken = pool.TryAcquire();
  const auto local = OpenGpu(SessionOfClients());
  ASSERT_TRUE(local.ok()) << local.status();
  daemon_options_.pools[0].capacity = 4;
  daemon_options_.holds_claim_results = true;
  ReplaceDaemon();
  ASSERT_TRUE(Eventually([this] { return daemon_->held_claim_results() == 2; }));
  const Generation gen = GenerationOf(kept.token());
  EXPECT_EQ(daemon_->Audit("gpu", kept.slot(), gen), gen);
  EXPECT_EQ(daemon_->Audit("gpu", kept.slot(), 0), gen);
  EXPECT_EQ(daemon_->Audit("gpu", kept.slot(), gen + 1), 0u);
  daemon_->AskBack("gpu", kept.slot(), internal::kSecondNs);
  EXPECT_TRUE(Eventually([&] { return heard.revokes().size() == 1; }));
  ASSERT_TRUE(daemon_->Revoke("gpu", taken.slot()));
  EXPECT_TRUE(Eventually([&] { return heard.lost().size() == 1; }));
  daemon_->HoldClaimResults(false);
  ASSERT_TRUE(Eventually([&] { return kept.still_held(); }));
  EXPECT_EQ((*local)->state()->claims->HeldToken(kept.slot()), kept.token());
  EXPECT_EQ((*local)->state()->claims->HeldToken(taken.slot()), 0) << "it was taken back meanwhile";
  EXPECT_EQ(daemon_->BusyCount("gpu"), 1u);
  EXPECT_TRUE(std::move(kept).Release().ok());
  ASSERT_EQ(heard.lost().size(), 1u);
  EXPECT_EQ(heard.lost()[0].token, taken.token());
  EXPECT_EQ(heard.lost()[0].reason, Reason::kLeaseRevoked);
}

TEST_F(LocalRestartTest, AnEndedSessionIsMadeAnewAndItsLeasesAreLost) {
  StartDaemon();
  Heard heard;
  const Client client = Connect(heard.Options());
  const Pool pool = Open(client);
  const Lease lease = pool.TryAcquire();
  daemon_->HangUp();
  ASSERT_TRUE(Eventually([&] { return heard.lost().size() == 1; }));
  EXPECT_TRUE(Eventually([&] { return static_cast<bool>(pool.TryAcquire()); }));
  EXPECT_FALSE(lease.still_held());
}

TEST_F(LocalRestartTest, AnotherAuthorityOnTheSocketIsNeverJoinedSilently) {
  StartDaemon();
  Heard heard;
  const Client client = Connect(heard.Options());
  const Pool pool = Open(client);
  const Lease lease = pool.TryAcquire();
  KillDaemon();
  daemon_options_.instance_id = "instance-b";
  StartDaemon();
  ASSERT_TRUE(Eventually([&] { return heard.lost().size() == 1; }));
  EXPECT_FALSE(pool.TryAcquire());
  EXPECT_EQ(ReasonOf(pool.Acquire({.max_wait = absl::Seconds(60)}).status()),
            Reason::kSessionEnded);
  const Client other = Connect();
  EXPECT_EQ(other.instance_id(), "instance-b");
  EXPECT_TRUE(Open(other).TryAcquire());
}

TEST_F(LocalRestartTest, ADaemonReplacedUnderLoadNeitherLosesNorDoublesASlot) {
  daemon_options_.pools[0].capacity = 4;
  StartDaemon();
  Heard heard;
  const Client client = Connect(heard.Options());
  const Pool pool = Open(client);
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&] {
      while (!stop) {
        const Lease lease = pool.TryAcquire();
        if (!lease) std::this_thread::yield();
      }
    });
  }
  for (int round = 0; round < 10; ++round) {
    ReplaceDaemon();
    Lease lease;
    ASSERT_TRUE(Eventually([this] { return daemon_->claims_done() == 1; }));
    daemon_->EndRecovery();
    ASSERT_TRUE(Eventually([&] {
      lease = pool.TryAcquire();
      return static_cast<bool>(lease);
    }));
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(Eventually([this] { return daemon_->BusyCount("gpu") == 0; }));
  EXPECT_TRUE(heard.lost().empty());
}

}  // namespace
}  // namespace leaseplane
