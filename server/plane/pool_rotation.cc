// SPDX-License-Identifier: Apache-2.0
//
// What a pool does with a new epoch while it runs: renumber slots, or move to new memory.
#include <algorithm>

#include "core/attach/messages.h"
#include "core/pool/mapped_words.h"
#include "server/plane/pool_runtime.h"

namespace leaseplane::plane {

PoolWords<RealMemory> DaemonWordsOf(const PoolSegments& segments, std::byte* sess) {
  PoolWords<RealMemory> words = WordsOf(segments.base(), sess);
  words.base_epochs =
      shm::BaseEpochsOf(segments.base().meta, segments.meta_bytes(), segments.geometry());
  return words;
}

MemoryPtr PoolRuntime::memory() const {
  obs::MutexLock lock(&memory_mu_);
  return memory_;
}

// Without the pool's lock: a heart does not wait for a long step. This thread alone writes it, but
// for the moment of a rotation, when the old memory's heart does not matter any more.
void PoolRuntime::Beat() {
  const MemoryPtr now = memory();
  RealMemory::FetchAdd(*now->words.heartbeat, 1);
}

void PoolRuntime::Renumber(Epoch epoch) {
  Step([&](engine::PoolEngine& engine, engine::Instant now, engine::Actions& actions) {
    engine.Renumber(now, epoch, actions);
    epoch_ = epoch;
    epoch_need_ = EpochNeed::kNone;
  });
}

void PoolRuntime::SetBrokered(bool is_brokered) {
  Step([&](engine::PoolEngine& engine, engine::Instant now, engine::Actions& actions) {
    engine.SetBrokered(now, is_brokered, actions);
  });
}

void PoolRuntime::Rotate(PoolSegments segments, std::byte* sess, Epoch epoch, Generation first_gen,
                         int64_t grace_ns) {
  const PoolWords<RealMemory> words = DaemonWordsOf(segments, sess);
  auto next = std::make_shared<PoolMemory>(std::move(segments), words);
  const MemoryPtr old = memory();  // mapped until nobody looks at it any more
  Step([&](engine::PoolEngine& engine, engine::Instant now, engine::Actions& actions) {
    engine.Rotate(now, words, epoch, first_gen, actions);
    engine.SetBrokered(now, false, actions);  // as RotatePool had it for the old memory
    next->segments.Publish();
    recover_until_ns = now.boot_ns + grace_ns;
    is_recovering = true;
    obs::MutexLock lock(&memory_mu_);
    memory_ = next;
    epoch_ = epoch;
    epoch_need_ = EpochNeed::kNone;
    has_rotated_ = true;
  });
}

// Carried out after what earlier steps had to say: a grant in the old memory comes before.
void PoolRuntime::TellMoved() {
  std::vector<SessionIndex> sessions;
  {
    // A session that ends at this moment is not among them, or is taken out of them afterwards: its
    // word says that it has ended before NoteClaimsDone asks for the lock.
    obs::MutexLock lock(&mu_);
    sessions = outlets_.attach->TakeOpened(handle_);
    awaited_ = sessions;
    if (awaited_.empty()) recover_until_ns = obs::BootNowNs();
  }
  attach::Message message{};
  message.kind = attach::Kind::kPoolMoved;
  message.pool_moved.pool = handle_;
  for (const SessionIndex session : sessions) {
    outlets_.attach->Send(session, message, attach::Delivery::kMust);
  }
}

void PoolRuntime::NoteClaimsDone(std::span<const SessionIndex> sessions) {
  obs::MutexLock lock(&mu_);
  if (awaited_.empty()) return;
  std::erase_if(awaited_, [&](SessionIndex session) {
    return std::find(sessions.begin(), sessions.end(), session) != sessions.end();
  });
  if (awaited_.empty()) recover_until_ns = obs::BootNowNs();
}

}  // namespace leaseplane::plane
