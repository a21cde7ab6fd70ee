// SPDX-License-Identifier: Apache-2.0
#include "server/engine/wait_queue.h"

#include <algorithm>
#include <utility>

namespace leaseplane::engine {

std::string WaitQueue::ClientOf(const Waiter& waiter) {
  // No principal starts with a separator, so a session cannot be mistaken for a remote client.
  if (waiter.is_local()) return std::to_string(waiter.session).insert(0, 1, '\n');
  return ClientKey(waiter.request.principal, waiter.request.client_id);
}

Waiter& WaitQueue::Add(Waiter waiter) {
  const uint64_t ticket = waiter.ticket;
  auto& slot = waiters_[ticket];
  slot = std::make_unique<Waiter>(std::move(waiter));
  Waiter& added = *slot;
  added.present = true;
  order_.Insert(added.place, ticket);
  if (added.is_local()) {
    by_session_[{added.session, added.session_ticket}] = ticket;
  } else if (!added.request.request_id.empty()) {
    by_request_[RequestKey(added.request.principal, added.request.request_id)] = ticket;
  }
  if (counts_clients_) ++clients_[ClientOf(added)];
  return added;
}

std::unique_ptr<Waiter> WaitQueue::Remove(uint64_t ticket) {
  const auto found = waiters_.find(ticket);
  if (found == waiters_.end()) return nullptr;
  std::unique_ptr<Waiter> waiter = std::move(found->second);
  waiters_.erase(found);
  if (waiter->present) order_.Erase(waiter->place);
  if (waiter->is_local()) {
    by_session_.erase({waiter->session, waiter->session_ticket});
  } else if (!waiter->request.request_id.empty()) {
    by_request_.erase(RequestKey(waiter->request.principal, waiter->request.request_id));
  }
  if (counts_clients_) {
    const auto client = clients_.find(ClientOf(*waiter));
    if (client != clients_.end() && --client->second == 0) clients_.erase(client);
  }
  return waiter;
}

void WaitQueue::SetAbsent(Waiter& waiter) {
  order_.Erase(waiter.place);
  waiter.present = false;
}

Waiter& WaitQueue::Rejoin(uint64_t old_ticket, uint64_t new_ticket) {
  std::unique_ptr<Waiter> waiter = Remove(old_ticket);
  waiter->ticket = new_ticket;
  return Add(std::move(*waiter));
}

Waiter* WaitQueue::Find(uint64_t ticket) {
  const auto found = waiters_.find(ticket);
  return found == waiters_.end() ? nullptr : found->second.get();
}

const Waiter* WaitQueue::Find(uint64_t ticket) const {
  const auto found = waiters_.find(ticket);
  return found == waiters_.end() ? nullptr : found->second.get();
}

Waiter* WaitQueue::FindRequest(const RequestKey& key) {
  const auto found = by_request_.find(key);
  return found == by_request_.end() ? nullptr : Find(found->second);
}

Waiter* WaitQueue::FindLocal(SessionIndex session, uint64_t session_ticket) {
  const auto found = by_session_.find({session, session_ticket});
  return found == by_session_.end() ? nullptr : Find(found->second);
}

const Waiter* WaitQueue::Head() const {
  const WaitOrder::Entry* front = order_.Front();
  return front == nullptr ? nullptr : Find(front->ticket);
}

size_t WaitQueue::Rank(const Waiter& waiter) const { return order_.Rank(waiter.place); }

uint32_t WaitQueue::CountOf(const std::string& client) const {
  const auto found = clients_.find(client);
  return found == clients_.end() ? 0 : found->second;
}

void WaitQueue::AppendTicketsOf(SessionIndex session, std::vector<uint64_t>& tickets) const {
  for (auto it = by_session_.lower_bound({session, 0});
       it != by_session_.end() && it->first.first == session; ++it) {
    tickets.push_back(it->second);
  }
}

std::vector<uint64_t> WaitQueue::AllTickets() const {
  std::vector<uint64_t> tickets;
  tickets.reserve(waiters_.size());
  ForEachInOrder([&](const Waiter& waiter) { tickets.push_back(waiter.ticket); });
  return tickets;
}

void WaitQueue::ForEachInOrder(const std::function<void(const Waiter&)>& visit) const {
  order_.ForEach([&](const WaitOrder::Entry& entry) { visit(*Find(entry.ticket)); });
  std::vector<const Waiter*> absent;
  for (const auto& [ticket, waiter] : waiters_) {
    if (!waiter->present) absent.push_back(waiter.get());
  }
  std::sort(absent.begin(), absent.end(),
            [](const Waiter* a, const Waiter* b) { return a->place < b->place; });
  for (const Waiter* waiter : absent) visit(*waiter);
}

}  // namespace leaseplane::engine
