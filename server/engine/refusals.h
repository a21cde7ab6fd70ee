// SPDX-License-Identifier: Apache-2.0
//
// The refusals the engine gives, with their texts in one place.
#pragma once

#include <cstdint>
#include <string>

#include "server/engine/lease_table.h"
#include "server/engine/types.h"

namespace leaseplane::engine {

Refusal Refuse(Reason reason, std::string text = {}, int64_t retry_after_ns = 0);
Refusal RefuseField(std::string field, std::string text);
Refusal RefuseUnknownLease();
Refusal RefuseUnknownTicket();
Refusal RefuseUnknownSlot(uint32_t capacity);
// What a request about an ended lease is answered.
Refusal RefuseEnded(LeaseState ended_as, int64_t ended_unix_ns);
Refusal RefuseTtl(const PoolOptions& options);
Refusal RefuseDamaged();
Refusal RefuseDrained(const std::string& operators_reason);
// kNone if `holder` is whom the lease belongs to, under its token.
Refusal CheckHolder(const HolderRef& holder, const std::string& principal,
                    const std::string& client_id, FencingToken token);

}  // namespace leaseplane::engine
