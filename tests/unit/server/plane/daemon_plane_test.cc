// SPDX-License-Identifier: Apache-2.0
#include "server/plane/daemon_plane.h"

#include "tests/unit/server/plane/plane_fixture.h"

namespace leaseplane::plane {
namespace {

constexpr int64_t kLongWait = 60 * engine::kSecond;

TEST_F(PlaneTest, GrantsUntilThePoolIsFullAndAgainAfterARelease) {
  StartWorker();
  const engine::Grant first = Lease();
  const engine::Grant second = Lease();
  EXPECT_NE(first.lease.slot, second.lease.slot);
  auto third = Ask(Request());
  EXPECT_EQ(third->reason(), Reason::kNoFreeSlot);
  EXPECT_EQ(Release(first), Reason::kNone);
  const engine::Grant fourth = Lease();
  EXPECT_EQ(fourth.lease.slot, first.lease.slot);
  EXPECT_GT(fourth.lease.token, first.lease.token);
  EXPECT_EQ(Counts().busy_remote, 2u);
}

TEST_F(PlaneTest, UnknownPoolIsNotFoundByEveryVerb) {
  StartWorker();
  EXPECT_EQ(Ask(Request(), "nix")->reason(), Reason::kNotFound);
  EXPECT_EQ(Release(engine::Grant{}, "nix"), Reason::kNotFound);
  auto lease = plane_->GetLease("nix", {1, 2});
  EXPECT_EQ(std::get<engine::Refusal>(lease).reason, Reason::kNotFound);
  EXPECT_EQ(std::get<engine::Refusal>(lease).field, "pool");
}

TEST_F(PlaneTest, WaiterGetsTheSlotThatIsReleased) {
  StartWorker();
  const engine::Grant first = Lease();
  Lease();
  auto waiter = Ask(Request(kLongWait));
  ASSERT_NE(last_ticket_, 0u);
  auto position = plane_->QueuePosition("gpu", last_ticket_);
  EXPECT_EQ(std::get<engine::QueueState>(position).position, 1u);
  Release(first);
  ASSERT_TRUE(waiter->Wait());
  ASSERT_TRUE(waiter->is_granted());
  EXPECT_EQ(waiter->grant().lease.slot, first.lease.slot);
}

TEST_F(PlaneTest, CancelledWaiterIsNeverAnsweredAndNeverGranted) {
  StartWorker();
  const engine::Grant first = Lease();
  Lease();
  auto gone = Ask(Request(kLongWait));
  plane_->Cancel("gpu", last_ticket_);
  Release(first);
  EXPECT_EQ(Counts().busy_remote, 1u);
  EXPECT_EQ(gone->answers(), 0);
  EXPECT_EQ(Counts().waiters, 0u);
}

TEST_F(PlaneTest, WaitEndsByItselfWhenItsTimeIsOver) {
  StartWorker();
  Lease();
  Lease();
  auto waiter = Ask(Request(50 * engine::kMillisecond));
  ASSERT_TRUE(waiter->Wait());
  EXPECT_EQ(waiter->reason(), Reason::kWaitTimeout);
}

TEST_F(PlaneTest, EndWaitRefusesWithTheGivenReason) {
  StartWorker();
  Lease();
  Lease();
  auto waiter = Ask(Request(kLongWait));
  plane_->EndWait("gpu", last_ticket_, Reason::kWaitTimeout);
  ASSERT_TRUE(waiter->Wait());
  EXPECT_EQ(waiter->reason(), Reason::kWaitTimeout);
}

TEST_F(PlaneTest, RenewGoesOnAndStaleTokensFail) {
  StartWorker();
  const engine::Grant grant = Lease();
  std::optional<Result<engine::RenewResult>> answer;
  plane_->Renew("gpu", HolderOf(grant), 0, plane_->NowNs(),
                [&](Result<engine::RenewResult> r) { answer = std::move(r); });
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(std::get<engine::RenewResult>(*answer).lease.token, grant.lease.token);
  engine::HolderRef stale = HolderOf(grant);
  --stale.token;
  plane_->Renew("gpu", stale, 0, plane_->NowNs(),
                [&](Result<engine::RenewResult> r) { answer = std::move(r); });
  EXPECT_EQ(std::get<engine::Refusal>(*answer).reason, Reason::kStaleToken);
}

TEST_F(PlaneTest, SyncPoolAnswersWhenTheDiskHasIt) {
  AddPool("sync", 1).durability = engine::Durability::kSync;
  StartWorker();
  const engine::Grant grant = Lease("sync");
  EXPECT_EQ(Release(grant, "sync"), Reason::kNone);
}

TEST_F(PlaneTest, CallCancelledWhileTheDiskIsWrittenGivesItsSlotBack) {
  AddPool("sync", 1).durability = engine::Durability::kSync;
  StartWorker();
  for (int i = 0; i < 50; ++i) {
    auto caller = Ask(Request(), "sync");
    plane_->Cancel("sync", last_ticket_);
    if (caller->is_granted()) Release(caller->grant(), "sync");
    EXPECT_TRUE(WaitUntil([&] { return Counts("sync").busy_remote == 0; }));
  }
}

class Watcher final : public LeaseWatcher {
 public:
  void OnLost(const std::string&, const engine::LeaseId& id, Reason reason) override {
    lost_id = id;
    lost = static_cast<int>(reason);
  }
  void OnRevokeRequested(const std::string&, const engine::LeaseId&, int64_t grace) override {
    grace_ns = grace;
  }
  void OnDraining() override { draining = true; }
  void OnWaiting(const std::string& pool) override { waited_for_gpu += pool == "gpu" ? 1 : 0; }

  engine::LeaseId lost_id;
  std::atomic<int> lost{-1};
  std::atomic<int64_t> grace_ns{-1};
  std::atomic<bool> draining{false};
  std::atomic<int> waited_for_gpu{0};
};

TEST_F(PlaneTest, WatcherHearsOfRevocationLossAndDrain) {
  StartWorker();
  const engine::Grant grant = Lease();
  Watcher watcher;
  plane_->WatchLease(&watcher, "gpu", grant.lease.id);
  plane_->Revoke("gpu", grant.lease.id, 20 * engine::kMillisecond, "test");
  EXPECT_EQ(watcher.grace_ns, 20 * engine::kMillisecond);
  EXPECT_TRUE(WaitUntil([&] { return watcher.lost == static_cast<int>(Reason::kLeaseRevoked); }));
  EXPECT_EQ(watcher.lost_id, grant.lease.id);
  plane_->BeginDrain();
  EXPECT_TRUE(watcher.draining);
  plane_->Unwatch(&watcher);
}

TEST_F(PlaneTest, AWatcherWhoComesLateHearsWhatItMissed) {
  StartWorker();
  const engine::Grant wanted = Lease(), ended = Lease();
  plane_->Revoke("gpu", wanted.lease.id, engine::kMinute, "test");
  plane_->Revoke("gpu", ended.lease.id, 0, "test");
  Watcher late, too_late, lost_one;
  plane_->WatchLease(&late, "gpu", wanted.lease.id);
  EXPECT_GT(late.grace_ns, 0);
  EXPECT_LE(late.grace_ns, engine::kMinute);
  EXPECT_EQ(late.lost, -1);
  plane_->WatchLease(&too_late, "gpu", ended.lease.id);
  EXPECT_EQ(too_late.lost, static_cast<int>(Reason::kLeaseRevoked));
  plane_->WatchLease(&lost_one, "gpu", {7, 7});
  EXPECT_EQ(lost_one.lost, static_cast<int>(Reason::kNotFound));
  for (Watcher* watcher : {&late, &too_late, &lost_one}) plane_->Unwatch(watcher);
}

TEST_F(PlaneTest, WhoAskedForItHearsThatSomebodyWaitsAsLongAsItDoes) {
  StartWorker();
  Lease();
  Lease();
  Watcher hears, does_not;
  plane_->Watch(&hears);
  plane_->Watch(&does_not);
  plane_->HearWaiting(&hears);
  EXPECT_EQ(hears.waited_for_gpu, 0);
  auto waiter = Ask(Request(kLongWait));
  EXPECT_GE(hears.waited_for_gpu, 1);
  EXPECT_TRUE(WaitUntil([&] { return hears.waited_for_gpu >= 3; }));
  EXPECT_EQ(does_not.waited_for_gpu, 0);
  plane_->Unwatch(&hears);
  plane_->Unwatch(&does_not);
}

TEST_F(PlaneTest, DrainRefusesWaitersAndNewCallsAndKeepsLeases) {
  StartWorker();
  const engine::Grant grant = Lease();
  Lease();
  auto waiter = Ask(Request(kLongWait));
  EXPECT_EQ(plane_->readiness(), Readiness::kServing);
  plane_->BeginDrain();
  ASSERT_TRUE(waiter->Wait());
  EXPECT_EQ(waiter->reason(), Reason::kDraining);
  EXPECT_EQ(Ask(Request())->reason(), Reason::kDraining);
  EXPECT_EQ(plane_->readiness(), Readiness::kDraining);
  EXPECT_TRUE(plane_->Stop().ok());
  KillDaemon();
  StartWorker();
  auto found = plane_->GetLease("gpu", grant.lease.id);
  ASSERT_TRUE(std::holds_alternative<engine::LeaseInfo>(found));
  EXPECT_EQ(std::get<engine::LeaseInfo>(found).token, grant.lease.token);
  EXPECT_EQ(plane_->readiness(), Readiness::kServing) << "nothing local can exist";
}

// Its period is 100 ms: somewhere among these ends it comes while the pools go.
TEST_F(PlaneTest, TheStoresThreadIsGoneBeforeThePoolsAre) {
  for (int i = 0; i < 63; ++i) AddPool("more-" + std::to_string(i), 1);
  for (int round = 0; round < 25; ++round) {
    StartWorker();
    plane_->BeginDrain();
    ASSERT_TRUE(plane_->Stop().ok());
    usleep(round * 4'000);
    plane_.reset();
  }
}

TEST_F(PlaneTest, ADrainedPoolStaysSoOverRestartsUntilItIsResumed) {
  AddPool("other", 1);
  StartWorker();
  const engine::Grant held = Lease();
  LocalClient client(attach_path(), "gpu");
  const auto expect_shut = [&](const char* when) {
    SCOPED_TRACE(when);
    const auto pool = std::get<PoolInfo>(plane_->GetPool("gpu"));
    EXPECT_EQ(pool.state, engine::PoolState::kDraining);
    EXPECT_EQ(pool.drain_reason, "new disks");
    auto waiter = Ask(Request(kLongWait));
    ASSERT_TRUE(waiter->Wait());
    EXPECT_EQ(waiter->reason(), Reason::kPoolDraining);
    EXPECT_EQ(client.Take(0) + client.Take(1), 0u);
    EXPECT_EQ(Counts().free, 1u);
    EXPECT_EQ(plane_->readiness(), Readiness::kServing);
    EXPECT_TRUE(plane_->Figures().pools[0].is_drained);
    EXPECT_FALSE(plane_->Figures().pools[1].is_drained);
  };
  plane_->DrainPool("gpu", "new disks");
  expect_shut("drained");
  StartWorker();
  expect_shut("the next worker");
  KillDaemon();
  StartWorker();
  ASSERT_TRUE(WaitUntil([&] { return plane_->readiness() == Readiness::kServing; }));
  expect_shut("the next daemon");
  EXPECT_EQ(Release(held), Reason::kNone);
  Lease("other");
  plane_->ResumePool("gpu");
  Lease();
  StartWorker();
  Lease();
  EXPECT_EQ(std::get<engine::Refusal>(plane_->DrainPool("nil", "")).reason, Reason::kNotFound);
  EXPECT_EQ(std::get<engine::Refusal>(plane_->ResumePool("nil")).reason, Reason::kNotFound);
}

TEST_F(PlaneTest, ADrainIsToldToWhoKeepsLeasesAsLongAsItLasts) {
  StartWorker();
  Watcher hears;
  plane_->Watch(&hears);
  plane_->HearWaiting(&hears);
  plane_->DrainPool("gpu", "");
  EXPECT_TRUE(WaitUntil([&] { return hears.waited_for_gpu >= 3; }));
  plane_->Unwatch(&hears);
}

TEST_F(PlaneTest, WaitersOfADeletedPoolHearSo) {
  StartWorker();
  engine::PoolOptions pool;
  pool.id = "api";
  pool.capacity = 1;
  plane_->CreatePool(pool);
  Lease("api");
  auto remote = Ask(Request(kLongWait), "api");
  LocalClient client(attach_path(), "api");
  attach::Message enqueue{};
  enqueue.kind = attach::Kind::kEnqueue;
  enqueue.enqueue = {client.handle(), 0, 77, 0, kLongWait};
  ASSERT_TRUE(client.socket.Send(enqueue));
  ASSERT_TRUE(WaitUntil([&] { return Counts("api").waiters == 2; }));
  plane_->DeletePool("api", true);
  ASSERT_TRUE(remote->Wait());
  EXPECT_EQ(remote->reason(), Reason::kCancelled);
  const attach::Message refused = client.socket.Receive();
  ASSERT_EQ(refused.kind, attach::Kind::kTicketRefused);
  EXPECT_EQ(refused.ticket_refused.reason, static_cast<uint32_t>(attach::Refusal::kPoolDeleted));
}

TEST_F(PlaneTest, PoolsMadeByTheApiComeBackAndDeletedOnesDoNot) {
  StartWorker();
  engine::PoolOptions pool;
  pool.id = "api";
  pool.capacity = 3;
  auto created = plane_->CreatePool(pool);
  ASSERT_TRUE(std::holds_alternative<PoolInfo>(created));
  const engine::Grant grant = Lease("api");
  auto again = plane_->CreatePool(pool);
  EXPECT_EQ(std::get<engine::Refusal>(again).reason, Reason::kAlreadyExists);
  StartWorker();
  EXPECT_EQ(Counts("api").busy_remote, 1u);
  auto kept = plane_->DeletePool("api", false);
  EXPECT_EQ(std::get<engine::Refusal>(kept).reason, Reason::kFailedPrecondition);
  EXPECT_EQ(Counts("api").busy_remote, 1u);
  auto waiter = Ask(Request(kLongWait), "api");
  EXPECT_TRUE(waiter->Wait());
  auto deleted = plane_->DeletePool("api", true);
  EXPECT_TRUE(std::holds_alternative<Done>(deleted));
  EXPECT_EQ(Ask(Request(), "api")->reason(), Reason::kNotFound);
  StartWorker();
  EXPECT_EQ(plane_->ListPools().size(), 1u);
  created = plane_->CreatePool(pool);
  ASSERT_TRUE(std::holds_alternative<PoolInfo>(created));
  EXPECT_GT(Lease("api").lease.token, grant.lease.token) << "tokens do not go back";
}

TEST_F(PlaneTest, PoolOfTheConfigurationIsNotDeleted) {
  StartWorker();
  auto deleted = plane_->DeletePool("gpu", true);
  EXPECT_EQ(std::get<engine::Refusal>(deleted).reason, Reason::kFailedPrecondition);
  Lease();
}

TEST_F(PlaneTest, AReloadThatFailsHalfwayTakesBackWhatItMade) {
  StartWorker();
  engine::PoolOptions fresh, taken = options_.pools[0], other_rules = options_.pools[0];
  fresh.id = "fresh";
  fresh.capacity = 1;
  other_rules.default_ttl_ns = 77 * engine::kSecond;
  EXPECT_FALSE(plane_->ApplyPools({fresh, taken}, {other_rules}).ok());
  EXPECT_EQ(Ask(Request(), "fresh")->reason(), Reason::kNotFound);
  EXPECT_EQ(Lease().lease.ttl_ns, 15 * engine::kSecond);
  ASSERT_TRUE(plane_->ApplyPools({fresh}, {other_rules}).ok());
  const engine::Grant lease = Lease("fresh");
  EXPECT_EQ(Lease().lease.ttl_ns, 77 * engine::kSecond);
  auto info = plane_->GetPool("gpu");
  EXPECT_EQ(std::get<PoolInfo>(info).options.default_ttl_ns, 77 * engine::kSecond);
  // The next worker is given both by its configuration.
  options_.pools = {other_rules, fresh};
  StartWorker();
  EXPECT_EQ(Release(lease, "fresh"), Reason::kNone);
}

TEST_F(PlaneTest, FiguresCountWhatHappened) {
  StartWorker();
  Release(Lease());
  Lease();
  const obs::DaemonFigures figures = plane_->Figures();
  ASSERT_EQ(figures.pools.size(), 1u);
  EXPECT_EQ(figures.pools[0].stats.acquired_remote, 2u);
  EXPECT_EQ(figures.pools[0].counts.busy_remote, 1u);
  EXPECT_EQ(figures.worker_starts, 1u);
  EXPECT_GT(figures.pools[0].epoch, 0u);
  EXPECT_EQ(figures.pools[0].first_waited_ns, 0);
  EXPECT_GT(figures.sessions_limit, 0u);
  for (const auto& [reason, is_so] : figures.unready) EXPECT_FALSE(is_so) << reason;
  auto waiter = Ask(Request(kLongWait), "gpu");
  WaitUntil([&] {
    return plane_->Figures().pools[0].counts.waiters == 0 ||
           plane_->Figures().pools[0].first_waited_ns > 0;
  });
  plane_->BeginDrain();
  const auto unready = plane_->Figures().unready;
  EXPECT_EQ(std::count_if(unready.begin(), unready.end(), [](const auto& r) { return r.second; }),
            1);
  EXPECT_TRUE(plane_->live());
}

TEST_F(PlaneTest, ManyPoolsAreServedByTheirListeners) {
  for (int i = 0; i < 300; ++i) AddPool("p" + std::to_string(i), 1);
  StartWorker();
  for (const char* pool : {"p0", "p150", "p299"}) {
    const engine::Grant grant = Lease(pool);
    auto waiter = Ask(Request(kLongWait), pool);
    Release(grant, pool);
    ASSERT_TRUE(waiter->Wait());
    EXPECT_TRUE(waiter->is_granted());
  }
}

}  // namespace
}  // namespace leaseplane::plane
