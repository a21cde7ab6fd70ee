// SPDX-License-Identifier: Apache-2.0
#include "server/engine/local_holds.h"

namespace leaseplane::engine {

void LocalHolds::Acknowledge(SessionIndex session, SlotIndex slot, uint64_t session_ticket) {
  const auto found = sent_.find({session, slot});
  if (found != sent_.end() && found->second.session_ticket == session_ticket) sent_.erase(found);
}

bool LocalHolds::IsSent(SessionIndex session, SlotIndex slot, Generation gen) const {
  const auto found = sent_.find({session, slot});
  return found != sent_.end() && found->second.gen == gen;
}

int64_t LocalHolds::SentAtNs(SessionIndex session, SlotIndex slot, Generation gen) const {
  const auto found = sent_.find({session, slot});
  return found != sent_.end() && found->second.gen == gen ? found->second.sent_at_ns : kNever;
}

void LocalHolds::ExtendSent(int64_t by_ns) {
  for (auto& [key, grant] : sent_) grant.sent_at_ns += by_ns;
}

bool LocalHolds::IsTicketSent(SessionIndex session, uint64_t session_ticket) const {
  for (auto it = sent_.lower_bound({session, 0}); it != sent_.end(); ++it) {
    if (it->first.first != session) return false;
    if (it->second.session_ticket == session_ticket) return true;
  }
  return false;
}

void LocalHolds::ForgetSession(SessionIndex session) {
  auto it = sent_.lower_bound({session, 0});
  while (it != sent_.end() && it->first.first == session) it = sent_.erase(it);
}

std::optional<LocalRevocation> LocalHolds::FindRevocation(SlotIndex slot) const {
  const auto found = revocations_.find(slot);
  if (found == revocations_.end()) return std::nullopt;
  return found->second;
}

FencingToken LocalHolds::DeclaredToken(SlotIndex slot, Generation gen) const {
  const auto found = declared_.find(slot);
  return found != declared_.end() && GenerationOf(found->second) == gen ? found->second : 0;
}

}  // namespace leaseplane::engine
