// SPDX-License-Identifier: Apache-2.0
//
// What a PoolEngine needs around it, in memory: the shared words of a pool on the heap, a ledger,
// an id source, a session table, and local clients that follow the protocol by direct CAS.
// Everything but the words survives the "death" of an engine exactly as it would in the daemon.
#pragma once

#include <algorithm>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/pool/authority.h"
#include "core/pool/pool_words.h"
#include "server/engine/ledger_port.h"
#include "server/engine/ports.h"
#include "tests/support/finder_memory.h"

namespace leaseplane::engine {

// The shared words of one pool.
class HeapPool {
 public:
  explicit HeapPool(uint32_t capacity)
      : slots_(capacity), grant_bits_((capacity + 63) / 64), base_epochs_(capacity) {
    words_.slots = slots_.data();
    words_.max_capacity = capacity;
    words_.wseq = &wseq_;
    words_.dseq = &dseq_;
    words_.wcnt = &wcnt_;
    words_.policy = &policy_;
    words_.drained = &drained_;
    words_.heartbeat = &heartbeat_;
    words_.grant_bits = grant_bits_.data();
    finder_.Lay(words_);
    words_.base_epochs = base_epochs_.data();
  }
  PoolWords<RealMemory>& words() { return words_; }
  SlotWord Word(SlotIndex slot) const { return slots_[slot].load(); }
  void Write(SlotIndex slot, SlotWord word) { slots_[slot].store(word); }  // a hostile writer

 private:
  std::vector<std::atomic<uint64_t>> slots_;
  std::vector<std::atomic<uint64_t>> grant_bits_;
  std::atomic<uint32_t> wseq_{0}, dseq_{0}, drained_{0};
  std::atomic<uint64_t> wcnt_{0}, heartbeat_{0};
  std::atomic<uint64_t> policy_{shm::MakePolicy(1, shm::Gate::kOpen, shm::ReleaseWord::kFree)};
  FinderMemory<RealMemory, 4096> finder_;
  std::vector<std::atomic<uint32_t>> base_epochs_;
  PoolWords<RealMemory> words_;
};

class FakeLedger : public LedgerPort {
 public:
  uint64_t PutLease(const LeaseRecord& record) override {
    if (leases.count(record.slot) != 0) ++misuses;
    leases[record.slot] = record;
    return ++seq;
  }
  uint64_t RenewLease(SlotIndex slot, const LeaseTerm& term) override {
    if (leases.count(slot) == 0) ++misuses;
    LeaseRecord& lease = leases[slot];
    const bool is_same_ttl = lease.ttl_ns == term.ttl_ns;
    lease.ttl_ns = term.ttl_ns;
    lease.deadline_at_ns = term.deadline_at_ns;
    lease.revoke_at_ns = term.revoke_at_ns;
    if (on_renew) on_renew();
    return is_same_ttl ? 0 : ++seq;
  }
  uint64_t EndLease(SlotIndex slot, LeaseState ended_as, Instant now) override {
    const auto found = leases.find(slot);
    if (found == leases.end()) {
      ++misuses;
      return ++seq;
    }
    const LeaseRecord& r = found->second;
    tombstones.push_back({r.id, r.slot, r.token, r.principal, r.client_id, r.request_id,
                          r.body_hash, ended_as, now.unix_ns, now.boot_ns});
    if (tombstones.size() > tombstones_max) tombstones.pop_front();
    leases.erase(found);
    return ++seq;
  }
  uint64_t PutLock(SlotIndex slot, const std::string& reason) override {
    locks[slot] = reason;
    return ++seq;
  }
  uint64_t EraseLock(SlotIndex slot) override {
    if (locks.erase(slot) == 0) ++misuses;
    return ++seq;
  }
  uint32_t tombstone_count_max() const override { return tombstones_max; }

  LedgerContents Contents() const {
    LedgerContents contents;
    for (const auto& [slot, record] : leases) contents.leases.push_back(record);
    contents.tombstones.assign(tombstones.begin(), tombstones.end());
    for (const auto& [slot, reason] : locks) contents.locks.push_back({slot, reason});
    return contents;
  }

  std::map<SlotIndex, LeaseRecord> leases;
  std::deque<Tombstone> tombstones;
  std::map<SlotIndex, std::string> locks;
  uint32_t tombstones_max = 64;
  uint64_t seq = kInheritedSeq;
  std::function<void()> on_renew;  // others at work during a recovery
  int misuses = 0;                 // calls that the port forbids
};

class CountingIds final : public IdSource {
 public:
  LeaseId NextLeaseId() override { return {1, ++last_}; }
  uint64_t NextRandom() override { return (++last_) << 17; }

 private:
  uint64_t last_ = 0;
};

class FakeSessions final : public SessionsPort {
 public:
  bool IsActive(SessionIndex session) const override { return attached.count(session) != 0; }
  std::string PrincipalOf(SessionIndex session) const override {
    return "uid:" + std::to_string(1000 + session);
  }
  int64_t AttachedAtNs(SessionIndex session) const override {
    const auto found = attached.find(session);
    return found == attached.end() ? 0 : found->second;
  }
  int64_t HeardAtNs(SessionIndex session) const override {
    const auto found = heard.find(session);
    return found == heard.end() ? kNever : found->second;
  }
  std::map<SessionIndex, int64_t> attached;  // session -> since
  std::map<SessionIndex, int64_t> heard;     // absent: does not have to answer
};

// A co-located process, as far as slot words see it.
struct LocalClient {
  // One pass over the slots. `ignores_gate` is what a client does whose daemon stands still.
  static std::optional<SlotGrant> TryAcquire(PoolWords<RealMemory>& words, SessionIndex me,
                                             bool session_is_active, bool ignores_gate = false) {
    if (words.GateClosed() && !ignores_gate) return std::nullopt;
    for (SlotIndex i = 0; i < words.max_capacity; ++i) {
      const SlotWord seen = RealMemory::Load(words.Slot(i));
      if (!IsGrantable(seen) || !words.IsGranted(i)) continue;
      const Generation gen = GenerationOfWord(seen) + 1;
      if (!RealMemory::CompareExchange(words.Slot(i), seen, BusyWord(me, gen))) continue;
      if (session_is_active && words.IsGranted(i)) return SlotGrant{i, gen};
      RealMemory::CompareExchange(words.Slot(i), BusyWord(me, gen), FreeWord(gen));
      WakeAfterFree(words, false, ignores_gate);
      if (!session_is_active) return std::nullopt;
    }
    return std::nullopt;
  }
  static bool Release(PoolWords<RealMemory>& words, SessionIndex me, const SlotGrant& held) {
    const SlotWord after = words.AfterBusy(held.gen);
    if (!RealMemory::CompareExchange(words.Slot(held.slot), BusyWord(me, held.gen), after)) {
      return false;
    }
    WakeAfterFree(words, StateOf(after) == SlotState::kLocked, false);
    return true;
  }
};

}  // namespace leaseplane::engine
