// SPDX-License-Identifier: Apache-2.0
//
// PoolRuntime: one running pool. The engine under the pool's lock, the calls that wait for it, and
// the carrying out of its actions after the lock is released, in the order of the steps.
//
// Ownership: shared; whoever works with a pool holds a reference, so segments stay mapped. Threads:
// any. Errors: as the engine's. Cost: Step is one lock and one clock read on top of the engine, and
// what there is to carry out. Wall time is for people: it is as of the last tick.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "core/pool/authority.h"
#include "server/attach/attach_server.h"
#include "server/engine/pool_engine.h"
#include "server/ledger/mapped_ledger.h"
#include "server/obs/clock.h"
#include "server/obs/metrics/figures.h"
#include "server/obs/mutex.h"
#include "server/plane/engine_ports.h"
#include "server/plane/hold_sampler.h"
#include "server/plane/lease_watchers.h"
#include "server/plane/plane.h"
#include "server/plane/pool_segments.h"
#include "server/store/store_writer.h"

namespace leaseplane::plane {

inline engine::Instant NowInstant() { return {obs::BootNowNs(), obs::UnixNowNs()}; }

// What a pool's actions reach. All outlive every pool.
struct Outlets {
  attach::AttachServer* attach = nullptr;
  store::StoreWriter* writer = nullptr;
  LeaseWatchers* watchers = nullptr;
  engine::IdSource* ids = nullptr;
  const engine::SessionsPort* sessions = nullptr;
};

// The shared memory of a pool, as it is between two rotations. Whoever uses it holds a reference.
struct PoolMemory {
  PoolMemory(PoolSegments of, PoolWords<RealMemory> in) : segments(std::move(of)), words(in) {}

  PoolSegments segments;
  PoolWords<RealMemory> words;
};
using MemoryPtr = std::shared_ptr<const PoolMemory>;
PoolWords<RealMemory> DaemonWordsOf(const PoolSegments& segments, std::byte* sess);

// What a pool wants that takes an epoch.
enum class EpochNeed { kNone, kRenumber, kRotate };

class PoolRuntime final : public store::ChangeSource,
                          public std::enable_shared_from_this<PoolRuntime> {
 public:
  PoolRuntime(engine::PoolOptions options, uint32_t handle, Epoch epoch, PoolSegments segments,
              PoolWords<RealMemory> words, Generation renumber_at,
              std::unique_ptr<ledger::MappedLedger> ledger, const Outlets& outlets);

  const std::string& id() const { return options().id; }
  // As they are now; the reference stays valid as long as the pool.
  const engine::PoolOptions& options() const { return *options_.load(std::memory_order_acquire); }
  // See PoolEngine::ChangeRules. Rare: the rules before are kept until the pool goes.
  void ChangeRules(engine::PoolOptions options) ABSL_LOCKS_EXCLUDED(mu_);
  uint32_t handle() const { return handle_; }
  Epoch epoch() const { return epoch_.load(); }
  MemoryPtr memory() const ABSL_LOCKS_EXCLUDED(memory_mu_);

  // -- for PoolUpkeep's thread
  EpochNeed epoch_need() const { return epoch_need_.load(); }
  void Renumber(Epoch epoch);
  void SetBrokered(bool is_brokered);
  // Moves to `segments`, which are published by it, and tells every session that has the pool open;
  // EndRecovery follows when all of them have declared what they hold, or after `grace_ns`.
  void Rotate(PoolSegments segments, std::byte* sess, Epoch epoch, Generation first_gen,
              int64_t grace_ns);
  // -- sessions that have not followed a rotation yet
  void NoteClaimsDone(std::span<const SessionIndex> sessions);
  bool has_rotated() const { return has_rotated_.load(); }

  // One step of the engine: body(engine, now, actions) under the lock; then what it caused is
  // carried out, by this thread or by the one that is at it. Returns what body returns.
  template <class Body>
  auto Step(Body&& body) ABSL_LOCKS_EXCLUDED(mu_);
  // A look without effects: body(engine, now).
  template <class Body>
  auto View(Body&& body) ABSL_LOCKS_EXCLUDED(mu_);

  // -- calls that wait (plane.h has the contracts)
  uint64_t Acquire(engine::AcquireRequest request, int64_t received_at_ns,
                   std::shared_ptr<AcquireListener> listener);
  void Cancel(uint64_t ticket);
  Result<engine::QueueState> QueuePosition(uint64_t ticket);
  void WhenDurable(uint64_t commit_seq, store::StoreWriter::Callback callback);

  // Tells the watchers that somebody is queued; at most every kWaitingToldNs.
  void TellWaiting(int64_t now_ns);

  // -- for the threads of the plane
  int64_t next_deadline_ns() const { return next_deadline_ns_.load(std::memory_order_relaxed); }
  void Beat();
  void Tick(int64_t since_last_ns);  // the timer thread alone
  void SampleHolds(int64_t now_ns);  // the timer thread alone
  // True if the release changed something.
  bool OnReleased();
  // Instant at which EndRecovery is due; kNever: not recovering.
  std::atomic<int64_t> recover_until_ns{engine::kNever};
  std::atomic<bool> is_recovering{false};
  // The pool has been deleted: time and releases move it no more.
  std::atomic<bool> is_closed{false};

  // -- store::ChangeSource
  ledger::Changes TakeChanges() override;
  ledger::Changes TakeLockChanges() override;
  // From now on the store gets everything the ledger holds: the daemon stops in good order.
  void HandOverAll();
  void MarkLedgerClean();

  std::shared_ptr<const obs::PoolHistograms> histograms() const { return histograms_; }

 private:
  using ListenerPtr = std::shared_ptr<AcquireListener>;

  engine::Instant Now() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // True: there is something to carry out.
  bool StepDone() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void CarryOut() ABSL_LOCKS_EXCLUDED(mu_);
  void CarryOutOne(engine::Actions& actions);
  void NoteTrouble(const engine::PoolStats& stats);
  void CarryOutLocal(const engine::Actions& actions);
  void SendGrant(const engine::Actions::SendGrant& grant);
  void DeliverGrant(uint64_t ticket, engine::Grant grant);
  void RefuseCall(uint64_t ticket, engine::Refusal refusal);
  void DeliverWhenDurable(uint64_t ticket, engine::Grant grant, uint64_t commit_seq);
  // nullopt: the grant may be told.
  std::optional<engine::Refusal> JudgeStored(const absl::Status& status, const engine::Grant& grant,
                                             uint64_t commit_seq);
  ListenerPtr TakeListener(uint64_t ticket);
  void TellMoved();

  std::vector<std::unique_ptr<const engine::PoolOptions>> rules_;  // of ChangeRules' one thread
  std::atomic<const engine::PoolOptions*> options_;                // the last of them
  const uint32_t handle_;
  std::atomic<Epoch> epoch_;
  mutable obs::Mutex memory_mu_;  // after mu_
  MemoryPtr memory_ ABSL_GUARDED_BY(memory_mu_);
  std::atomic<EpochNeed> epoch_need_{EpochNeed::kNone};
  std::atomic<bool> has_rotated_{false};
  const Outlets outlets_;
  const std::shared_ptr<obs::PoolHistograms> histograms_ = std::make_shared<obs::PoolHistograms>();
  HoldSampler holds_;
  engine::PoolStats noted_;   // what the log knows; timer thread alone
  int64_t next_note_ns_ = 0;  // timer thread alone
  std::atomic<int64_t> next_deadline_ns_{engine::kNever};
  std::atomic<int64_t> waiting_told_ns_{0};

  obs::Mutex mu_;
  int64_t unix_minus_boot_ns_ ABSL_GUARDED_BY(mu_) = obs::UnixNowNs() - obs::BootNowNs();
  std::unique_ptr<ledger::MappedLedger> ledger_ ABSL_GUARDED_BY(mu_);
  std::vector<SessionIndex> awaited_ ABSL_GUARDED_BY(mu_);  // told of a rotation
  Authority<RealMemory> authority_;                         // mu_
  engine::PoolEngine engine_ ABSL_GUARDED_BY(mu_);
  absl::flat_hash_map<uint64_t, ListenerPtr> listeners_ ABSL_GUARDED_BY(mu_);
  engine::Actions step_actions_ ABSL_GUARDED_BY(mu_);
  std::vector<engine::Actions> outbox_ ABSL_GUARDED_BY(mu_);
  bool carrying_out_ ABSL_GUARDED_BY(mu_) = false;
  bool hands_over_all_ ABSL_GUARDED_BY(mu_) = false;
};

using PoolPtr = std::shared_ptr<PoolRuntime>;

template <class Body>
auto PoolRuntime::Step(Body&& body) {
  using Answer = decltype(body(engine_, engine::Instant{}, step_actions_));
  bool has_news = false;
  if constexpr (std::is_void_v<Answer>) {
    {
      obs::MutexLock lock(&mu_);
      body(engine_, Now(), step_actions_);
      has_news = StepDone();
    }
    if (has_news) CarryOut();
  } else {
    auto answer = [&] {
      obs::MutexLock lock(&mu_);
      auto result = body(engine_, Now(), step_actions_);
      has_news = StepDone();
      return result;
    }();
    if (has_news) CarryOut();
    return answer;
  }
}

template <class Body>
auto PoolRuntime::View(Body&& body) {
  obs::MutexLock lock(&mu_);
  return body(engine_, Now());
}

}  // namespace leaseplane::plane
