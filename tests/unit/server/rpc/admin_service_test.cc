// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/server/rpc/rpc_fixture.h"

namespace leaseplane::rpc {
namespace {

using engine::Reason;
using testing::ElementsAre;

class AdminServiceTest : public RpcTest {
 protected:
  // Calls `method` of `stub` with a fresh context.
  template <class Request, class Response>
  grpc::Status Invoke(grpc::Status (v1::AdminService::Stub::*method)(grpc::ClientContext*,
                                                                     const Request&, Response*),
                      const Request& request, Response* response,
                      v1::AdminService::Stub* stub = nullptr) {
    Call call;
    return ((stub != nullptr ? stub : admin.get())->*method)(&call, request, response);
  }

  // The status of an empty request to each method.
  std::vector<grpc::Status> InvokeAll(v1::AdminService::Stub* stub) {
    using Stub = v1::AdminService::Stub;
    v1::Pool pool;
    v1::ListPoolsResponse pools;
    v1::DeletePoolResponse deleted;
    v1::DrainPoolResponse drained;
    v1::ResumePoolResponse resumed;
    v1::ListSlotsResponse slots;
    v1::LockSlotResponse locked;
    v1::UnlockSlotResponse unlocked;
    v1::RevokeLeaseResponse revoked;
    v1::ListWaitersResponse waiters;
    v1::CancelWaiterResponse cancelled;
    return {Invoke(&Stub::CreatePool, {}, &pool, stub),
            Invoke(&Stub::GetPool, {}, &pool, stub),
            Invoke(&Stub::ListPools, {}, &pools, stub),
            Invoke(&Stub::DeletePool, {}, &deleted, stub),
            Invoke(&Stub::DrainPool, {}, &drained, stub),
            Invoke(&Stub::ResumePool, {}, &resumed, stub),
            Invoke(&Stub::ListSlots, {}, &slots, stub),
            Invoke(&Stub::LockSlot, {}, &locked, stub),
            Invoke(&Stub::UnlockSlot, {}, &unlocked, stub),
            Invoke(&Stub::RevokeLease, {}, &revoked, stub),
            Invoke(&Stub::ListWaiters, {}, &waiters, stub),
            Invoke(&Stub::CancelWaiter, {}, &cancelled, stub)};
  }
};

TEST_F(AdminServiceTest, OverTcpEveryMethodIsDeniedBeforeTheRequestIsLookedAt) {
  auto over_tcp = v1::AdminService::NewStub(tcp_channel);
  for (const grpc::Status& status : InvokeAll(over_tcp.get())) {
    EXPECT_REFUSED(status, PERMISSION_DENIED, "PERMISSION_DENIED");
  }
  v1::GetPoolRequest not_utf8;
  not_utf8.set_name("\xff");
  v1::Pool pool;
  EXPECT_REFUSED(Invoke(&v1::AdminService::Stub::GetPool, not_utf8, &pool, over_tcp.get()),
                 PERMISSION_DENIED, "PERMISSION_DENIED");
}

TEST_F(AdminServiceTest, EmptyRequestsAreRefusedUnlessNothingIsRequired) {
  const auto statuses = InvokeAll(admin.get());
  int ok_count = 0;
  for (const grpc::Status& status : statuses) {
    if (status.ok()) {
      ++ok_count;
    } else {
      EXPECT_REFUSED(status, INVALID_ARGUMENT, "INVALID_ARGUMENT");
    }
  }
  EXPECT_EQ(ok_count, 1) << "ListPools";
}

TEST_F(AdminServiceTest, RefusalsOfThePlaneReachTheCaller) {
  plane.refusal = Refuse(Reason::kAlreadyExists);
  v1::CreatePoolRequest create;
  create.set_pool_id("gpu");
  create.mutable_pool()->set_capacity(1);
  v1::Pool pool;
  auto status = Invoke(&v1::AdminService::Stub::CreatePool, create, &pool);
  EXPECT_REFUSED(status, ALREADY_EXISTS, "ALREADY_EXISTS");
  EXPECT_EQ(DetailOf<google::rpc::ResourceInfo>(status)->resource_name(), "pools/gpu");

  plane.refusal = Refuse(Reason::kFailedPrecondition, "the pool has leases");
  v1::DeletePoolRequest remove;
  remove.set_name("pools/gpu");
  v1::DeletePoolResponse removed;
  status = Invoke(&v1::AdminService::Stub::DeletePool, remove, &removed);
  EXPECT_REFUSED(status, FAILED_PRECONDITION, "FAILED_PRECONDITION");
  EXPECT_EQ(status.error_message(), "the pool has leases");

  plane.refusal = Refuse(Reason::kNotFound);
  v1::LockSlotRequest lock;
  lock.set_name("pools/gpu/slots/9");
  v1::LockSlotResponse locked;
  status = Invoke(&v1::AdminService::Stub::LockSlot, lock, &locked);
  EXPECT_REFUSED(status, NOT_FOUND, "NOT_FOUND");
  EXPECT_EQ(DetailOf<google::rpc::ResourceInfo>(status)->resource_name(), "pools/gpu/slots/9");
}

TEST_F(AdminServiceTest, ADrainedPoolIsShownWithItsReason) {
  using Stub = v1::AdminService::Stub;
  v1::DrainPoolRequest drain;
  drain.set_name("pools/gpu");
  drain.set_reason("disks");
  v1::DrainPoolResponse drained;
  ASSERT_TRUE(Invoke(&Stub::DrainPool, drain, &drained).ok());
  EXPECT_EQ(drained.pool().name(), "pools/gpu");
  EXPECT_EQ(drained.pool().state(), v1::Pool::STATE_DRAINING);
  EXPECT_TRUE(drained.pool().drained());
  EXPECT_EQ(drained.pool().drain_reason(), "disks");
  v1::ResumePoolRequest resume;
  resume.set_name("pools/gpu");
  v1::ResumePoolResponse resumed;
  ASSERT_TRUE(Invoke(&Stub::ResumePool, resume, &resumed).ok());
  EXPECT_EQ(resumed.pool().state(), v1::Pool::STATE_ACTIVE);
  EXPECT_FALSE(resumed.pool().drained());

  drain.set_reason(std::string(engine::kReasonTextBytesMax + 1, 'x'));
  EXPECT_REFUSED(Invoke(&Stub::DrainPool, drain, &drained), INVALID_ARGUMENT, "INVALID_ARGUMENT");
  resume.set_name("gpu");
  EXPECT_REFUSED(Invoke(&Stub::ResumePool, resume, &resumed), INVALID_ARGUMENT, "INVALID_ARGUMENT");
  plane.refusal = Refuse(Reason::kStoreFailed);
  drain.set_reason("");
  EXPECT_REFUSED(Invoke(&Stub::DrainPool, drain, &drained), INTERNAL, "STORE_FAILED");
}

TEST_F(AdminServiceTest, APoolIsMadeFromWhatWasAskedFor) {
  v1::CreatePoolRequest request;
  request.set_pool_id("gpu");
  request.mutable_pool()->set_capacity(2);
  request.mutable_pool()->add_resources("one");
  v1::Pool pool;
  ASSERT_TRUE(Invoke(&v1::AdminService::Stub::CreatePool, request, &pool).ok());
  EXPECT_EQ(pool.name(), "pools/gpu");
  EXPECT_EQ(pool.capacity(), 2);
  EXPECT_EQ(pool.epoch(), 12);
  EXPECT_TRUE(pool.api_defined());
}

TEST_F(AdminServiceTest, BadFieldsOfAPoolAreNamedWithTheirPath) {
  v1::CreatePoolRequest request;
  request.set_pool_id("GPU");
  v1::Pool& pool = *request.mutable_pool();
  pool.set_capacity(1 << 20);
  pool.set_max_capacity(7);
  pool.set_fairness(static_cast<v1::Pool::Fairness>(99));
  pool.set_durability(static_cast<v1::Pool::Durability>(99));
  pool.mutable_max_ttl()->set_seconds(100'000);
  pool.set_max_waiters(-1);
  pool.add_resources(std::string(256, 'r'));
  (*pool.mutable_labels())[""] = "v";
  v1::Pool response;
  const auto status = Invoke(&v1::AdminService::Stub::CreatePool, request, &response);
  EXPECT_THAT(BadFieldsOf(status),
              testing::UnorderedElementsAre("pool_id", "pool.max_capacity", "pool.resources[0]",
                                            "pool.fairness", "pool.durability", "pool.max_ttl",
                                            "pool.max_waiters", "pool.labels"));
}

TEST_F(AdminServiceTest, APoolShowsItsCounts) {
  v1::GetPoolRequest request;
  request.set_name("pools/gpu");
  v1::Pool pool;
  ASSERT_TRUE(Invoke(&v1::AdminService::Stub::GetPool, request, &pool).ok());
  EXPECT_EQ(pool.counts().free_count(), 1);
  EXPECT_EQ(pool.counts().busy_count(), 3);
  EXPECT_EQ(pool.counts().local_busy_count(), 1);
  EXPECT_EQ(pool.counts().waiter_count(), 5);
}

TEST_F(AdminServiceTest, ListsComeInPages) {
  for (const char* id : {"a", "b", "c"}) plane.pools.emplace_back().options.id = id;
  for (SlotIndex slot = 0; slot < 3; ++slot) plane.slots.emplace_back().slot = slot;
  for (uint32_t i = 1; i <= 3; ++i) {
    plane.waiters.emplace_back().ticket = 10 * i;
    plane.waiters.back().position = i;
  }
  using Stub = v1::AdminService::Stub;
  std::vector<std::string> names;

  v1::ListPoolsRequest list_pools;
  v1::ListPoolsResponse pools;
  list_pools.set_page_size(2);
  ASSERT_TRUE(Invoke(&Stub::ListPools, list_pools, &pools).ok());
  for (const auto& pool : pools.pools()) names.push_back(pool.name());
  list_pools.set_page_token(pools.next_page_token());
  ASSERT_TRUE(Invoke(&Stub::ListPools, list_pools, &pools).ok());
  for (const auto& pool : pools.pools()) names.push_back(pool.name());
  EXPECT_EQ(pools.next_page_token(), "");

  v1::ListSlotsRequest list_slots;
  v1::ListSlotsResponse slots;
  list_slots.set_parent("pools/a");
  list_slots.set_page_size(2);
  ASSERT_TRUE(Invoke(&Stub::ListSlots, list_slots, &slots).ok());
  for (const auto& slot : slots.slots()) names.push_back(slot.name());
  list_slots.set_page_token(slots.next_page_token());
  ASSERT_TRUE(Invoke(&Stub::ListSlots, list_slots, &slots).ok());
  for (const auto& slot : slots.slots()) names.push_back(slot.name());

  v1::ListWaitersRequest list_waiters;
  v1::ListWaitersResponse waiters;
  list_waiters.set_parent("pools/a");
  list_waiters.set_page_size(2);
  ASSERT_TRUE(Invoke(&Stub::ListWaiters, list_waiters, &waiters).ok());
  for (const auto& waiter : waiters.waiters()) names.push_back(waiter.name());
  list_waiters.set_page_token(waiters.next_page_token());
  ASSERT_TRUE(Invoke(&Stub::ListWaiters, list_waiters, &waiters).ok());
  for (const auto& waiter : waiters.waiters()) names.push_back(waiter.name());

  EXPECT_THAT(names, ElementsAre("pools/a", "pools/b", "pools/c", "pools/a/slots/0",
                                 "pools/a/slots/1", "pools/a/slots/2", "pools/a/waiters/10",
                                 "pools/a/waiters/20", "pools/a/waiters/30"));
}

TEST_F(AdminServiceTest, LeasesOfEitherKindAreRevokedByName) {
  v1::RevokeLeaseRequest request;
  request.set_name(kLeaseName);
  request.mutable_grace_duration()->set_seconds(2);
  request.set_reason("maintenance");
  v1::RevokeLeaseResponse response;
  ASSERT_TRUE(Invoke(&v1::AdminService::Stub::RevokeLease, request, &response).ok());
  EXPECT_EQ(response.lease().state(), v1::Lease::STATE_REVOKED);
  request.set_name("pools/gpu/leases/local-3-77");
  ASSERT_TRUE(Invoke(&v1::AdminService::Stub::RevokeLease, request, &response).ok());
  EXPECT_THAT(plane.notes(), ElementsAre("Revoke 2000000000 maintenance", "RevokeLocal 3 77"));

  request.set_reason(std::string(256, 'r'));
  request.mutable_grace_duration()->set_seconds(86'401);
  EXPECT_THAT(BadFieldsOf(Invoke(&v1::AdminService::Stub::RevokeLease, request, &response)),
              ElementsAre("grace_duration", "reason"));
}

TEST_F(AdminServiceTest, AWaiterIsCancelledByName) {
  v1::CancelWaiterRequest request;
  request.set_name("pools/gpu/waiters/12");
  v1::CancelWaiterResponse response;
  ASSERT_TRUE(Invoke(&v1::AdminService::Stub::CancelWaiter, request, &response).ok());
  EXPECT_THAT(plane.notes(), ElementsAre("CancelWaiter gpu 12"));
}

TEST_F(AdminServiceTest, ASlotIsLockedWithItsReason) {
  v1::LockSlotRequest request;
  request.set_name("pools/gpu/slots/2");
  request.set_reason("fan");
  v1::LockSlotResponse response;
  ASSERT_TRUE(Invoke(&v1::AdminService::Stub::LockSlot, request, &response).ok());
  EXPECT_TRUE(response.slot().lock_pending());
  EXPECT_EQ(response.slot().lock_reason(), "fan");
}

}  // namespace
}  // namespace leaseplane::rpc
