// SPDX-License-Identifier: Apache-2.0
//
// How a process is attached to a pool, and what may be the matter with that.
//
// Ownership: pointers into mappings that outlive every thread that may use them. Threads: an
// Attachment is immutable; ProcessFlags are written by the process's library thread and read by
// all. Errors: none.
#pragma once

#include <cstdint>

#include "core/base/ids.h"
#include "core/pool/memory.h"
#include "core/pool/pool_words.h"

namespace leaseplane {

// One immutable snapshot of how a process is attached to a pool. A new one is made when the
// segment was lost; an old one stays valid memory as long as a thread may be inside it.
template <class M>
struct Attachment {
  PoolWords<M> words;
  SessionIndex owner = 0;
  uint64_t session_word = 0;  // what SESS must read while the session lives
  uint64_t attach_gen = 0;    // ProcessFlags's when this was made, a multiple of kAttachStep
  const typename M::U64* session = nullptr;  // the word of SESS

  Attachment() = default;
  Attachment(const PoolWords<M>& w, SessionIndex o, uint64_t word, uint64_t gen)
      : words(w), owner(o), session_word(word), attach_gen(gen), session(&w.sessions[o]) {}
};

// Flags of the process, written by its library thread, read by everybody after each CAS. One word,
// so that the fast path makes one comparison: it equals Attachment::attach_gen unless something is
// the matter.
template <class M>
struct alignas(kCacheLineBytes) ProcessFlags {
  static constexpr uint64_t kSegmentDead = 1;  // the daemon that owned the segment is gone
  static constexpr uint64_t kGateVoid = 2;  // the daemon's heart stands still: on without its gate
  static constexpr uint64_t kAttachStep = 4;

  typename M::U64 word{0};  // attach_gen, and the flags above

  // RMW, before claims are read for re-declaration.
  void BumpAttachGen() { M::FetchAdd(word, kAttachStep); }
  void Set(uint64_t flag, bool value) {
    if (value) {
      M::FetchOr(word, flag);
    } else {
      M::FetchAnd(word, ~flag);
    }
  }
  bool Has(uint64_t flag) const { return (M::Load(word) & flag) != 0; }
  uint64_t attach_gen() const { return M::Load(word) & ~(kAttachStep - 1); }
};

template <class M>
bool IsCurrent(const Attachment<M>& a, const ProcessFlags<M>& flags) noexcept {
  return (M::Load(flags.word) & ~ProcessFlags<M>::kGateVoid) == a.attach_gen;
}

template <class M>
bool SessionLives(const Attachment<M>& a) noexcept {
  return M::Load(*a.session) == a.session_word;
}

}  // namespace leaseplane
