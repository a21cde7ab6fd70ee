// SPDX-License-Identifier: Apache-2.0
//
// StateStore: everything the daemon remembers beyond a boot of the host, in one SQLite file,
// `<state_dir>/leaseplane.db`: its identity, the epoch of every pool, pools made by the API,
// leases, tombstones, operator locks, and how the last run ended.
//
// Owner and lifetime: the worker; outlives the StoreWriter. One process at a time (the state
// directory is locked; the file is, too).
// Threads: any; calls run one at a time and wait for the disk. Never call it with a pool locked.
// Errors: absl::Status that names the file. RESOURCE_EXHAUSTED: the disk or a size limit is full.
//   DATA_LOSS: the file is damaged. UNAVAILABLE: any other I/O error. After an error nothing of
//   the call is kept, and the next call tries anew. FAILED_PRECONDITION as said at the methods.
// Cost: every change is one transaction with one sync of the disk.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/base/ids.h"
#include "server/engine/ledger_port.h"
#include "server/engine/types.h"
#include "server/ledger/changes.h"
#include "server/ledger/uuid.h"
#include "server/obs/mutex.h"

namespace leaseplane::store {

class Database;
using ledger::Uuid;

struct StoreOptions {
  // Accept a state that cannot be right: a clock before the build date, a store that is gone while
  // its ledgers are there.
  bool initialize = false;
  // All tokens given out from now on are above this one. 0 = none.
  FencingToken token_floor = 0;
  int64_t build_unix_s = 0;
  std::string vfs = {};  // SQLite VFS by name, for tests; empty = the system's
};

struct PoolEpoch {
  Epoch epoch = 0;
  // The store had not known the pool, or had erased it: no grant of it can exist.
  bool is_first = false;
  Uuid pool_uid;                   // see ledger::LedgerIdentity
  Generation base_generation = 0;  // for a segment created now
  int64_t max_ttl_ns = 0;          // the longest ttl of any lease ever stored
  // Wall second that must have begun before a token of this epoch is given out: 0, or for a
  // name the store had not known the next full second. Thus two starts that both lost their store
  // do not share a second, hence not a base generation.
  int64_t usable_from_unix_s = 0;
};

struct RunMarker {
  Uuid boot_id;
  bool clean = false;  // stopped in good order, everything was stored
  uint32_t local_sessions_at_stop = 0;
  int64_t unix_s = 0;  // of the stop, or of the start if it is not clean
};

// What StoreWriter commits for one pool.
struct PoolBatch {
  std::string pool_id;
  ledger::Changes changes;
};

class StateStore {
 public:
  // Opens or creates; `state_dir` exists. FAILED_PRECONDITION: written by a newer version, or the
  // file is gone although ledgers are there and `initialize` is not set.
  static absl::StatusOr<std::unique_ptr<StateStore>> Open(const std::string& state_dir,
                                                          const StoreOptions& options);
  ~StateStore();
  StateStore(const StateStore&) = delete;
  StateStore& operator=(const StateStore&) = delete;

  // Durable, one per state directory, 32 hex digits with dashes.
  const std::string& instance_id() const { return instance_id_; }
  const std::string& path() const { return path_; }
  bool is_new() const { return is_new_; }

  // Gives every pool its next epoch: max(stored + 1, hours since 2024-01-01 UTC, above the token
  // floor), all in one synced transaction. Call before a pool's new segment is shown to anybody,
  // and to renumber. FAILED_PRECONDITION: the clock is before the build date and `initialize` is
  // not set, or the epochs are used up.
  absl::StatusOr<std::map<std::string, PoolEpoch>> BumpEpochs(
      absl::Span<const std::string> pool_ids, int64_t now_unix_s);
  // The epoch as it is: after a worker restart with the segments alive. NOT_FOUND: never bumped,
  // or erased since.
  absl::StatusOr<PoolEpoch> GetEpoch(const std::string& pool_id);

  // Pools made by the API.
  absl::Status PutPool(const engine::PoolOptions& options, int64_t now_unix_s);
  absl::StatusOr<std::vector<engine::PoolOptions>> LoadPools();
  // Forgets definition, drain, leases, tombstones and locks of a pool (made by the API or not); its
  // epoch stays, so a pool of the same name made later continues the tokens. It has another uid.
  absl::Status ErasePool(const std::string& pool_id);

  // An operator drains the pool, and this is why; nullopt: not any more. By name, known or not.
  absl::Status PutDrain(const std::string& pool_id, const std::optional<std::string>& reason);
  absl::StatusOr<std::optional<std::string>> LoadDrain(const std::string& pool_id);

  // Leases, tombstones (oldest first) and locks. Empty for a pool the store does not know.
  // Instants (`*_at_ns`) are those of the boot in which they were stored, and renewals are not
  // stored; RecoverPool makes deadlines that hold.
  absl::StatusOr<engine::LedgerContents> LoadPool(const std::string& pool_id);

  // Writes the batches in one synced transaction.
  absl::Status Commit(absl::Span<const PoolBatch> batches);

  // Writes one row that means nothing: OK if the store can be written.
  absl::Status Probe(int64_t now_unix_s);

  // Start of a run: returns how the one before ended (nullopt: there was none) and stores that this
  // one has not ended in good order yet. The same boot id and not clean = the worker was restarted.
  absl::StatusOr<std::optional<RunMarker>> BeginRun(const Uuid& boot_id, int64_t now_unix_s);
  absl::Status EndRun(const Uuid& boot_id, uint32_t local_sessions, int64_t now_unix_s);

 private:
  StateStore(std::string path, const StoreOptions& options);

  absl::Status Initialize() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::string path_;
  const StoreOptions options_;
  std::string instance_id_;  // set before Open returns
  bool is_new_ = false;      // likewise

  obs::Mutex mutex_;
  std::unique_ptr<Database> db_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace leaseplane::store
