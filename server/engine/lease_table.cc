// SPDX-License-Identifier: Apache-2.0
#include "server/engine/lease_table.h"

#include <algorithm>
#include <utility>

namespace leaseplane::engine {
namespace {

constexpr int kPurgeMax = 1024;  // tombstones a call
// Passes over the deadlines take at most about a hundredth of the time.
constexpr int64_t kPassSpacingNsPerLeaf = 200;

}  // namespace

LeaseTable::LeaseTable(uint32_t capacity, uint32_t tombstone_count_max, bool counts_clients)
    : tombstone_max_(std::max<uint32_t>(tombstone_count_max, 1)),
      counts_clients_(counts_clients),
      by_slot_(capacity),
      end_at_ns_(capacity, kNever),
      leaf_end_at_ns_((capacity + kLeafSlots - 1) / kLeafSlots, kNever) {}

LiveLease& LeaseTable::Add(LeaseRecord record) {
  std::unique_ptr<LiveLease>& place = by_slot_[record.slot];
  if (spare_.empty()) {
    place = std::make_unique<LiveLease>();
  } else {
    place = std::move(spare_.back());
    spare_.pop_back();
    place->granted_at_ns = 0;
    place->commit_seq = 0;
    place->term_seq = 0;
  }
  place->record = std::move(record);
  const LeaseRecord& added = place->record;
  by_id_[added.id] = added.slot;
  if (!added.request_id.empty()) {
    by_request_[RequestKey(added.principal, added.request_id)] = added.id;
  }
  if (counts_clients_) ++clients_[ClientKey(added.principal, added.client_id)];
  ++live_count_;
  SetEndAt(added.slot, added.deadline_at_ns + AgeOutGuardNs(added.ttl_ns));
  return *place;
}

void LeaseTable::End(SlotIndex slot, LeaseState ended_as, Instant now) {
  std::unique_ptr<LiveLease> lease = std::move(by_slot_[slot]);
  end_at_ns_[slot] = kNever;
  --live_count_;
  LeaseRecord& record = lease->record;
  if (counts_clients_) {
    const auto client = clients_.find(ClientKey(record.principal, record.client_id));
    if (client != clients_.end() && --client->second == 0) clients_.erase(client);
  }
  Tombstone tombstone;
  tombstone.id = record.id;
  tombstone.slot = slot;
  tombstone.token = record.token;
  tombstone.principal = std::move(record.principal);
  tombstone.client_id = std::move(record.client_id);
  tombstone.request_id = record.request_id;
  tombstone.body_hash = record.body_hash;
  tombstone.ended_as = ended_as;
  tombstone.ended_unix_ns = now.unix_ns;
  tombstone.ended_at_ns = now.boot_ns;
  AddTombstone(std::move(tombstone));
  record.metadata.clear();
  spare_.push_back(std::move(lease));
}

void LeaseTable::ForgetRequest(SlotIndex slot) {
  LeaseRecord& record = by_slot_[slot]->record;
  if (!record.request_id.empty())
    by_request_.erase(RequestKey(record.principal, record.request_id));
  record.request_id = {};
}

void LeaseTable::AddTombstone(Tombstone tombstone) {
  if (tombstone_count() == tombstone_max_) DropOldestTombstone();
  const uint64_t number = next_tombstone_++;
  by_id_[tombstone.id] = kEnded | number;
  if (!tombstone.request_id.empty()) {
    by_request_[RequestKey(tombstone.principal, tombstone.request_id)] = tombstone.id;
  }
  const size_t at = number % tombstone_max_;
  if (at == tombstones_.size()) {
    tombstones_.push_back(std::move(tombstone));
  } else {
    tombstones_[at] = std::move(tombstone);
  }
  if (tombstone_count() == tombstone_max_) LoadNextOldest();
}

// The ring is larger than the caches. What the next two ends will drop is known now: of the first
// the entry in the map is loaded, of the second the tombstone.
void LeaseTable::LoadNextOldest() const {
  by_id_.prefetch(TombstoneAt(first_tombstone_).id);
  const auto* after = reinterpret_cast<const char*>(&TombstoneAt(first_tombstone_ + 1));
  for (size_t at = 0; at < sizeof(Tombstone); at += 64) __builtin_prefetch(after + at, 1);
}

void LeaseTable::DropOldestTombstone() {
  const Tombstone& oldest = TombstoneAt(first_tombstone_++);
  by_id_.erase(oldest.id);
  if (oldest.request_id.empty()) return;
  const auto request = by_request_.find(RequestKey(oldest.principal, oldest.request_id));
  if (request != by_request_.end() && request->second == oldest.id) by_request_.erase(request);
}

void LeaseTable::PurgeTombstones(int64_t now_ns) {
  for (int i = 0; i < kPurgeMax && first_tombstone_ != next_tombstone_; ++i) {
    if (TombstoneAt(first_tombstone_).ended_at_ns > now_ns - kTombstoneKeep) return;
    DropOldestTombstone();
  }
}

LiveLease* LeaseTable::Find(const LeaseId& id) {
  const auto found = by_id_.find(id);
  if (found == by_id_.end() || (found->second & kEnded) != 0) return nullptr;
  return by_slot_[found->second].get();
}

const LiveLease* LeaseTable::Find(const LeaseId& id) const {
  const auto found = by_id_.find(id);
  if (found == by_id_.end() || (found->second & kEnded) != 0) return nullptr;
  return by_slot_[found->second].get();
}

const Tombstone* LeaseTable::FindEnded(const LeaseId& id) const {
  const auto found = by_id_.find(id);
  if (found == by_id_.end() || (found->second & kEnded) == 0) return nullptr;
  return &tombstones_[(found->second & ~kEnded) % tombstone_max_];
}

const LeaseId* LeaseTable::FindRequest(const RequestKey& key) const {
  const auto found = by_request_.find(key);
  return found == by_request_.end() ? nullptr : &found->second;
}

void LeaseTable::SetEndAt(SlotIndex slot, int64_t at_ns) {
  end_at_ns_[slot] = at_ns;
  int64_t& leaf_end_at_ns = leaf_end_at_ns_[slot / kLeafSlots];
  leaf_end_at_ns = std::min(leaf_end_at_ns, at_ns);
  next_end_ns_ = std::min(next_end_ns_, at_ns);
}

void LeaseTable::ExtendAll(int64_t by_ns) {
  for (std::vector<int64_t>* instants : {&end_at_ns_, &leaf_end_at_ns_}) {
    for (int64_t& at : *instants) {
      if (at != kNever) at += by_ns;
    }
  }
  if (next_end_ns_ != kNever) next_end_ns_ += by_ns;
}

// The first instant of the leaf that is left.
int64_t LeaseTable::CollectDueInLeaf(size_t leaf, int64_t now_ns,
                                     std::vector<SlotIndex>& due) const {
  const size_t begin = leaf * kLeafSlots;
  const size_t end = std::min(begin + kLeafSlots, end_at_ns_.size());
  int64_t first_left = kNever;
  for (size_t slot = begin; slot < end; ++slot) {
    const int64_t at = end_at_ns_[slot];
    if (at <= now_ns) {
      due.push_back(static_cast<SlotIndex>(slot));
    } else {
      first_left = std::min(first_left, at);
    }
  }
  return first_left;
}

void LeaseTable::CollectDue(int64_t now_ns, std::vector<SlotIndex>& due) {
  if (now_ns < next_end_ns_) return;
  int64_t first_left = kNever;
  for (size_t leaf = 0; leaf < leaf_end_at_ns_.size(); ++leaf) {
    int64_t& leaf_end_at_ns = leaf_end_at_ns_[leaf];
    if (leaf_end_at_ns <= now_ns) leaf_end_at_ns = CollectDueInLeaf(leaf, now_ns, due);
    first_left = std::min(first_left, leaf_end_at_ns);
  }
  const int64_t spacing = kPassSpacingNsPerLeaf * static_cast<int64_t>(leaf_end_at_ns_.size());
  next_end_ns_ = std::max(first_left, now_ns + spacing);
}

uint32_t LeaseTable::CountOf(const std::string& client) const {
  const auto found = clients_.find(client);
  return found == clients_.end() ? 0 : found->second;
}

}  // namespace leaseplane::engine
