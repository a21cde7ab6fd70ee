// SPDX-License-Identifier: Apache-2.0
#include "server/store/store_writer.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace leaseplane::store {
namespace {

using engine::Durability;
using SteadyClock = std::chrono::steady_clock;

// A status that shares nothing with `status`. What goes to other threads is made so: the packaged
// Abseil counts the references to a shared one where ThreadSanitizer cannot see it.
absl::Status Unshared(const absl::Status& status) {
  return absl::Status(status.code(), status.message());
}

void Answer(std::vector<std::pair<StoreWriter::Callback, absl::Status>>& answers) {
  for (auto& [callback, status] : answers) callback(status);
  answers.clear();
}

}  // namespace

StoreWriter::StoreWriter(StateStore* store, StoreWriterOptions options)
    : store_(store), options_(std::move(options)) {}

StoreWriter::~StoreWriter() {
  {
    obs::MutexLock lock(&mutex_);
    is_stopping_ = true;
  }
  wake_.NotifyAll();
  if (thread_.joinable()) thread_.join();
  Answers answers;
  {
    obs::MutexLock lock(&mutex_);
    for (auto& [id, pool] : pools_) {
      Drop(&pool, absl::CancelledError("the store writer stops"), &answers);
    }
  }
  Answer(answers);
}

void StoreWriter::Start() {
  thread_ = std::thread([this] { Run(); });
}

void StoreWriter::AddPool(const std::string& pool_id, Durability durability, ChangeSource* source) {
  obs::MutexLock lock(&mutex_);
  Pool& pool = pools_[pool_id];
  pool = Pool{};
  pool.durability = durability;
  pool.source = source;
}

void StoreWriter::RemovePool(const std::string& pool_id) {
  Answers answers;
  {
    obs::MutexLock flush_lock(&flush_mutex_);
    obs::MutexLock lock(&mutex_);
    const auto found = pools_.find(pool_id);
    if (found == pools_.end()) return;
    Drop(&found->second, absl::CancelledError(absl::StrCat("pool ", pool_id, " is removed")),
         &answers);
    pools_.erase(found);
  }
  Answer(answers);
}

void StoreWriter::Drop(Pool* pool, const absl::Status& status, Answers* answers) {
  for (Waiter& waiter : pool->waiters)
    answers->emplace_back(std::move(waiter.callback), Unshared(status));
  pool->waiters.clear();
}

void StoreWriter::OnDurable(const std::string& pool_id, uint64_t seq, Callback callback) {
  absl::Status answer;
  {
    obs::MutexLock lock(&mutex_);
    const auto found = pools_.find(pool_id);
    if (found == pools_.end()) {
      answer = absl::NotFoundError(absl::StrCat("pool ", pool_id, " is not stored"));
    } else if (Pool& pool = found->second;
               seq > pool.durable_seq && pool.durability != Durability::kNone) {
      if (state_.ok()) {
        pool.waiters.push_back({seq, std::move(callback)});
        is_urgent_ = true;
        wake_.NotifyAll();
        return;
      }
      answer = Unshared(state_);
    }
  }
  callback(answer);
}

bool StoreWriter::IsDurable(const std::string& pool_id, uint64_t seq) const {
  obs::MutexLock lock(&mutex_);
  const auto found = pools_.find(pool_id);
  return found != pools_.end() && seq <= found->second.durable_seq;
}

absl::Status StoreWriter::state() const {
  obs::MutexLock lock(&mutex_);
  return Unshared(state_);
}

absl::Duration StoreWriter::lag() const {
  obs::MutexLock lock(&mutex_);
  if (!is_behind_) return absl::ZeroDuration();
  return absl::FromChrono(SteadyClock::now() - behind_since_);
}

void StoreWriter::Run() {
  const auto interval = absl::ToChronoNanoseconds(options_.flush_interval);
  SteadyClock::time_point next_tick = SteadyClock::now() + interval;
  absl::Duration pause = options_.retry_min;
  while (true) {
    bool is_due = false;
    {
      obs::MutexLock lock(&mutex_);
      while (!is_stopping_ && !(is_urgent_ && state_.ok()) && SteadyClock::now() < next_tick) {
        wake_.WaitUntil(&mutex_, next_tick);
      }
      if (is_stopping_) return;
      is_due = SteadyClock::now() >= next_tick;
    }
    if (Flush(is_due ? Scope::kDue : Scope::kWaiting).ok()) {
      pause = options_.retry_min;
      if (is_due) next_tick = SteadyClock::now() + interval;
    } else {
      next_tick = SteadyClock::now() + absl::ToChronoNanoseconds(pause);
      pause = std::min(2 * pause, options_.retry_max);
    }
  }
}

absl::Status StoreWriter::Flush(Scope scope) {
  Answers answers;
  absl::Status status;
  bool has_state_changed = false;
  {
    obs::MutexLock flush_lock(&flush_mutex_);
    const SteadyClock::time_point taken_at = SteadyClock::now();
    std::vector<PoolBatch> batches = Collect(scope);
    std::vector<PoolBatch> written;
    std::vector<PoolBatch> unchanged;
    for (PoolBatch& batch : batches) {
      (batch.changes.empty() ? unchanged : written).push_back(std::move(batch));
    }
    Settle(std::move(unchanged), absl::OkStatus(), &answers);
    // While the store fails nothing is granted, so there may be nothing to write: then a probe
    // finds out that it works again.
    const bool was_failing = failed();
    if (!written.empty() || was_failing) {
      status = written.empty() ? store_->Probe(absl::ToUnixSeconds(absl::Now()))
                               : store_->Commit(written);
      Settle(std::move(written), status, &answers);
      has_state_changed = NoteOutcome(status, taken_at, &answers);
    }
  }
  if (has_state_changed && options_.on_state_change) options_.on_state_change(status);
  Answer(answers);
  return status;
}

// Takes from the sources without mutex_: they lock their pools, and OnDurable comes with a pool
// locked. flush_mutex_ keeps the sources valid.
std::vector<PoolBatch> StoreWriter::Collect(Scope scope) {
  struct Source {
    std::string pool_id;
    ChangeSource* source;
    bool takes_locks_only;
  };
  std::vector<PoolBatch> batches;
  std::vector<Source> sources;
  {
    obs::MutexLock lock(&mutex_);
    is_urgent_ = false;
    for (auto& [pool_id, pool] : pools_) {
      if (pool.has_pending) {
        pool.has_pending = false;
        batches.push_back({pool_id, std::move(pool.pending)});
      } else if (scope != Scope::kWaiting || !pool.waiters.empty()) {
        const bool is_none = pool.durability == Durability::kNone;
        sources.push_back({pool_id, pool.source, is_none && scope != Scope::kAll});
      }
    }
  }
  for (const Source& from : sources) {
    batches.push_back({from.pool_id, from.takes_locks_only ? from.source->TakeLockChanges()
                                                           : from.source->TakeChanges()});
  }
  return batches;
}

// A batch that was not written waits in its pool for the next try; then nothing new is taken, so
// what has to be kept stays bounded and in order.
void StoreWriter::Settle(std::vector<PoolBatch> batches, const absl::Status& status,
                         Answers* answers) {
  obs::MutexLock lock(&mutex_);
  for (PoolBatch& batch : batches) {
    Pool& pool = pools_[batch.pool_id];
    if (!status.ok()) {
      pool.pending = std::move(batch.changes);
      pool.has_pending = true;
      continue;
    }
    pool.durable_seq = std::max(pool.durable_seq, batch.changes.through_seq);
    const auto is_durable = [&pool](const Waiter& w) { return w.seq <= pool.durable_seq; };
    for (Waiter& waiter : pool.waiters) {
      if (is_durable(waiter)) answers->emplace_back(std::move(waiter.callback), status);
    }
    std::erase_if(pool.waiters, is_durable);
    if (!pool.waiters.empty()) is_urgent_ = true;
  }
}

bool StoreWriter::NoteOutcome(const absl::Status& status, SteadyClock::time_point taken_at,
                              Answers* answers) {
  obs::MutexLock lock(&mutex_);
  const bool has_changed = state_.ok() != status.ok();
  state_ = Unshared(status);
  if (status.ok()) {
    is_behind_ = false;
    return has_changed;
  }
  if (!is_behind_) behind_since_ = taken_at;
  is_behind_ = true;
  for (auto& [pool_id, pool] : pools_) Drop(&pool, status, answers);
  return has_changed;
}

absl::Status StoreWriter::Drain(const Uuid& boot_id, uint32_t local_sessions, int64_t now_unix_s) {
  // First what an earlier flush could not write, then all the rest.
  for (const Scope scope : {Scope::kWaiting, Scope::kAll}) {
    if (absl::Status status = Flush(scope); !status.ok()) return status;
  }
  return store_->EndRun(boot_id, local_sessions, now_unix_s);
}

}  // namespace leaseplane::store
