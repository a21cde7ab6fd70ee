// SPDX-License-Identifier: Apache-2.0
#include "server/rpc/acquire_wait.h"

#include <algorithm>

#include "server/rpc/caller.h"
#include "server/rpc/status_map.h"

namespace leaseplane::rpc {

std::optional<grpc::Status> AcquireWait::Read(const grpc::ServerContextBase& context,
                                              std::string principal,
                                              const v1::AcquireLeaseRequest& request,
                                              std::string_view prefix, int64_t wait_max_ns) {
  const int64_t remaining_ns = context.IsCancelled() ? 0 : RemainingNs(context);
  return Read(std::move(principal), remaining_ns, request, prefix, wait_max_ns);
}

std::optional<grpc::Status> AcquireWait::Read(std::string principal, int64_t remaining_ns,
                                              const v1::AcquireLeaseRequest& request,
                                              std::string_view prefix, int64_t wait_max_ns) {
  FieldChecks checks;
  command_ = ReadAcquire(request, std::move(principal), prefix, wait_max_ns, &checks);
  if (!checks.ok()) return checks.status();
  holder_ = HolderName(command_.request.principal, command_.request.client_id);
  if (remaining_ns <= 0) {
    return grpc::Status(grpc::StatusCode::DEADLINE_EXCEEDED,
                        "the call had ended on arrival; nothing was granted");
  }
  int64_t& wait_ns = command_.request.max_wait_ns;
  if (wait_ns > 0 && remaining_ns != engine::kNever) {
    const int64_t certain_ns = remaining_ns - remaining_ns / 100;
    wait_ns = std::min(wait_ns, std::max<int64_t>(certain_ns - kAnswerBeforeDeadline, 0));
    is_cut_to_nothing_ = wait_ns == 0;
  }
  return std::nullopt;
}

grpc::Status AcquireWait::ToStatus(engine::Refusal refusal) const {
  if (is_cut_to_nothing_ && refusal.reason == engine::Reason::kNoFreeSlot) {
    refusal.reason = engine::Reason::kWaitTimeout;
    refusal.text = "the call's deadline left no time to wait; nothing was granted";
  }
  return rpc::ToStatus(refusal, PoolSubject(command_.pool, holder_));
}

}  // namespace leaseplane::rpc
