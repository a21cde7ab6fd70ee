// SPDX-License-Identifier: Apache-2.0
#include "server/rpc/guarded_plane.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>

#include "server/security/principal.h"
#include "tests/unit/server/rpc/fake_plane.h"

namespace leaseplane::rpc {
namespace {

using engine::Reason;
using security::AccessPolicy;
using security::Door;
using security::Role;

class AnswerListener final : public plane::AcquireListener {
 public:
  void OnGranted(engine::Grant) override { reason = Reason::kNone; }
  void OnRefused(engine::Refusal refusal) override { reason = refusal.reason; }
  Reason reason = Reason::kInternal;
};

template <class T>
Reason ReasonIn(const plane::Result<T>& result) {
  const auto* refusal = std::get_if<engine::Refusal>(&result);
  return refusal == nullptr ? Reason::kNone : refusal->reason;
}

struct Verb {
  const char* name;
  std::function<Reason(plane::Plane&, const std::string& pool)> call;
};

// Every verb that names a pool, and how it was answered.
std::vector<Verb> Verbs() {
  const engine::HolderRef holder{"somebody", "worker", SomeLease().id, 77};
  return {
      {"Acquire",
       [](plane::Plane& p, const std::string& pool) {
         auto listener = std::make_shared<AnswerListener>();
         p.Acquire(pool, {}, 0, listener);
         return listener->reason;
       }},
      {"Renew",
       [holder](plane::Plane& p, const std::string& pool) {
         Reason reason = Reason::kInternal;
         p.Renew(pool, holder, 0, 0, [&](const auto& result) { reason = ReasonIn(result); });
         return reason;
       }},
      {"Release",
       [holder](plane::Plane& p, const std::string& pool) {
         Reason reason = Reason::kInternal;
         p.Release(pool, holder, false, [&](const auto& result) { reason = ReasonIn(result); });
         return reason;
       }},
      {"GetLease",
       [](plane::Plane& p, const std::string& pool) {
         return ReasonIn(p.GetLease(pool, SomeLease().id));
       }},
      {"GetLocalLease",
       [](plane::Plane& p, const std::string& pool) {
         return ReasonIn(p.GetLocalLease(pool, 3, 77));
       }},
      {"ListLeases", [](plane::Plane& p,
                        const std::string& pool) { return ReasonIn(p.ListLeases(pool, 0, 10)); }},
      {"CheckToken", [](plane::Plane& p,
                        const std::string& pool) { return ReasonIn(p.CheckToken(pool, 3, 77)); }},
      {"CreatePool",
       [](plane::Plane& p, const std::string& pool) {
         engine::PoolOptions options;
         options.id = pool;
         return ReasonIn(p.CreatePool(options));
       }},
      {"GetPool",
       [](plane::Plane& p, const std::string& pool) { return ReasonIn(p.GetPool(pool)); }},
      {"DeletePool",
       [](plane::Plane& p, const std::string& pool) { return ReasonIn(p.DeletePool(pool, true)); }},
      {"DrainPool",
       [](plane::Plane& p, const std::string& pool) { return ReasonIn(p.DrainPool(pool, "")); }},
      {"ResumePool",
       [](plane::Plane& p, const std::string& pool) { return ReasonIn(p.ResumePool(pool)); }},
      {"ListSlots",
       [](plane::Plane& p, const std::string& pool) { return ReasonIn(p.ListSlots(pool, 0, 9)); }},
      {"LockSlot",
       [](plane::Plane& p, const std::string& pool) { return ReasonIn(p.LockSlot(pool, 1, "")); }},
      {"UnlockSlot",
       [](plane::Plane& p, const std::string& pool) { return ReasonIn(p.UnlockSlot(pool, 1)); }},
      {"Revoke",
       [](plane::Plane& p, const std::string& pool) {
         return ReasonIn(p.Revoke(pool, SomeLease().id, 0, ""));
       }},
      {"RevokeLocal",
       [](plane::Plane& p, const std::string& pool) {
         return ReasonIn(p.RevokeLocal(pool, 3, 77, 0, ""));
       }},
      {"ListWaiters",
       [](plane::Plane& p, const std::string& pool) { return ReasonIn(p.ListWaiters(pool)); }},
      {"CancelWaiter",
       [](plane::Plane& p, const std::string& pool) { return ReasonIn(p.CancelWaiter(pool, 1)); }},
  };
}

class GuardedPlaneTest : public testing::Test {
 protected:
  GuardedPlaneTest() { plane.is_slot_free = true; }

  std::shared_ptr<GuardedPlane> Guard(const std::string& principal, Door door = Door::kTcp) {
    return std::make_shared<GuardedPlane>(plane, policy, Caller{principal, principal, door});
  }
  // Names of the verbs that `principal` is let through to the plane with.
  std::string Allowed(const std::string& principal, const std::string& pool,
                      Door door = Door::kTcp) {
    const auto guard = Guard(principal, door);
    std::string names;
    for (const Verb& verb : Verbs()) {
      const Reason reason = verb.call(*guard, pool);
      if (reason == Reason::kPermissionDenied || reason == Reason::kUnauthenticated) continue;
      names += (names.empty() ? "" : " ") + std::string(verb.name);
    }
    return names;
  }

  FakePlane plane;
  AccessPolicy policy{{{"viewer", "gpu", Role::kViewer, true},
                       {"holder", "gpu", Role::kHolder, true},
                       {"cleaner", "gpu", Role::kCleaner, true},
                       {"admin", "gpu", Role::kAdmin, true}}};
};

constexpr char kEverything[] =
    "Acquire Renew Release GetLease GetLocalLease ListLeases CheckToken CreatePool GetPool "
    "DeletePool DrainPool ResumePool ListSlots LockSlot UnlockSlot Revoke RevokeLocal ListWaiters "
    "CancelWaiter";

TEST_F(GuardedPlaneTest, ARoleIsItsVerbsAndNoOthers) {
  EXPECT_EQ(Allowed("viewer", "gpu"),
            "GetLease GetLocalLease ListLeases CheckToken GetPool ListSlots ListWaiters");
  EXPECT_EQ(Allowed("holder", "gpu"),
            "Acquire Renew Release GetLease GetLocalLease ListLeases CheckToken GetPool");
  EXPECT_EQ(Allowed("cleaner", "gpu"), "CheckToken GetPool ListSlots ListWaiters");
  EXPECT_EQ(Allowed("admin", "gpu"), kEverything);
  for (const char* principal : {"viewer", "holder", "cleaner", "admin", "stranger"}) {
    EXPECT_EQ(Allowed(principal, "db"), "") << principal;
  }
  EXPECT_EQ(Allowed("uid:0", "db", Door::kUnixSocket), kEverything);
}

// What a caller without a role hears is the same whether the plane would find something or not, and
// the plane is not even asked.
TEST_F(GuardedPlaneTest, WithoutARoleNothingShowsWhatExists) {
  for (const bool exists : {true, false}) {
    plane.refusal = exists ? std::optional<engine::Refusal>() : Refuse(Reason::kNotFound);
    for (const Verb& verb : Verbs()) {
      EXPECT_EQ(verb.call(*Guard("stranger"), "gpu"), Reason::kPermissionDenied) << verb.name;
      EXPECT_EQ(verb.call(*Guard(""), "gpu"), Reason::kUnauthenticated) << verb.name;
    }
  }
  EXPECT_THAT(plane.notes(), testing::IsEmpty());
  EXPECT_THAT(plane.acquired(), testing::IsEmpty());
  EXPECT_THAT(plane.renewals(), testing::IsEmpty());
}

TEST_F(GuardedPlaneTest, PoolsWithoutARoleAreNotListed) {
  for (const char* id : {"db", "gpu"}) {
    plane.pools.emplace_back().options.id = id;
  }
  ASSERT_EQ(Guard("viewer")->ListPools().size(), 1u);
  EXPECT_EQ(Guard("viewer")->ListPools()[0].options.id, "gpu");
  EXPECT_TRUE(Guard("stranger")->ListPools().empty());
  EXPECT_TRUE(Guard("")->ListPools().empty());
}

TEST_F(GuardedPlaneTest, WhoAsksIsWrittenHereWhateverTheHandlerSays) {
  engine::AcquireRequest request;
  request.principal = "somebody else";
  Guard("holder")->Acquire("gpu", request, 0, std::make_shared<AnswerListener>());
  ASSERT_EQ(plane.acquired().size(), 1u);
  EXPECT_EQ(plane.acquired()[0].principal, "holder");
  const engine::HolderRef other{"somebody else", "worker", SomeLease().id, 77};
  Guard("holder")->Renew("gpu", other, 0, 0, [](const auto&) {});
  ASSERT_EQ(plane.renewals().size(), 1u);
  EXPECT_EQ(plane.renewals()[0].holder.principal, "holder");
}

TEST_F(GuardedPlaneTest, ALeaseOfSomebodyElseIsNotRead) {
  // The plane's leases are anonymous's and uid:1000's.
  EXPECT_EQ(ReasonIn(Guard("holder")->GetLease("gpu", SomeLease().id)), Reason::kNotHolder);
  EXPECT_EQ(ReasonIn(Guard("holder")->GetLocalLease("gpu", 3, 77)), Reason::kNotHolder);
  EXPECT_EQ(ReasonIn(Guard("viewer")->GetLease("gpu", SomeLease().id)), Reason::kNone);
  policy = AccessPolicy({{"*", "gpu", Role::kHolder, true}});
  EXPECT_EQ(ReasonIn(Guard("anonymous")->GetLease("gpu", SomeLease().id)), Reason::kNone);
  EXPECT_EQ(ReasonIn(Guard("uid:1000", Door::kUnixSocket)->GetLocalLease("gpu", 3, 77)),
            Reason::kNone);
}

TEST_F(GuardedPlaneTest, AHoldersListIsItsOwnLeasesOverAllPages) {
  for (SlotIndex slot = 0; slot < 50; ++slot) {
    engine::LeaseInfo lease = SomeLease();
    lease.slot = slot;
    lease.principal = slot % 10 == 9 ? "holder" : "other";
    plane.leases["gpu"].push_back(lease);
  }
  const auto slots = [&](const std::string& principal, SlotIndex first, uint32_t count) {
    std::vector<SlotIndex> found;
    const auto result = Guard(principal)->ListLeases("gpu", first, count);
    for (const auto& lease : std::get<std::vector<engine::LeaseInfo>>(result)) {
      found.push_back(lease.slot);
    }
    return found;
  };
  EXPECT_THAT(slots("holder", 0, 3), testing::ElementsAre(9, 19, 29));
  EXPECT_THAT(slots("holder", 20, 9), testing::ElementsAre(29, 39, 49));
  EXPECT_THAT(slots("holder", 50, 9), testing::IsEmpty());
  EXPECT_THAT(slots("viewer", 5, 3), testing::ElementsAre(5, 6, 7));
}

TEST_F(GuardedPlaneTest, AnAdministratorActsInTheHoldersName) {
  const engine::HolderRef lease{"", "worker", SomeLease().id, 77};
  plane.only_holder = "anonymous";
  const auto renew = [&](const std::string& principal) {
    Reason reason = Reason::kInternal;
    Guard(principal)->Renew("gpu", lease, 0, 0, [&](const auto& r) { reason = ReasonIn(r); });
    return reason;
  };
  const auto release = [&](const std::string& principal) {
    Reason reason = Reason::kInternal;
    Guard(principal)->Release("gpu", lease, false, [&](const auto& r) { reason = ReasonIn(r); });
    return reason;
  };
  EXPECT_EQ(renew("holder"), Reason::kNotHolder);
  EXPECT_EQ(release("holder"), Reason::kNotHolder);
  EXPECT_EQ(renew("admin"), Reason::kNone);
  EXPECT_EQ(release("admin"), Reason::kNone);
  plane.only_holder = "nobody at all";
  EXPECT_EQ(renew("admin"), Reason::kNotHolder) << "once, and not for ever";
}

TEST_F(GuardedPlaneTest, AdminServiceIsOpenWhereItWasUnlessThereAreRules) {
  EXPECT_EQ(Guard("stranger")->AdminServiceRefusal(), Reason::kNone) << "each verb decides";
  EXPECT_EQ(Guard("")->AdminServiceRefusal(), Reason::kUnauthenticated);
  policy = AccessPolicy();
  EXPECT_EQ(Guard("app")->AdminServiceRefusal(), Reason::kPermissionDenied);
  EXPECT_EQ(Guard("app", Door::kAdminTcp)->AdminServiceRefusal(), Reason::kNone);
  EXPECT_EQ(Guard("uid:5", Door::kUnixSocket)->AdminServiceRefusal(), Reason::kNone);
  EXPECT_EQ(Guard("", Door::kUnixSocket)->AdminServiceRefusal(), Reason::kUnauthenticated);
}

}  // namespace
}  // namespace leaseplane::rpc
