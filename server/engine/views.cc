// SPDX-License-Identifier: Apache-2.0
//
// What can be seen of a pool. The words are loaded as they are now; the rest is the engine's.
#include <algorithm>

#include "server/engine/pool_engine.h"
#include "server/engine/refusals.h"

namespace leaseplane::engine {

LeaseInfo PoolEngine::Describe(Instant now, const LiveLease& lease) const {
  const LeaseRecord& record = lease.record;
  LeaseInfo info;
  info.id = record.id;
  info.slot = record.slot;
  info.token = record.token;
  if (record.slot < options_.resources.size()) info.resource = options_.resources[record.slot];
  info.principal = record.principal;
  info.client_id = record.client_id;
  info.metadata = record.metadata;
  info.ttl_ns = record.ttl_ns;
  const int64_t rest_ns = record.deadline_at_ns - now.boot_ns;
  info.remaining_ns = std::max<int64_t>(rest_ns, 0);
  info.acquired_unix_ns = record.acquired_unix_ns;
  info.expires_unix_ns = now.unix_ns + rest_ns;
  if (lease.record.revoke_at_ns != kNever) {
    info.revoke_in_ns = std::max<int64_t>(lease.record.revoke_at_ns - now.boot_ns, 1);
  }
  return info;
}

LeaseInfo PoolEngine::DescribeEnded(const Tombstone& tombstone) const {
  LeaseInfo info;
  info.id = tombstone.id;
  info.state = tombstone.ended_as;
  info.slot = tombstone.slot;
  info.token = tombstone.token;
  info.principal = tombstone.principal;
  info.client_id = tombstone.client_id;
  info.ended_unix_ns = tombstone.ended_unix_ns;
  return info;
}

LeaseInfo PoolEngine::DescribeLocal(Instant now, SlotIndex slot, SlotWord word,
                                    FencingToken token) const {
  LeaseInfo info;
  info.path = LeasePath::kLocal;
  info.slot = slot;
  info.token = token;
  if (slot < options_.resources.size()) info.resource = options_.resources[slot];
  info.principal = sessions_.PrincipalOf(OwnerOf(word));
  const SlotShadow& shadow = authority_.shadow(slot);
  const int64_t age_ns = shadow.last_word == word ? now.boot_ns - shadow.first_seen_ns : 0;
  info.acquired_unix_ns = now.unix_ns - age_ns;
  return info;
}

Granted PoolEngine::DescribeGrant(Instant now, int64_t received_at_ns,
                                  const LiveLease& lease) const {
  Granted granted;
  granted.grant.lease = Describe(now, lease);
  granted.grant.queued_ns = std::max<int64_t>(now.boot_ns - received_at_ns, 0);
  granted.grant.renew_interval_ns = lease.record.ttl_ns / 3;
  granted.commit_seq = lease.commit_seq;
  return granted;
}

// A token names a local hold if it has the hold's generation and an epoch in which that generation
// can have been granted: holders keep the token of the epoch they were granted in.
bool PoolEngine::IsLocalToken(SlotIndex slot, SlotWord word, FencingToken token) const {
  return StateOf(word) == SlotState::kBusy && IsWellFormed(word) &&
         OwnerOf(word) >= kOwnerSessionFirst && IsTokenInRange(token) &&
         GenerationOf(token) == GenerationOfWord(word) &&
         EpochOf(token) >= authority_.shadow(slot).base_epoch &&
         EpochOf(token) <= authority_.epoch();
}

Result<LeaseInfo> PoolEngine::GetLease(Instant now, const LeaseId& id) const {
  if (const LiveLease* lease = leases_.Find(id)) return Describe(now, *lease);
  if (const Tombstone* ended = leases_.FindEnded(id)) return DescribeEnded(*ended);
  return RefuseUnknownLease();
}

Result<LeaseInfo> PoolEngine::GetLocalLease(Instant now, SlotIndex slot, FencingToken token) const {
  if (slot >= authority_.capacity()) return RefuseUnknownSlot(authority_.capacity());
  const SlotWord word = authority_.LoadWord(slot);
  if (!IsLocalToken(slot, word, token)) return RefuseUnknownLease();
  return DescribeLocal(now, slot, word, token);
}

std::vector<LeaseInfo> PoolEngine::ListLeases(Instant now, SlotIndex first_slot,
                                              uint32_t count_max) const {
  std::vector<LeaseInfo> list;
  for (SlotIndex slot = first_slot; slot < authority_.capacity() && list.size() < count_max;
       ++slot) {
    if (const LiveLease* lease = leases_.At(slot)) {
      list.push_back(Describe(now, *lease));
      continue;
    }
    const SlotWord word = authority_.LoadWord(slot);
    const FencingToken token = TokenAt(slot, GenerationOfWord(word));
    if (IsLocalToken(slot, word, token)) list.push_back(DescribeLocal(now, slot, word, token));
  }
  return list;
}

// The whole token where it was declared, in the slot's present numbering; else as if granted in the
// present epoch, which for a hold that is older than this worker is later than the holder's.
FencingToken PoolEngine::TokenAt(SlotIndex slot, Generation gen) const {
  const FencingToken declared = locals_.DeclaredToken(slot, gen);
  const bool is_known = declared != 0 && EpochOf(declared) >= authority_.shadow(slot).base_epoch;
  return is_known ? declared : MakeToken(authority_.epoch(), gen);
}

FencingToken PoolEngine::LastToken(SlotIndex slot, SlotWord word) const {
  if (const LiveLease* lease = leases_.At(slot)) return lease->record.token;
  const SlotShadow& shadow = authority_.shadow(slot);
  const bool is_sound = IsWellFormed(word) && !shadow.quarantined;
  const Generation gen = is_sound ? GenerationOfWord(word) : shadow.gen_max;
  if (gen == 0 || (shadow.pristine && gen == shadow.gen_max)) return 0;
  return TokenAt(slot, gen);
}

Result<TokenCheck> PoolEngine::CheckToken(SlotIndex slot, FencingToken token) const {
  if (slot >= authority_.capacity()) return RefuseUnknownSlot(authority_.capacity());
  const SlotWord word = authority_.LoadWord(slot);
  TokenCheck check;
  check.state = ViewOf(slot, word);
  check.current_token = LastToken(slot, word);
  if (const LiveLease* lease = leases_.At(slot)) {
    check.valid = token == lease->record.token;
  } else if (IsLocalToken(slot, word, token)) {
    check.valid = true;
    check.current_token = token;
  }
  return check;
}

SlotView PoolEngine::ViewOf(SlotIndex slot, SlotWord word) const {
  if (leases_.At(slot) != nullptr) return SlotView::kBusy;
  if (authority_.shadow(slot).quarantined || !IsWellFormed(word)) return SlotView::kQuarantined;
  switch (StateOf(word)) {
    case SlotState::kBusy:
      return SlotView::kBusy;
    case SlotState::kLocked:
      return slots_.is_admin_locked(slot) ? SlotView::kLocked : SlotView::kCooling;
    default:
      return SlotView::kFree;
  }
}

SlotInfo PoolEngine::DescribeSlot(Instant now, SlotIndex slot) const {
  const SlotWord word = authority_.LoadWord(slot);
  SlotInfo info;
  info.slot = slot;
  info.view = ViewOf(slot, word);
  if (const SlotStates::State* state = slots_.Find(slot)) {
    info.admin_locked = state->admin_locked;
    info.lock_reason = state->reason;
  }
  if (slot < options_.resources.size()) info.resource = options_.resources[slot];
  info.last_token = LastToken(slot, word);
  if (const LiveLease* lease = leases_.At(slot)) {
    info.lease = Describe(now, *lease);
  } else if (IsLocalToken(slot, word, info.last_token)) {
    info.lease = DescribeLocal(now, slot, word, info.last_token);
  }
  return info;
}

Result<SlotInfo> PoolEngine::GetSlot(Instant now, SlotIndex slot) const {
  if (slot >= authority_.capacity()) return RefuseUnknownSlot(authority_.capacity());
  return DescribeSlot(now, slot);
}

std::vector<SlotInfo> PoolEngine::ListSlots(Instant now, SlotIndex first_slot,
                                            uint32_t count_max) const {
  std::vector<SlotInfo> list;
  for (SlotIndex slot = first_slot; slot < authority_.capacity() && list.size() < count_max;
       ++slot) {
    list.push_back(DescribeSlot(now, slot));
  }
  return list;
}

std::vector<WaiterInfo> PoolEngine::ListWaiters(Instant now) const {
  std::vector<WaiterInfo> list;
  list.reserve(queue_.size());
  queue_.ForEachInOrder([&](const Waiter& waiter) {
    WaiterInfo info;
    info.ticket = waiter.ticket;
    info.path = waiter.is_local() ? LeasePath::kLocal : LeasePath::kRemote;
    info.principal =
        waiter.is_local() ? sessions_.PrincipalOf(waiter.session) : waiter.request.principal;
    info.client_id = waiter.request.client_id;
    info.position = static_cast<uint32_t>(list.size() + 1);
    info.waited_ns = now.boot_ns - waiter.place.since_ns;
    list.push_back(std::move(info));
  });
  return list;
}

PoolCounts PoolEngine::Counts() const {
  PoolCounts counts;
  counts.capacity = authority_.capacity();
  for (SlotIndex slot = 0; slot < authority_.capacity(); ++slot) {
    const SlotWord word = authority_.LoadWord(slot);
    switch (ViewOf(slot, word)) {
      case SlotView::kFree:
        ++counts.free;
        break;
      case SlotView::kBusy:
        ++(leases_.At(slot) != nullptr ? counts.busy_remote : counts.busy_local);
        break;
      case SlotView::kLocked:
        ++counts.locked;
        break;
      case SlotView::kCooling:
        ++counts.cooling;
        break;
      case SlotView::kQuarantined:
        ++counts.quarantined;
        break;
    }
  }
  counts.waiters = static_cast<uint32_t>(queue_.size());
  counts.local_waiters_enlisted = authority_.enlisted_waiters();
  counts.local_waiters_queued = static_cast<uint32_t>(queue_.local_count());
  if (const Waiter* first = queue_.Head()) counts.first_waits_since_ns = first->place.since_ns;
  return counts;
}

}  // namespace leaseplane::engine
