// SPDX-License-Identifier: Apache-2.0
//
// Domain to messages. The other direction is convert_request.cc.
#include "server/rpc/convert.h"

#include <google/protobuf/util/time_util.h>

namespace leaseplane::rpc {
namespace {

using google::protobuf::util::TimeUtil;

v1::LeasePath ToPath(engine::LeasePath path) {
  switch (path) {
    case engine::LeasePath::kLocal:
      return v1::LEASE_PATH_LOCAL;
    case engine::LeasePath::kRemote:
      return v1::LEASE_PATH_REMOTE;
  }
  return v1::LEASE_PATH_UNSPECIFIED;
}

v1::Lease::State ToState(engine::LeaseState state) {
  switch (state) {
    case engine::LeaseState::kActive:
      return v1::Lease::STATE_ACTIVE;
    case engine::LeaseState::kReleased:
      return v1::Lease::STATE_RELEASED;
    case engine::LeaseState::kExpired:
      return v1::Lease::STATE_EXPIRED;
    case engine::LeaseState::kRevoked:
      return v1::Lease::STATE_REVOKED;
  }
  return v1::Lease::STATE_UNSPECIFIED;
}

v1::Pool::State ToState(engine::PoolState state) {
  switch (state) {
    case engine::PoolState::kActive:
      return v1::Pool::STATE_ACTIVE;
    case engine::PoolState::kDraining:
      return v1::Pool::STATE_DRAINING;
    case engine::PoolState::kRecovering:
      return v1::Pool::STATE_RECOVERING;
    case engine::PoolState::kDamaged:
      return v1::Pool::STATE_DAMAGED;
  }
  return v1::Pool::STATE_UNSPECIFIED;
}

v1::Pool::Fairness ToFairness(engine::Fairness fairness) {
  switch (fairness) {
    case engine::Fairness::kBounded:
      return v1::Pool::FAIRNESS_BOUNDED;
    case engine::Fairness::kFifo:
      return v1::Pool::FAIRNESS_FIFO;
  }
  return v1::Pool::FAIRNESS_UNSPECIFIED;
}

v1::Pool::Durability ToDurability(engine::Durability durability) {
  switch (durability) {
    case engine::Durability::kNone:
      return v1::Pool::DURABILITY_NONE;
    case engine::Durability::kAsync:
      return v1::Pool::DURABILITY_ASYNC;
    case engine::Durability::kSync:
      return v1::Pool::DURABILITY_SYNC;
  }
  return v1::Pool::DURABILITY_UNSPECIFIED;
}

// Rules only: no name, no state.
v1::Pool ToRules(const engine::PoolOptions& options) {
  v1::Pool out;
  out.set_fairness(ToFairness(options.fairness));
  out.set_durability(ToDurability(options.durability));
  *out.mutable_default_ttl() = ToDuration(options.default_ttl_ns);
  *out.mutable_min_ttl() = ToDuration(options.min_ttl_ns);
  *out.mutable_max_ttl() = ToDuration(options.max_ttl_ns);
  if (options.max_duration_ns != 0) {
    *out.mutable_max_duration() = ToDuration(options.max_duration_ns);
  }
  *out.mutable_max_overtake() = ToDuration(options.max_overtake_ns);
  if (options.reuse_delay_ns != 0) *out.mutable_reuse_delay() = ToDuration(options.reuse_delay_ns);
  if (options.lock_delay_ns != 0) *out.mutable_lock_delay() = ToDuration(options.lock_delay_ns);
  if (options.max_hold_ns != 0) *out.mutable_max_hold() = ToDuration(options.max_hold_ns);
  *out.mutable_stall_timeout() = ToDuration(options.stall_timeout_ns);
  out.set_max_waiters(static_cast<int32_t>(options.max_waiters));
  out.set_max_waiters_per_client(static_cast<int32_t>(options.max_waiters_per_client));
  out.set_max_leases_per_client(static_cast<int32_t>(options.max_leases_per_client));
  return out;
}

v1::PoolCounts ToCounts(const engine::PoolCounts& counts) {
  v1::PoolCounts out;
  out.set_free_count(static_cast<int32_t>(counts.free));
  out.set_busy_count(static_cast<int32_t>(counts.busy_local + counts.busy_remote));
  out.set_local_busy_count(static_cast<int32_t>(counts.busy_local));
  out.set_locked_count(static_cast<int32_t>(counts.locked));
  out.set_cooling_count(static_cast<int32_t>(counts.cooling));
  out.set_quarantined_count(static_cast<int32_t>(counts.quarantined));
  out.set_waiter_count(static_cast<int32_t>(counts.waiters));
  out.set_local_sleeper_count(static_cast<int32_t>(counts.local_waiters_enlisted));
  return out;
}

// Of times since 1970.
void SetTimestamp(int64_t unix_ns, google::protobuf::Timestamp* out) {
  out->set_seconds(unix_ns / engine::kSecond);
  out->set_nanos(static_cast<int32_t>(unix_ns % engine::kSecond));
}

void FillLease(const std::string& pool, const engine::LeaseInfo& lease, v1::Lease* out) {
  out->set_name(LeaseName(pool, lease));
  out->set_pool(PoolName(pool));
  out->set_slot_index(static_cast<int32_t>(lease.slot));
  out->set_fencing_token(lease.token);
  out->set_resource(lease.resource);
  out->set_state(ToState(lease.state));
  out->set_principal(lease.principal);
  out->set_client_id(lease.client_id);
  out->mutable_metadata()->insert(lease.metadata.begin(), lease.metadata.end());
  out->set_path(ToPath(lease.path));
  if (lease.ttl_ns != 0) SetDuration(lease.ttl_ns, out->mutable_ttl());
  if (lease.acquired_unix_ns != 0) {
    SetTimestamp(lease.acquired_unix_ns, out->mutable_acquire_time());
  }
  if (lease.expires_unix_ns != 0) SetTimestamp(lease.expires_unix_ns, out->mutable_expire_time());
  if (lease.ended_unix_ns != 0) SetTimestamp(lease.ended_unix_ns, out->mutable_end_time());
}

}  // namespace

void SetDuration(int64_t ns, google::protobuf::Duration* out) {
  out->set_seconds(ns / engine::kSecond);
  out->set_nanos(static_cast<int32_t>(ns % engine::kSecond));
}

google::protobuf::Duration ToDuration(int64_t ns) { return TimeUtil::NanosecondsToDuration(ns); }

google::protobuf::Timestamp ToTimestamp(int64_t unix_ns) {
  return TimeUtil::NanosecondsToTimestamp(unix_ns);
}

v1::Lease ToLease(const std::string& pool, const engine::LeaseInfo& lease) {
  v1::Lease out;
  FillLease(pool, lease, &out);
  return out;
}

v1::Slot::State ToSlotState(engine::SlotView view) {
  switch (view) {
    case engine::SlotView::kFree:
      return v1::Slot::STATE_FREE;
    case engine::SlotView::kBusy:
      return v1::Slot::STATE_BUSY;
    case engine::SlotView::kLocked:
      return v1::Slot::STATE_LOCKED;
    case engine::SlotView::kCooling:
      return v1::Slot::STATE_COOLING;
    case engine::SlotView::kQuarantined:
      return v1::Slot::STATE_QUARANTINED;
  }
  return v1::Slot::STATE_UNSPECIFIED;
}

v1::Slot ToSlot(const std::string& pool, const engine::SlotInfo& slot) {
  v1::Slot out;
  out.set_name(SlotName(pool, slot.slot));
  out.set_index(static_cast<int32_t>(slot.slot));
  out.set_state(ToSlotState(slot.view));
  out.set_resource(slot.resource);
  if (slot.lease) out.set_lease(LeaseName(pool, *slot.lease));
  out.set_fencing_token(slot.last_token);
  out.set_lock_pending(slot.admin_locked && slot.view != engine::SlotView::kLocked);
  if (slot.admin_locked) out.set_lock_reason(slot.lock_reason);
  return out;
}

v1::Waiter ToWaiter(const std::string& pool, const engine::WaiterInfo& waiter) {
  v1::Waiter out;
  out.set_name(WaiterName(pool, waiter.ticket));
  out.set_pool(PoolName(pool));
  out.set_principal(waiter.principal);
  out.set_client_id(waiter.client_id);
  out.set_path(ToPath(waiter.path));
  out.set_position(static_cast<int32_t>(waiter.position));
  *out.mutable_waited_duration() = ToDuration(waiter.waited_ns);
  return out;
}

v1::Pool ToPool(const plane::PoolInfo& pool) {
  v1::Pool out = ToRules(pool.options);
  out.set_name(PoolName(pool.options.id));
  out.set_state(ToState(pool.state));
  out.set_capacity(static_cast<int32_t>(pool.options.capacity));
  out.set_max_capacity(static_cast<int32_t>(
      pool.options.max_capacity != 0 ? pool.options.max_capacity : pool.options.capacity));
  out.mutable_labels()->insert(pool.options.labels.begin(), pool.options.labels.end());
  *out.mutable_counts() = ToCounts(pool.counts);
  out.set_epoch(pool.epoch);
  out.set_api_defined(pool.options.from_api);
  out.set_drained(pool.drain_reason.has_value());
  out.set_drain_reason(pool.drain_reason.value_or(""));
  return out;
}

void FillAcquireResponse(const std::string& pool, const engine::Grant& grant,
                         v1::AcquireLeaseResponse* out) {
  FillLease(pool, grant.lease, out->mutable_lease());
  SetDuration(grant.lease.remaining_ns, out->mutable_remaining_duration());
  SetDuration(grant.queued_ns, out->mutable_queued_duration());
  SetDuration(grant.renew_interval_ns, out->mutable_renew_interval());
}

v1::AcquireLeaseResponse ToAcquireResponse(const std::string& pool, const engine::Grant& grant) {
  v1::AcquireLeaseResponse out;
  FillAcquireResponse(pool, grant, &out);
  return out;
}

v1::RenewLeaseResponse ToRenewResponse(const std::string& pool,
                                       const engine::RenewResult& renewed) {
  v1::RenewLeaseResponse out;
  *out.mutable_lease() = ToLease(pool, renewed.lease);
  *out.mutable_remaining_duration() = ToDuration(renewed.lease.remaining_ns);
  *out.mutable_queued_duration() = ToDuration(renewed.queued_ns);
  *out.mutable_renew_interval() = ToDuration(renewed.renew_interval_ns);
  return out;
}

v1::GetServerInfoResponse ToServerInfo(const plane::ServerInfo& info, plane::Readiness readiness) {
  v1::GetServerInfoResponse out;
  out.set_version(info.version);
  out.set_instance_id(info.instance_id);
  out.set_boot_id(info.boot_id);
  *out.mutable_start_time() = ToTimestamp(info.started_unix_ns);
  *out.mutable_pool_defaults() = ToRules(engine::PoolOptions{});
  switch (readiness) {
    case plane::Readiness::kServing:
      break;
    case plane::Readiness::kRecovering:
      out.set_not_serving_reason(v1::RECOVERING);
      break;
    case plane::Readiness::kDraining:
      out.set_not_serving_reason(v1::DRAINING);
      break;
    case plane::Readiness::kStoreFailed:
      out.set_not_serving_reason(v1::STORE_FAILED);
      break;
  }
  return out;
}

}  // namespace leaseplane::rpc
