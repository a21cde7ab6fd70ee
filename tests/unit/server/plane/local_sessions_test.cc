// SPDX-License-Identifier: Apache-2.0
//
// Attached processes against the plane: the same slots by words, queue and socket, over restarts.
#include "tests/unit/server/plane/plane_fixture.h"

namespace leaseplane::plane {
namespace {

using attach::Kind;
using attach::Message;

constexpr int64_t kLongWait = 60 * engine::kSecond;

TEST_F(PlaneTest, AttachedProcessTakesSlotsByItselfAndTheDaemonCountsThem) {
  StartWorker();
  LocalClient client(attach_path(), "gpu");
  ASSERT_TRUE(client.is_open());
  const Generation gen = client.Take(0);
  ASSERT_NE(gen, 0u);
  EXPECT_TRUE(WaitUntil([&] { return Counts().busy_local == 1; }));
  const engine::Grant remote = Lease();
  EXPECT_EQ(remote.lease.slot, 1u);
  EXPECT_EQ(client.Take(1), 0u) << "the daemon's slot has no grant bit";
  auto check = plane_->CheckToken("gpu", 0, client.TokenOf(gen));
  EXPECT_TRUE(std::get<engine::TokenCheck>(check).valid);
  EXPECT_TRUE(client.Release(0, gen));
}

TEST_F(PlaneTest, RemoteWaiterGetsWhatALocalHolderReleases) {
  StartWorker();
  LocalClient client(attach_path(), "gpu");
  const Generation gen = client.Take(0);
  Lease();
  for (int i = 0; i < 20; ++i) {
    auto waiter = Ask(Request(kLongWait));
    ASSERT_TRUE(client.Release(0, client.Holds(0, gen) ? gen : 0) || i > 0);
    ASSERT_TRUE(waiter->Wait());
    ASSERT_TRUE(waiter->is_granted());
    Release(waiter->grant());
    if (const Generation next = client.Take(0)) client.Release(0, next);
  }
}

TEST_F(PlaneTest, HangUpGivesTheSlotsOfTheSessionToTheNextWaiter) {
  StartWorker();
  auto client = std::make_unique<LocalClient>(attach_path(), "gpu");
  ASSERT_NE(client->Take(0), 0u);
  ASSERT_NE(client->Take(1), 0u);
  auto waiter = Ask(Request(kLongWait));
  client.reset();
  ASSERT_TRUE(waiter->Wait());
  EXPECT_TRUE(waiter->is_granted());
  EXPECT_TRUE(WaitUntil([&] { return Counts().free == 1; }));
}

TEST_F(PlaneTest, LocalWaiterInTheQueueIsSentItsGrant) {
  StartWorker();
  const engine::Grant first = Lease();
  Lease();
  LocalClient client(attach_path(), "gpu");
  Message enqueue{};
  enqueue.kind = Kind::kEnqueue;
  enqueue.enqueue = {client.handle(), 0, 77, 0, kLongWait};
  ASSERT_TRUE(client.socket.Send(enqueue));
  ASSERT_TRUE(WaitUntil([&] { return Counts().waiters == 1; }));
  Release(first);
  const Message grant = client.socket.Receive();
  ASSERT_EQ(grant.kind, Kind::kGrant);
  EXPECT_EQ(grant.grant.ticket, 77u);
  EXPECT_EQ(grant.grant.slot, first.lease.slot);
  EXPECT_TRUE(client.Holds(grant.grant.slot, GenerationOf(grant.grant.token)));
}

TEST_F(PlaneTest, GrantToASessionThatEndedGoesOnToTheNextWaiter) {
  StartWorker();
  const engine::Grant first = Lease();
  Lease();
  auto client = std::make_unique<LocalClient>(attach_path(), "gpu");
  Message enqueue{};
  enqueue.kind = Kind::kEnqueue;
  enqueue.enqueue = {client->handle(), 0, 77, 0, kLongWait};
  client->socket.Send(enqueue);
  ASSERT_TRUE(WaitUntil([&] { return Counts().waiters == 1; }));
  auto waiter = Ask(Request(kLongWait));
  client.reset();
  Release(first);
  ASSERT_TRUE(waiter->Wait());
  EXPECT_TRUE(waiter->is_granted());
}

TEST_F(PlaneTest, LocalAccessIsCheckedBeforeAnyDescriptorIsPassed) {
  AddPool("others", 1).local_uids = {getuid() + 1};
  AddPool("groups", 1).local_gids = {getgid()};
  AddPool("remote", 1).local_enabled = false;
  StartWorker();
  LocalClient client(attach_path(), "others");
  EXPECT_EQ(client.opened.refused.reason, static_cast<uint32_t>(attach::Refusal::kNotAllowed));
  EXPECT_TRUE(client.socket.fds.empty());
  EXPECT_EQ(client.Open("groups").kind, Kind::kPoolOpened);
  EXPECT_EQ(client.Open("remote").refused.reason,
            static_cast<uint32_t>(attach::Refusal::kLocalDisabled));
  EXPECT_EQ(client.Open("nix").refused.reason,
            static_cast<uint32_t>(attach::Refusal::kUnknownPool));
}

TEST_F(PlaneTest, MessagesOutOfRangeAreHungUpAndThoseForOtherPoolsIgnored) {
  AddPool("other", 1);
  StartWorker();
  LocalClient client(attach_path(), "gpu");
  auto other = plane_->GetPool("other");
  Message leave{};
  leave.kind = Kind::kLeave;
  leave.leave.pool = client.handle() == 0 ? 1 : 0;
  client.socket.Send(leave);
  Message enqueue{};
  enqueue.kind = Kind::kEnqueue;
  enqueue.enqueue = {leave.leave.pool, 0, 5, 0, kLongWait};
  client.socket.Send(enqueue);
  const Message refused = client.socket.Receive();
  ASSERT_EQ(refused.kind, Kind::kTicketRefused);
  EXPECT_EQ(refused.ticket_refused.ticket, 5u);
  Message answer{};
  answer.kind = Kind::kAuditAnswer;
  answer.audit_answer = {client.handle(), 2, 0, 0};  // slot beyond the capacity
  client.socket.Send(answer);
  EXPECT_TRUE(client.socket.IsHungUp());
}

TEST_F(PlaneTest, HoldsAndLeasesSurviveTheDeathOfTheWorker) {
  StartWorker();
  LocalClient client(attach_path(), "gpu");
  const Generation gen = client.Take(0);
  const engine::Grant remote = Lease();
  const FencingToken before = client.TokenOf(gen);
  KillWorker();
  EXPECT_TRUE(client.Release(0, gen)) << "the fast path needs no worker";
  const Generation second = client.Take(0);
  ASSERT_NE(second, 0u);
  StartWorker();
  EXPECT_EQ(client.socket.Receive().kind, Kind::kWorkerRestarted);
  EXPECT_TRUE(client.Holds(0, second));
  EXPECT_GT(client.TokenOf(second), before);
  EXPECT_EQ(plane_->readiness(), Readiness::kServing);
  auto found = plane_->GetLease("gpu", remote.lease.id);
  ASSERT_TRUE(std::holds_alternative<engine::LeaseInfo>(found));
  EXPECT_EQ(std::get<engine::LeaseInfo>(found).token, remote.lease.token);
  EXPECT_EQ(Release(remote), Reason::kNone);
  EXPECT_TRUE(client.Release(0, second));
  const engine::Grant next = Lease();
  EXPECT_GT(next.lease.token, remote.lease.token);
}

TEST_F(PlaneTest, SessionThatEndedWhileNoWorkerRanIsSwept) {
  StartWorker();
  auto client = std::make_unique<LocalClient>(attach_path(), "gpu");
  ASSERT_NE(client->Take(0), 0u);
  ASSERT_TRUE(WaitUntil([&] { return Counts().busy_local == 1; }));
  KillWorker();
  client.reset();
  StartWorker();
  EXPECT_TRUE(WaitUntil([&] { return Counts().free == 2; }));
}

TEST_F(PlaneTest, NewDaemonTakesReDeclarationsBeforeItGrants) {
  StartWorker();
  FencingToken token = 0;
  {
    LocalClient client(attach_path(), "gpu");
    token = client.TokenOf(client.Take(0));
    KillDaemon();
  }
  options_.redeclare_grace_ns = 2 * engine::kSecond;
  StartWorker();
  EXPECT_EQ(plane_->readiness(), Readiness::kRecovering);
  EXPECT_EQ(Ask(Request())->reason(), Reason::kRecovering);
  LocalClient client(attach_path(), "gpu");
  EXPECT_EQ(client.opened.pool_opened.recovering, 1u);
  EXPECT_EQ(client.Take(1), 0u);
  Message claim{};
  claim.kind = Kind::kClaim;
  claim.claim = {client.handle(), 0, token};
  client.socket.Send(claim);
  Message result = client.socket.Receive();
  ASSERT_EQ(result.kind, Kind::kClaimResult);
  EXPECT_EQ(result.claim_result.accepted, 1u);
  claim.claim.token = MakeToken(EpochOf(token) + 1'000, 5);
  client.socket.Send(claim);
  result = client.socket.Receive();
  EXPECT_EQ(result.claim_result.accepted, 0u) << "of an epoch that was never given out";
  EXPECT_TRUE(WaitUntil([&] { return plane_->readiness() == Readiness::kServing; }));
  EXPECT_TRUE(client.Holds(0, GenerationOf(token)));
  EXPECT_EQ(Lease().lease.slot, 1u);
  StartWorker();  // the words say nothing about epochs
  const auto is_valid = [&](FencingToken t) {
    return std::get<engine::TokenCheck>(plane_->CheckToken("gpu", 0, t)).valid;
  };
  EXPECT_TRUE(is_valid(token));
  EXPECT_FALSE(is_valid(MakeToken(EpochOf(token) - 1, GenerationOf(token))));
}

TEST_F(PlaneTest, WorkerThatDiesWhileRecoveringStartsItAllAnew) {
  StartWorker();
  FencingToken token = 0;
  {
    LocalClient client(attach_path(), "gpu");
    token = client.TokenOf(client.Take(0));
    KillDaemon();
  }
  options_.redeclare_grace_ns = 1 * engine::kSecond;
  StartWorker();
  LocalClient first(attach_path(), "gpu");
  Message claim{};
  claim.kind = Kind::kClaim;
  claim.claim = {first.handle(), 0, token};
  first.socket.Send(claim);
  ASSERT_EQ(first.socket.Receive().claim_result.accepted, 1u);
  StartWorker();
  EXPECT_TRUE(first.socket.IsHungUp());
  EXPECT_EQ(plane_->readiness(), Readiness::kRecovering);
  LocalClient second(attach_path(), "gpu");
  EXPECT_NE(second.opened.pool_opened.pool_uid, first.opened.pool_opened.pool_uid);
  claim.claim.pool = second.handle();
  second.socket.Send(claim);
  EXPECT_EQ(second.socket.Receive().claim_result.accepted, 1u);
  EXPECT_TRUE(WaitUntil([&] { return plane_->readiness() == Readiness::kServing; }));
  EXPECT_TRUE(second.Holds(0, GenerationOf(token)));
}

// Nobody could have been there before the first worker; but since then somebody has come.
TEST_F(PlaneTest, WorkerThatDiesWhileAnotherPoolIsHeldOffAsksThoseWhoHaveComeSince) {
  StartWorker();
  LocalClient first(attach_path(), "gpu");
  const Generation gen = first.Take(0);
  ASSERT_NE(gen, 0u);
  keeper_->shared().recovering_until_ns = plane_->NowNs() + engine::kMinute;  // that pool
  options_.redeclare_grace_ns = 1 * engine::kSecond;
  StartWorker();
  EXPECT_TRUE(first.socket.IsHungUp());
  EXPECT_EQ(plane_->readiness(), Readiness::kRecovering);
  LocalClient second(attach_path(), "gpu");
  Message claim{};
  claim.kind = Kind::kClaim;
  claim.claim = {second.handle(), 0, first.TokenOf(gen)};
  second.socket.Send(claim);
  EXPECT_EQ(second.socket.Receive().claim_result.accepted, 1u);
}

TEST_F(PlaneTest, DeletedPoolTellsItsHolders) {
  StartWorker();
  engine::PoolOptions pool;
  pool.id = "api";
  pool.capacity = 1;
  ASSERT_TRUE(std::holds_alternative<PoolInfo>(plane_->CreatePool(pool)));
  LocalClient client(attach_path(), "api");
  const Generation gen = client.Take(0);
  ASSERT_NE(gen, 0u);
  ASSERT_TRUE(std::holds_alternative<Done>(plane_->DeletePool("api", true)));
  const Message ended = client.socket.Receive();
  ASSERT_EQ(ended.kind, Kind::kLeaseEnded);
  EXPECT_EQ(GenerationOf(ended.lease_ended.token), gen);
  EXPECT_EQ(client.Take(0), 0u);
}

// A page of DATA loses its storage, as far as this process sees it.
TEST_F(PlaneTest, LostMemoryDamagesItsPoolAndNothingElse) {
  AddPool("other", 1);
  AddPool("victim", 3).default_ttl_ns = engine::kMinute;
  StartWorker();
  const engine::Grant held = Lease("victim");
  StartWorker();
  LocalClient client(attach_path(), "victim");
  ASSERT_NE(client.Take(1), 0u);
  UniqueFd empty(memfd_create("empty", MFD_CLOEXEC));
  ASSERT_NE(mmap(keeper_->DataOf("victim") + shm::kSlotsOffset, shm::kPageBytes,
                 PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, empty.get(), 0),
            MAP_FAILED);
  const auto state_of = [&](const char* pool) {
    return std::get<PoolInfo>(plane_->GetPool(pool)).state;
  };
  ASSERT_TRUE(WaitUntil([&] { return state_of("victim") == engine::PoolState::kDamaged; }));
  EXPECT_EQ(Ask(Request(kLongWait), "victim")->reason(), Reason::kDataLoss);
  EXPECT_EQ(client.Take(2), 0u) << "the grant bits are gone";
  EXPECT_GT(std::get<PoolInfo>(plane_->GetPool("victim")).stats.integrity_violations, 0u);
  EXPECT_EQ(Release(held, "victim"), Reason::kNone) << "the ledger has it";
  EXPECT_EQ(Ask(Request(), "victim")->reason(), Reason::kDataLoss);
  EXPECT_EQ(state_of("other"), engine::PoolState::kActive);
  Lease("other");
}

TEST_F(PlaneTest, PoolWithReuseDelayCoolsAndOpensAgain) {
  AddPool("cool", 1).reuse_delay_ns = 100 * engine::kMillisecond;
  StartWorker();
  LocalClient client(attach_path(), "cool");
  const Generation gen = client.Take(0);
  ASSERT_NE(gen, 0u);
  ASSERT_TRUE(client.Release(0, gen));
  auto waiter = Ask(Request(kLongWait), "cool");
  ASSERT_TRUE(waiter->Wait());
  EXPECT_TRUE(waiter->is_granted());
}

}  // namespace
}  // namespace leaseplane::plane
