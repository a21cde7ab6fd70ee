// SPDX-License-Identifier: Apache-2.0
#include "server/rpc/guarded_plane.h"

namespace leaseplane::rpc {

using engine::LeaseInfo;
using engine::Reason;
using engine::Refusal;
using plane::Result;

security::Rights GuardedPlane::RightsIn(const std::string& pool) const {
  return is_known() ? policy_.RightsIn(pool, caller_.principal, caller_.door) : 0;
}

Refusal GuardedPlane::Denied() const {
  Refusal refusal;
  refusal.reason = is_known() ? Reason::kPermissionDenied : Reason::kUnauthenticated;
  return refusal;
}

Reason GuardedPlane::AdminServiceRefusal() const {
  if (!is_known()) return Reason::kUnauthenticated;
  const bool is_open = policy_.has_rules() || caller_.door != security::Door::kTcp;
  return is_open ? Reason::kNone : Reason::kPermissionDenied;
}

// -- leases

uint64_t GuardedPlane::Acquire(const std::string& pool, engine::AcquireRequest request,
                               int64_t received_at_ns,
                               std::shared_ptr<plane::AcquireListener> listener) {
  if (!May(pool, security::kAcquire)) {
    listener->OnRefused(Denied());
    return 0;
  }
  request.principal = caller_.holder;
  return plane_.Acquire(pool, std::move(request), received_at_ns, std::move(listener));
}

template <class T>
std::optional<engine::HolderRef> GuardedPlane::InOthersName(const std::string& pool,
                                                            engine::HolderRef holder,
                                                            const Result<T>& result) const {
  const auto* refusal = std::get_if<Refusal>(&result);
  if (refusal == nullptr || refusal->reason != Reason::kNotHolder) return std::nullopt;
  const auto found = plane_.GetLease(pool, holder.id);
  const auto* lease = std::get_if<LeaseInfo>(&found);
  if (lease == nullptr || lease->principal == holder.principal) return std::nullopt;
  holder.principal = lease->principal;
  return holder;
}

void GuardedPlane::Renew(const std::string& pool, const engine::HolderRef& holder, int64_t ttl_ns,
                         int64_t received_at_ns, RenewFn reply) {
  if (!May(pool, security::kAcquire)) return reply(Denied());
  const engine::HolderRef own = AsCaller(holder);
  if (!May(pool, security::kAdminister)) {
    return plane_.Renew(pool, own, ttl_ns, received_at_ns, std::move(reply));
  }
  plane_.Renew(pool, own, ttl_ns, received_at_ns,
               [self = shared_from_this(), pool, own, ttl_ns, received_at_ns,
                reply = std::move(reply)](Result<engine::RenewResult> result) {
                 const auto other = self->InOthersName(pool, own, result);
                 if (!other) return reply(std::move(result));
                 self->plane_.Renew(pool, *other, ttl_ns, received_at_ns, reply);
               });
}

void GuardedPlane::Release(const std::string& pool, const engine::HolderRef& holder,
                           bool allow_missing, DoneFn reply) {
  if (!May(pool, security::kAcquire)) return reply(Denied());
  const engine::HolderRef own = AsCaller(holder);
  if (!May(pool, security::kAdminister)) {
    return plane_.Release(pool, own, allow_missing, std::move(reply));
  }
  plane_.Release(pool, own, allow_missing,
                 [self = shared_from_this(), pool, own, allow_missing,
                  reply = std::move(reply)](Result<plane::Done> result) {
                   const auto other = self->InOthersName(pool, own, result);
                   if (!other) return reply(std::move(result));
                   self->plane_.Release(pool, *other, allow_missing, reply);
                 });
}

Result<LeaseInfo> GuardedPlane::IfReadable(const std::string& pool,
                                           Result<LeaseInfo> result) const {
  const auto* lease = std::get_if<LeaseInfo>(&result);
  const bool is_others = lease != nullptr && lease->principal != caller_.holder;
  if (!is_others || May(pool, security::kReadLeases)) return result;
  Refusal refusal;
  refusal.reason = Reason::kNotHolder;
  return refusal;
}

Result<LeaseInfo> GuardedPlane::GetLease(const std::string& pool, const engine::LeaseId& id) {
  if (!May(pool, security::kAcquire | security::kReadLeases)) return Denied();
  return IfReadable(pool, plane_.GetLease(pool, id));
}

Result<LeaseInfo> GuardedPlane::GetLocalLease(const std::string& pool, SlotIndex slot,
                                              FencingToken token) {
  if (!May(pool, security::kAcquire | security::kReadLeases)) return Denied();
  return IfReadable(pool, plane_.GetLocalLease(pool, slot, token));
}

Result<std::vector<LeaseInfo>> GuardedPlane::ListLeases(const std::string& pool,
                                                        SlotIndex first_slot, uint32_t count_max) {
  if (May(pool, security::kReadLeases)) return plane_.ListLeases(pool, first_slot, count_max);
  if (!May(pool, security::kAcquire)) return Denied();
  std::vector<LeaseInfo> own;
  // A page of the plane at a time, until there are enough that are the caller's.
  while (own.size() < count_max) {
    auto result = plane_.ListLeases(pool, first_slot, count_max);
    if (std::holds_alternative<Refusal>(result)) return result;
    auto& page = std::get<std::vector<LeaseInfo>>(result);
    const bool is_last = page.size() < count_max;
    if (!page.empty()) first_slot = page.back().slot + 1;
    for (LeaseInfo& lease : page) {
      const bool fits = own.size() < count_max;
      if (fits && lease.principal == caller_.holder) own.push_back(std::move(lease));
    }
    if (is_last) break;
  }
  return own;
}

Result<engine::TokenCheck> GuardedPlane::CheckToken(const std::string& pool, SlotIndex slot,
                                                    FencingToken token) {
  if (RightsIn(pool) == 0) return Denied();
  return plane_.CheckToken(pool, slot, token);
}

// -- administration

Result<plane::PoolInfo> GuardedPlane::CreatePool(engine::PoolOptions options) {
  if (!May(options.id, security::kAdminister)) return Denied();
  return plane_.CreatePool(std::move(options));
}

Result<plane::PoolInfo> GuardedPlane::GetPool(const std::string& pool) {
  if (RightsIn(pool) == 0) return Denied();
  return plane_.GetPool(pool);
}

std::vector<plane::PoolInfo> GuardedPlane::ListPools() {
  std::vector<plane::PoolInfo> pools = plane_.ListPools();
  std::erase_if(pools,
                [this](const plane::PoolInfo& pool) { return RightsIn(pool.options.id) == 0; });
  return pools;
}

Result<plane::Done> GuardedPlane::DeletePool(const std::string& pool, bool force) {
  if (!May(pool, security::kAdminister)) return Denied();
  return plane_.DeletePool(pool, force);
}

Result<plane::PoolInfo> GuardedPlane::DrainPool(const std::string& pool,
                                                const std::string& reason) {
  if (!May(pool, security::kAdminister)) return Denied();
  return plane_.DrainPool(pool, reason);
}

Result<plane::PoolInfo> GuardedPlane::ResumePool(const std::string& pool) {
  if (!May(pool, security::kAdminister)) return Denied();
  return plane_.ResumePool(pool);
}

Result<std::vector<engine::SlotInfo>> GuardedPlane::ListSlots(const std::string& pool,
                                                              SlotIndex first_slot,
                                                              uint32_t count_max) {
  if (!May(pool, security::kInspect)) return Denied();
  return plane_.ListSlots(pool, first_slot, count_max);
}

Result<engine::SlotInfo> GuardedPlane::LockSlot(const std::string& pool, SlotIndex slot,
                                                const std::string& reason) {
  if (!May(pool, security::kAdminister)) return Denied();
  return plane_.LockSlot(pool, slot, reason);
}

Result<engine::SlotInfo> GuardedPlane::UnlockSlot(const std::string& pool, SlotIndex slot) {
  if (!May(pool, security::kAdminister)) return Denied();
  return plane_.UnlockSlot(pool, slot);
}

Result<LeaseInfo> GuardedPlane::Revoke(const std::string& pool, const engine::LeaseId& id,
                                       int64_t grace_ns, const std::string& reason) {
  if (!May(pool, security::kAdminister)) return Denied();
  return plane_.Revoke(pool, id, grace_ns, reason);
}

Result<LeaseInfo> GuardedPlane::RevokeLocal(const std::string& pool, SlotIndex slot,
                                            FencingToken token, int64_t grace_ns,
                                            const std::string& reason) {
  if (!May(pool, security::kAdminister)) return Denied();
  return plane_.RevokeLocal(pool, slot, token, grace_ns, reason);
}

Result<std::vector<engine::WaiterInfo>> GuardedPlane::ListWaiters(const std::string& pool) {
  if (!May(pool, security::kInspect)) return Denied();
  return plane_.ListWaiters(pool);
}

Result<plane::Done> GuardedPlane::CancelWaiter(const std::string& pool, uint64_t ticket) {
  if (!May(pool, security::kAdminister)) return Denied();
  return plane_.CancelWaiter(pool, ticket);
}

}  // namespace leaseplane::rpc
