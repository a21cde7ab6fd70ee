// SPDX-License-Identifier: Apache-2.0
//
// Who gets the next free slot, and the gate. The order of a grant: the word (Authority takes the
// grant bit first), the ledger, the answer. A crash after the word leaves a daemon word without a
// lease, which recovery frees; a crash after the ledger leaves a lease whose holder may come back
// for it by request id, or which expires.
#include <algorithm>
#include <utility>

#include "server/engine/pool_engine.h"

namespace leaseplane::engine {
namespace {

// Longer leases would outlive the longest quarantine after a crash of the host, so they have to be
// known to the store before their holder hears of them.
constexpr int64_t kTtlUnwrittenMax = 60 * kSecond;

}  // namespace

bool PoolEngine::WaitsForDisk(int64_t ttl_ns, int64_t durable_ttl_ns) const {
  switch (options_.durability) {
    case Durability::kSync:
      return true;
    case Durability::kAsync:
      return ttl_ns > kTtlUnwrittenMax && ttl_ns > durable_ttl_ns;
    case Durability::kNone:
      return false;
  }
  return true;
}

QueueFacts PoolEngine::Facts() const {
  QueueFacts facts;
  facts.present = queue_.present_count();
  if (const Waiter* head = queue_.Head()) facts.head_since_ns = head->place.since_ns;
  return facts;
}

// BOUNDED lets newcomers overtake until the first waiter has lost its patience; FIFO never does.
bool PoolEngine::MayGrantDirectly() const {
  if (queue_.present_count() == 0) return true;
  return options_.fairness == Fairness::kBounded && authority_.gate() != shm::Gate::kClosed;
}

Granted PoolEngine::MakeRemoteLease(Instant now, int64_t received_at_ns, AcquireRequest request,
                                    const SlotGrant& grant) {
  LeaseRecord record;
  record.id = ids_.NextLeaseId();
  leases_.Announce(record.id);
  record.slot = grant.slot;
  record.token = MakeToken(authority_.epoch(), grant.gen);
  record.principal = std::move(request.principal);
  record.client_id = std::move(request.client_id);
  record.metadata = std::move(request.metadata);
  record.request_id = request.request_id;
  record.body_hash = request.body_hash;
  record.ttl_ns = request.ttl_ns;
  if (options_.max_duration_ns > 0) record.max_end_at_ns = now.boot_ns + options_.max_duration_ns;
  record.deadline_at_ns = std::min(now.boot_ns + request.ttl_ns, record.max_end_at_ns);
  record.acquired_unix_ns = now.unix_ns;
  last_seq_ = ledger_.PutLease(record);  // E1
  LiveLease& lease = leases_.Add(std::move(record));
  lease.granted_at_ns = now.boot_ns;
  lease.commit_seq = WaitsForDisk(lease.record.ttl_ns, 0) ? last_seq_ : 0;
  ++stats_.acquired_remote;
  return DescribeGrant(now, received_at_ns, lease);
}

void PoolEngine::GrantWaiter(Instant now, uint64_t ticket, const SlotGrant& grant,
                             Actions& actions) {
  const std::unique_ptr<Waiter> waiter = RemoveWaiter(ticket);
  const LeasePath path = waiter->is_local() ? LeasePath::kLocal : LeasePath::kRemote;
  const int64_t waited_ns = now.boot_ns - waiter->place.since_ns;
  if (waited_ns > 0) actions.waited.push_back({path, waited_ns});
  if (waiter->is_local()) {
    locals_.AddSent(waiter->session, grant.slot, {grant.gen, waiter->session_ticket, now.boot_ns});
    actions.send_grant.push_back({waiter->session, waiter->session_ticket, grant.slot,
                                  MakeToken(authority_.epoch(), grant.gen)});
    ++stats_.acquired_local;
    ++local_grants_unscanned_;
    return;
  }
  Granted granted = MakeRemoteLease(now, waiter->received_at_ns, std::move(waiter->request), grant);
  actions.waiter_granted.push_back({ticket, std::move(granted.grant), granted.commit_seq});
}

void PoolEngine::Serve(Instant now, Actions& actions) {
  if (is_damaged_) return;
  while (const Waiter* head = queue_.Head()) {
    const uint64_t ticket = head->ticket;
    if (head->is_local() && !sessions_.IsActive(head->session)) {
      RemoveWaiter(ticket);  // E2: its end is about to be told
      continue;
    }
    const SessionIndex owner = head->is_local() ? head->session : kOwnerDaemon;
    const auto grant = authority_.Grant(owner, now.boot_ns);
    if (!grant) return;
    GrantWaiter(now, ticket, *grant, actions);
  }
}

shm::Gate PoolEngine::WantedGate(int64_t now_ns) {
  if (now_ns >= gate_hold_until_ns_) gate_hold_until_ns_ = 0;
  if (state_ == PoolState::kDraining || drain_reason_ || is_damaged_ || is_brokered_) {
    return shm::Gate::kClosed;
  }
  const shm::Gate wanted = DesiredGate(options_, Facts(), holds_.mean_ns(), now_ns);
  return gate_hold_until_ns_ != 0 ? std::max(wanted, authority_.gate()) : wanted;
}

// After closing (or asking to be notified) the words are looked at once more: a release that did
// not see the new gate freed its slot before this look (Dekker). Ends, because each further round
// needs a waiter that was served.
void PoolEngine::AdjustGate(Instant now, Actions& actions) {
  for (;;) {
    const shm::Gate wanted = WantedGate(now.boot_ns);
    if (wanted == authority_.gate()) return;
    authority_.SetGate(wanted);
    if (wanted == shm::Gate::kOpen) return;
    if (wanted == shm::Gate::kClosed) ++stats_.gate_closings;
    Serve(now, actions);
  }
}

void PoolEngine::Settle(Instant now, Actions& actions) {
  Serve(now, actions);
  AdjustGate(now, actions);
}

}  // namespace leaseplane::engine
