// SPDX-License-Identifier: Apache-2.0
//
// StoreWriter: the one thread that carries changes from the pools' ledgers to the store.
// - ASYNC pools are written every `flush_interval_ns`, and at once when somebody waits.
// - SYNC pools are written as soon as somebody waits; whatever arrives during a sync of the disk
//   goes together in the next one.
// - NONE pools store their operator locks only; their leases are written by Drain.
//
// Owner and lifetime: the worker; StateStore and all sources outlive it.
// Threads: every method from any thread, none with a pool's lock held except OnDurable, whose
//   callback may then run inside the call (see there). Callbacks run without any lock of the writer
//   held; sources are asked with only the one held that RemovePool and Drain take.
// Errors: a failing disk never ends the writer. It keeps what it could not write, tries again with
//   growing pauses up to `retry_max_ns`, and meanwhile answers every waiter UNAVAILABLE or
//   RESOURCE_EXHAUSTED. What is kept is bounded: one batch a pool, the rest coalesces in the
//   ledger.
// Not promised: order between pools.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/engine/types.h"
#include "server/ledger/changes.h"
#include "server/obs/mutex.h"
#include "server/store/state_store.h"

namespace leaseplane::store {

struct StoreWriterOptions {
  absl::Duration flush_interval = absl::Milliseconds(100);
  absl::Duration retry_min = absl::Milliseconds(100);
  absl::Duration retry_max = absl::Seconds(5);
  // Called from the writer's thread when the store begins to fail (the error) and when it works
  // again (OK).
  std::function<void(const absl::Status&)> on_state_change;
};

// Where a pool's changes come from: takes the pool's lock, then MappedLedger::TakeChanges or
// TakeLockChanges.
class ChangeSource {
 public:
  virtual ~ChangeSource() = default;
  virtual ledger::Changes TakeChanges() = 0;
  virtual ledger::Changes TakeLockChanges() = 0;
};

class StoreWriter {
 public:
  using Callback = std::function<void(const absl::Status&)>;

  StoreWriter(StateStore* store, StoreWriterOptions options);
  ~StoreWriter();  // Stops without a last flush; waiters get CANCELLED.
  StoreWriter(const StoreWriter&) = delete;
  StoreWriter& operator=(const StoreWriter&) = delete;

  void Start();

  // The source stays valid until RemovePool returns.
  void AddPool(const std::string& pool_id, engine::Durability durability, ChangeSource* source);
  // Waits for a write under way, forgets what was not written; its waiters get CANCELLED.
  void RemovePool(const std::string& pool_id);

  // Calls `callback` once: with OK when write `seq` of the pool (LedgerPort) is durable, with the
  // store's error when it could not be made so now (it may become durable later all the same).
  // Runs inside this call if the answer is known: seq is durable already, seq is 0, the pool's
  // durability is NONE, the store is failing, or the pool is unknown (NOT_FOUND). Else it runs on
  // the writer's thread. The callback may take locks that are not held around OnDurable.
  void OnDurable(const std::string& pool_id, uint64_t seq, Callback callback);
  // As things are. May be called with the pool locked, as OnDurable may.
  bool IsDurable(const std::string& pool_id, uint64_t seq) const;

  // OK, or the error of a store that is failing now.
  absl::Status state() const;
  bool failed() const { return !state().ok(); }
  // Age of the oldest change that a failing store could not take; zero if there is none.
  absl::Duration lag() const;

  // Writes everything, NONE pools included, then the clean end of the run. Returns the first error;
  // then the run is not marked clean. Afterwards the writer goes on as before. Call it when no
  // more changes are made.
  absl::Status Drain(const Uuid& boot_id, uint32_t local_sessions, int64_t now_unix_s);

 private:
  struct Waiter {
    uint64_t seq = 0;
    Callback callback;
  };
  struct Pool {
    engine::Durability durability = engine::Durability::kAsync;
    ChangeSource* source = nullptr;
    uint64_t durable_seq = 0;
    bool has_pending = false;  // `pending` could not be written yet
    ledger::Changes pending;
    std::vector<Waiter> waiters;
  };
  enum class Scope { kWaiting, kDue, kAll };
  using Answers = std::vector<std::pair<Callback, absl::Status>>;

  void Run();
  absl::Status Flush(Scope scope) ABSL_LOCKS_EXCLUDED(mutex_, flush_mutex_);
  std::vector<PoolBatch> Collect(Scope scope) ABSL_EXCLUSIVE_LOCKS_REQUIRED(flush_mutex_);
  void Settle(std::vector<PoolBatch> batches, const absl::Status& status, Answers* answers)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(flush_mutex_);
  // True if the store's state is another one now.
  bool NoteOutcome(const absl::Status& status, std::chrono::steady_clock::time_point taken_at,
                   Answers* answers) ABSL_EXCLUSIVE_LOCKS_REQUIRED(flush_mutex_);
  static void Drop(Pool* pool, const absl::Status& status, Answers* answers);

  StateStore* const store_;
  const StoreWriterOptions options_;

  // Held over one flush from taking changes to having settled them. Before mutex_.
  obs::Mutex flush_mutex_ ABSL_ACQUIRED_BEFORE(mutex_);
  mutable obs::Mutex mutex_;
  obs::Wake wake_;  // with mutex_
  std::map<std::string, Pool> pools_ ABSL_GUARDED_BY(mutex_);
  absl::Status state_ ABSL_GUARDED_BY(mutex_);
  bool is_behind_ ABSL_GUARDED_BY(mutex_) = false;
  std::chrono::steady_clock::time_point behind_since_ ABSL_GUARDED_BY(mutex_);
  bool is_urgent_ ABSL_GUARDED_BY(mutex_) = false;
  bool is_stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace leaseplane::store
