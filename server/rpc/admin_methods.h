// SPDX-License-Identifier: Apache-2.0
//
// What the methods of AdminService do, once it is known that the caller may: each checks its
// request, calls the plane and answers `reply`, now. Any thread.
#pragma once

#include "leaseplane/v1/admin_service.pb.h"
#include "server/plane/plane.h"
#include "server/rpc/unary_reply.h"

namespace leaseplane::rpc::admin {

void CreatePool(plane::Plane& plane, const v1::CreatePoolRequest& request, UnaryReply& reply);
void GetPool(plane::Plane& plane, const v1::GetPoolRequest& request, UnaryReply& reply);
void ListPools(plane::Plane& plane, const v1::ListPoolsRequest& request, UnaryReply& reply);
void DeletePool(plane::Plane& plane, const v1::DeletePoolRequest& request, UnaryReply& reply);
void DrainPool(plane::Plane& plane, const v1::DrainPoolRequest& request, UnaryReply& reply);
void ResumePool(plane::Plane& plane, const v1::ResumePoolRequest& request, UnaryReply& reply);
void ListSlots(plane::Plane& plane, const v1::ListSlotsRequest& request, UnaryReply& reply);
void LockSlot(plane::Plane& plane, const v1::LockSlotRequest& request, UnaryReply& reply);
void UnlockSlot(plane::Plane& plane, const v1::UnlockSlotRequest& request, UnaryReply& reply);
void RevokeLease(plane::Plane& plane, const v1::RevokeLeaseRequest& request, UnaryReply& reply);
void ListWaiters(plane::Plane& plane, const v1::ListWaitersRequest& request, UnaryReply& reply);
void CancelWaiter(plane::Plane& plane, const v1::CancelWaiterRequest& request, UnaryReply& reply);

}  // namespace leaseplane::rpc::admin
