// SPDX-License-Identifier: Apache-2.0
#include "server/rpc/admin_methods.h"

#include <algorithm>
#include <string>
#include <vector>

#include "server/rpc/convert.h"
#include "server/rpc/page_token.h"
#include "server/rpc/validate.h"

namespace leaseplane::rpc::admin {
namespace {

constexpr std::string_view kPoolsScope = "pools";

PageToken ReadPageToken(std::string_view scope, const std::string& text, FieldChecks* checks) {
  if (const auto token = ParsePageToken(scope, text)) return *token;
  checks->Fail("page_token", "must be the next_page_token of this list");
  return {};
}

// Answers a refusal; false if `result` is none.
template <class T>
bool AnswerRefusal(const plane::Result<T>& result, const Subject& subject, UnaryReply& reply) {
  const auto* refusal = std::get_if<engine::Refusal>(&result);
  if (refusal == nullptr) return false;
  reply.Fail(ToStatus(*refusal, subject));
  return true;
}

}  // namespace

void CreatePool(plane::Plane& plane, const v1::CreatePoolRequest& request, UnaryReply& reply) {
  FieldChecks checks;
  engine::PoolOptions options = ReadPool(request, &checks);
  if (!checks.ok()) return reply.Fail(checks.status());
  const Subject subject = PoolSubject(options.id);
  const auto result = plane.CreatePool(std::move(options));
  if (AnswerRefusal(result, subject, reply)) return;
  reply.Succeed(ToPool(std::get<plane::PoolInfo>(result)));
}

void GetPool(plane::Plane& plane, const v1::GetPoolRequest& request, UnaryReply& reply) {
  FieldChecks checks;
  const std::string pool = checks.Pool("name", request.name());
  if (!checks.ok()) return reply.Fail(checks.status());
  const auto result = plane.GetPool(pool);
  if (AnswerRefusal(result, PoolSubject(pool), reply)) return;
  reply.Succeed(ToPool(std::get<plane::PoolInfo>(result)));
}

void ListPools(plane::Plane& plane, const v1::ListPoolsRequest& request, UnaryReply& reply) {
  FieldChecks checks;
  const uint32_t page_size = checks.PageSize("page_size", request.page_size());
  const PageToken begin = ReadPageToken(kPoolsScope, request.page_token(), &checks);
  if (!checks.ok()) return reply.Fail(checks.status());
  v1::ListPoolsResponse response;
  for (const plane::PoolInfo& pool : plane.ListPools()) {
    if (pool.options.id < begin.pool) continue;
    if (static_cast<uint32_t>(response.pools_size()) == page_size) {
      response.set_next_page_token(FormatPageToken(kPoolsScope, {pool.options.id, 0}));
      break;
    }
    *response.add_pools() = ToPool(pool);
  }
  reply.Succeed(response);
}

void DeletePool(plane::Plane& plane, const v1::DeletePoolRequest& request, UnaryReply& reply) {
  FieldChecks checks;
  const std::string pool = checks.Pool("name", request.name());
  if (!checks.ok()) return reply.Fail(checks.status());
  const auto result = plane.DeletePool(pool, request.force());
  if (AnswerRefusal(result, PoolSubject(pool), reply)) return;
  reply.Succeed(v1::DeletePoolResponse());
}

void DrainPool(plane::Plane& plane, const v1::DrainPoolRequest& request, UnaryReply& reply) {
  FieldChecks checks;
  const std::string pool = checks.Pool("name", request.name());
  const std::string reason = checks.Text("reason", request.reason(), engine::kReasonTextBytesMax);
  if (!checks.ok()) return reply.Fail(checks.status());
  const auto result = plane.DrainPool(pool, reason);
  if (AnswerRefusal(result, PoolSubject(pool), reply)) return;
  v1::DrainPoolResponse response;
  *response.mutable_pool() = ToPool(std::get<plane::PoolInfo>(result));
  reply.Succeed(response);
}

void ResumePool(plane::Plane& plane, const v1::ResumePoolRequest& request, UnaryReply& reply) {
  FieldChecks checks;
  const std::string pool = checks.Pool("name", request.name());
  if (!checks.ok()) return reply.Fail(checks.status());
  const auto result = plane.ResumePool(pool);
  if (AnswerRefusal(result, PoolSubject(pool), reply)) return;
  v1::ResumePoolResponse response;
  *response.mutable_pool() = ToPool(std::get<plane::PoolInfo>(result));
  reply.Succeed(response);
}

void ListSlots(plane::Plane& plane, const v1::ListSlotsRequest& request, UnaryReply& reply) {
  FieldChecks checks;
  const std::string pool = checks.Pool("parent", request.parent());
  const uint32_t page_size = checks.PageSize("page_size", request.page_size());
  const std::string scope = "slots " + request.parent();
  const PageToken begin = ReadPageToken(scope, request.page_token(), &checks);
  if (!checks.ok()) return reply.Fail(checks.status());
  const auto first = static_cast<SlotIndex>(std::min<uint64_t>(begin.position, kCapacityMax));
  const auto result = plane.ListSlots(pool, first, page_size + 1);
  if (AnswerRefusal(result, PoolSubject(pool), reply)) return;
  v1::ListSlotsResponse response;
  for (const auto& slot : std::get<std::vector<engine::SlotInfo>>(result)) {
    if (static_cast<uint32_t>(response.slots_size()) == page_size) {
      response.set_next_page_token(FormatPageToken(scope, {pool, slot.slot}));
      break;
    }
    *response.add_slots() = ToSlot(pool, slot);
  }
  reply.Succeed(response);
}

void LockSlot(plane::Plane& plane, const v1::LockSlotRequest& request, UnaryReply& reply) {
  FieldChecks checks;
  const SlotRef slot = checks.Slot("name", request.name());
  const std::string reason = checks.Text("reason", request.reason(), engine::kReasonTextBytesMax);
  if (!checks.ok()) return reply.Fail(checks.status());
  const auto result = plane.LockSlot(slot.pool, slot.slot, reason);
  if (AnswerRefusal(result, SlotSubject(request.name()), reply)) return;
  v1::LockSlotResponse response;
  *response.mutable_slot() = ToSlot(slot.pool, std::get<engine::SlotInfo>(result));
  reply.Succeed(response);
}

void UnlockSlot(plane::Plane& plane, const v1::UnlockSlotRequest& request, UnaryReply& reply) {
  FieldChecks checks;
  const SlotRef slot = checks.Slot("name", request.name());
  if (!checks.ok()) return reply.Fail(checks.status());
  const auto result = plane.UnlockSlot(slot.pool, slot.slot);
  if (AnswerRefusal(result, SlotSubject(request.name()), reply)) return;
  v1::UnlockSlotResponse response;
  *response.mutable_slot() = ToSlot(slot.pool, std::get<engine::SlotInfo>(result));
  reply.Succeed(response);
}

void RevokeLease(plane::Plane& plane, const v1::RevokeLeaseRequest& request, UnaryReply& reply) {
  FieldChecks checks;
  const LeaseRef lease = checks.Lease("name", request.name());
  const int64_t grace_ns =
      checks.DurationNs("grace_duration", request.grace_duration(), 0, engine::kTtlMax);
  const std::string reason = checks.Text("reason", request.reason(), engine::kReasonTextBytesMax);
  if (!checks.ok()) return reply.Fail(checks.status());
  const auto result = lease.is_local
                          ? plane.RevokeLocal(lease.pool, lease.slot, lease.token, grace_ns, reason)
                          : plane.Revoke(lease.pool, lease.id, grace_ns, reason);
  if (AnswerRefusal(result, LeaseSubject(request.name()), reply)) return;
  v1::RevokeLeaseResponse response;
  *response.mutable_lease() = ToLease(lease.pool, std::get<engine::LeaseInfo>(result));
  reply.Succeed(response);
}

void ListWaiters(plane::Plane& plane, const v1::ListWaitersRequest& request, UnaryReply& reply) {
  FieldChecks checks;
  const std::string pool = checks.Pool("parent", request.parent());
  const uint32_t page_size = checks.PageSize("page_size", request.page_size());
  const std::string scope = "waiters " + request.parent();
  const PageToken begin = ReadPageToken(scope, request.page_token(), &checks);
  if (!checks.ok()) return reply.Fail(checks.status());
  const auto result = plane.ListWaiters(pool);
  if (AnswerRefusal(result, PoolSubject(pool), reply)) return;
  v1::ListWaitersResponse response;
  for (const auto& waiter : std::get<std::vector<engine::WaiterInfo>>(result)) {
    if (waiter.position < begin.position) continue;
    if (static_cast<uint32_t>(response.waiters_size()) == page_size) {
      response.set_next_page_token(FormatPageToken(scope, {pool, waiter.position}));
      break;
    }
    *response.add_waiters() = ToWaiter(pool, waiter);
  }
  reply.Succeed(response);
}

void CancelWaiter(plane::Plane& plane, const v1::CancelWaiterRequest& request, UnaryReply& reply) {
  FieldChecks checks;
  const WaiterRef waiter = checks.Waiter("name", request.name());
  if (!checks.ok()) return reply.Fail(checks.status());
  const auto result = plane.CancelWaiter(waiter.pool, waiter.ticket);
  if (AnswerRefusal(result, WaiterSubject(request.name()), reply)) return;
  reply.Succeed(v1::CancelWaiterResponse());
}

}  // namespace leaseplane::rpc::admin
