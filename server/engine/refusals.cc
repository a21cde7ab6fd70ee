// SPDX-License-Identifier: Apache-2.0
#include "server/engine/refusals.h"

#include <utility>

namespace leaseplane::engine {
namespace {

std::string InSeconds(int64_t ns) {
  const int64_t ms = ns / kMillisecond;
  if (ms % 1000 == 0) return std::to_string(ms / 1000) + " s";
  return std::to_string(ms) + " ms";
}

}  // namespace

Refusal Refuse(Reason reason, std::string text, int64_t retry_after_ns) {
  Refusal refusal;
  refusal.reason = reason;
  refusal.text = std::move(text);
  refusal.retry_after_ns = retry_after_ns;
  return refusal;
}

Refusal RefuseField(std::string field, std::string text) {
  Refusal refusal = Refuse(Reason::kInvalidArgument, std::move(text));
  refusal.field = std::move(field);
  return refusal;
}

Refusal RefuseUnknownLease() {
  return Refuse(Reason::kNotFound, "no such lease, or it ended too long ago to be remembered");
}

Refusal RefuseUnknownTicket() { return Refuse(Reason::kNotFound, "no such waiter"); }

Refusal RefuseUnknownSlot(uint32_t capacity) {
  return Refuse(Reason::kNotFound, "the pool has slots 0 to " + std::to_string(capacity - 1));
}

Refusal RefuseEnded(LeaseState ended_as, int64_t ended_unix_ns) {
  switch (ended_as) {
    case LeaseState::kExpired: {
      Refusal refusal = Refuse(Reason::kLeaseExpired, "the lease was not renewed in time");
      refusal.expired_unix_ns = ended_unix_ns;
      return refusal;
    }
    case LeaseState::kRevoked:
      return Refuse(Reason::kLeaseRevoked, "an operator took the lease back");
    case LeaseState::kReleased:
      return Refuse(Reason::kLeaseReleased, "the lease was released");
    case LeaseState::kActive:
      break;
  }
  return Refuse(Reason::kInternal, "a live lease among the ended ones");
}

Refusal RefuseTtl(const PoolOptions& options) {
  return RefuseField("ttl", "this pool takes " + InSeconds(options.min_ttl_ns) + " to " +
                                InSeconds(options.max_ttl_ns));
}

Refusal RefuseDamaged() {
  return Refuse(Reason::kDataLoss,
                "shared memory of the pool was lost; the daemon has to be started again");
}

Refusal RefuseDrained(const std::string& operators_reason) {
  std::string text = "an operator drains the pool";
  if (!operators_reason.empty()) text += ": " + operators_reason;
  return Refuse(Reason::kPoolDraining, std::move(text));
}

Refusal CheckHolder(const HolderRef& holder, const std::string& principal,
                    const std::string& client_id, FencingToken token) {
  if (holder.principal != principal ||
      (!holder.client_id.empty() && holder.client_id != client_id)) {
    return Refuse(Reason::kNotHolder, "the lease belongs to another principal or client_id");
  }
  if (holder.token != token) {
    return Refuse(Reason::kStaleToken, "the fencing token is not this lease's");
  }
  return {};
}

}  // namespace leaseplane::engine
