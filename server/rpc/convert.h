// SPDX-License-Identifier: Apache-2.0
//
// Messages of leaseplane.v1 from values of the domain and back. With status_map the only code that
// knows both.
//
// Pure functions, any thread.
#pragma once

#include <google/protobuf/duration.pb.h>
#include <google/protobuf/timestamp.pb.h>

#include <string>
#include <string_view>

#include "leaseplane/v1/admin_service.pb.h"
#include "leaseplane/v1/lease.pb.h"
#include "leaseplane/v1/lease_service.pb.h"
#include "server/engine/types.h"
#include "server/plane/plane.h"
#include "server/rpc/validate.h"

namespace leaseplane::rpc {

google::protobuf::Duration ToDuration(int64_t ns);
void SetDuration(int64_t ns, google::protobuf::Duration* out);  // which may be in an arena
google::protobuf::Timestamp ToTimestamp(int64_t unix_ns);

v1::Lease ToLease(const std::string& pool, const engine::LeaseInfo& lease);
v1::Slot ToSlot(const std::string& pool, const engine::SlotInfo& slot);
v1::Slot::State ToSlotState(engine::SlotView view);
v1::Waiter ToWaiter(const std::string& pool, const engine::WaiterInfo& waiter);
v1::Pool ToPool(const plane::PoolInfo& pool);
// Into an empty message, which may be in an arena.
void FillAcquireResponse(const std::string& pool, const engine::Grant& grant,
                         v1::AcquireLeaseResponse* out);
v1::AcquireLeaseResponse ToAcquireResponse(const std::string& pool, const engine::Grant& grant);
v1::RenewLeaseResponse ToRenewResponse(const std::string& pool, const engine::RenewResult& renewed);
v1::GetServerInfoResponse ToServerInfo(const plane::ServerInfo& info, plane::Readiness readiness);

// What an acquire asks for, with the pool it asks.
struct AcquireCommand {
  std::string pool;
  engine::AcquireRequest request;
};
// `prefix` goes before the names of fields in violations ("acquire." or nothing); `wait_max_ns` is
// what the method allows.
AcquireCommand ReadAcquire(const v1::AcquireLeaseRequest& request, std::string principal,
                           std::string_view prefix, int64_t wait_max_ns, FieldChecks* checks);

engine::PoolOptions ReadPool(const v1::CreatePoolRequest& request, FieldChecks* checks);

// Whom a quota names.
std::string HolderName(const std::string& principal, const std::string& client_id);

}  // namespace leaseplane::rpc
