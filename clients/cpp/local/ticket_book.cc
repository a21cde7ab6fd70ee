// SPDX-License-Identifier: Apache-2.0
#include "clients/cpp/local/ticket_book.h"

namespace leaseplane::internal {

uint64_t TicketBook::Add(Ticket<RealMemory>& ticket, const LocalPool* pool, int64_t started_ns,
                         int64_t deadline_ns) {
  const MutexLock lock(&mu_);
  ticket.id = ++last_id_;
  entries_[ticket.id] = {&ticket, {ticket.id, pool, started_ns, deadline_ns}};
  return ticket.id;
}

void TicketBook::Forget(const Ticket<RealMemory>& ticket) {
  const MutexLock lock(&mu_);
  entries_.erase(ticket.id);
}

bool TicketBook::Grant(uint64_t id, const LocalPool* pool, const LocalGrant& grant) {
  const MutexLock lock(&mu_);
  const auto found = entries_.find(id);
  if (found == entries_.end() || found->second.waiting.pool != pool) return false;
  Ticket<RealMemory>& ticket = *found->second.ticket;
  ticket.grant = grant;  // before the state says that it is there
  return ticket.Answer(TicketState::kGranted);
}

void TicketBook::Refuse(uint64_t id, TicketState answer) {
  const MutexLock lock(&mu_);
  const auto found = entries_.find(id);
  if (found == entries_.end()) return;
  found->second.ticket->Answer(answer);
}

std::vector<TicketBook::Waiting> TicketBook::AllWaiting() const {
  const MutexLock lock(&mu_);
  std::vector<Waiting> all;
  for (const auto& [id, entry] : entries_) {
    const TicketState state = entry.ticket->Read();
    const bool waits = state == TicketState::kWaiting || state == TicketState::kNudged;
    if (waits) all.push_back(entry.waiting);
  }
  return all;
}

void TicketBook::NudgeAll() {
  const MutexLock lock(&mu_);
  for (const auto& [id, entry] : entries_) entry.ticket->Nudge();
}

}  // namespace leaseplane::internal
