// SPDX-License-Identifier: Apache-2.0
//
// HeapPool: the shared words of one pool in ordinary memory, and processes attached to it.
// RecordingMemory: real atomics, but sleeps return at once and wakes are written down.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/pool/authority.h"
#include "core/pool/claims.h"
#include "core/pool/slot_client.h"
#include "core/shm/layout.h"
#include "tests/support/finder_memory.h"

namespace leaseplane {

struct RecordingMemory : RealMemory {
  struct Wake {
    const U32* word;
    int count;
  };
  static inline std::vector<Wake> wakes;

  static bool FutexWait(U32&, uint32_t, int64_t, uint32_t = kAnySleeper) noexcept { return true; }
  static int FutexWake(U32& word, int count, uint32_t = kAnySleeper) {
    wakes.push_back({&word, count});
    return count;
  }
};

template <class M>
class HeapPool {
 public:
  explicit HeapPool(uint32_t capacity)
      : slots_(new typename M::U64[capacity]{}),
        bits_(new typename M::U64[(capacity + 63) / 64]{}),
        sessions_(new typename M::U64[kOwnerCount]{}) {
    words_.slots = slots_.get();
    words_.max_capacity = capacity;
    words_.wseq = &wseq_;
    words_.dseq = &dseq_;
    words_.wcnt = &wcnt_;
    words_.policy = &policy_;
    words_.drained = &drained_;
    words_.heartbeat = &heartbeat_;
    words_.grant_bits = bits_.get();
    words_.sessions = sessions_.get();
    finder_.Lay(words_);
  }

  const PoolWords<M>& words() const { return words_; }
  SlotWord Word(SlotIndex i) const { return M::Load(words_.Slot(i)); }
  void SetWord(SlotIndex i, SlotWord word) { M::Store(words_.Slot(i), word); }
  bool Bit(SlotIndex i) const { return words_.IsGranted(i); }
  uint32_t wseq() const { return M::Load(*words_.wseq); }
  uint32_t dseq() const { return M::Load(*words_.dseq); }
  void SetGate(shm::Gate gate) {
    const uint64_t policy = M::Load(*words_.policy);
    M::Store(*words_.policy,
             shm::MakePolicy(shm::PolicyEpoch(policy), gate, shm::ReleaseWordOf(policy)));
  }
  void Enlist(uint32_t count) { M::FetchAdd(*words_.wcnt, count); }

  static uint64_t ActiveWord(SessionIndex owner) {
    return shm::MakeSessionWord(shm::SessionState::kActive, owner);
  }
  void Activate(SessionIndex owner) { M::Store(words_.sessions[owner], ActiveWord(owner)); }
  void Revoke(SessionIndex owner) {
    M::Store(words_.sessions[owner], shm::MakeSessionWord(shm::SessionState::kRevoked, owner));
  }

 private:
  std::unique_ptr<typename M::U64[]> slots_, bits_, sessions_;
  typename M::U32 wseq_{0}, dseq_{0}, drained_{0};
  typename M::U64 wcnt_{0}, heartbeat_{0};
  typename M::U64 policy_{shm::MakePolicy(1, shm::Gate::kOpen, shm::ReleaseWord::kFree)};
  FinderMemory<M, 4096> finder_;
  PoolWords<M> words_;
};

// An attached process with one thread.
template <class M>
struct HeapClient {
  HeapClient(HeapPool<M>& pool, SessionIndex session)
      : attachment(pool.words(), session, HeapPool<M>::ActiveWord(session),
                   ProcessFlags<M>::kAttachStep),
        claims(pool.words().max_capacity),
        record(claims.Borrow()) {
    pool.Activate(session);
    flags.BumpAttachGen();
    record.Bind(attachment.words, session);
    thread = ThreadContext<M>(attachment, flags, claims, record);
  }

  TryResult Try(LocalGrant& grant) { return TryAcquire(thread, grant); }
  ReleaseResult Release(const LocalGrant& grant) {
    return leaseplane::Release(thread, grant.slot, grant.token);
  }

  Attachment<M> attachment;
  ProcessFlags<M> flags;
  Claims<M> claims;
  ThreadRecord<M>& record;
  ThreadContext<M> thread;
};

}  // namespace leaseplane
