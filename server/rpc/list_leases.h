// SPDX-License-Identifier: Apache-2.0
//
// One page of ListLeases, over one pool or over all of them.
#pragma once

#include "leaseplane/v1/lease_service.pb.h"
#include "server/plane/plane.h"
#include "server/rpc/unary_reply.h"

namespace leaseplane::rpc {

// Answers `reply`, now. Cost: what the plane needs for one page, and a list of the pools for
// pools/-.
void ListLeases(plane::Plane& plane, const v1::ListLeasesRequest& request,
                const UnaryReplyPtr& reply);

}  // namespace leaseplane::rpc
