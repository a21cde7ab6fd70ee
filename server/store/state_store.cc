// SPDX-License-Identifier: Apache-2.0
#include "server/store/state_store.h"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/store/epochs.h"
#include "server/store/pool_json.h"
#include "server/store/pool_rows.h"
#include "server/store/schema.h"
#include "server/store/sqlite.h"
#include "server/store/state_dir.h"

namespace leaseplane::store {
namespace {

constexpr char kEraseDrain[] = "DELETE FROM drained_pools WHERE pool_id = ?";

bool HasLedgers(const std::string& state_dir) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(LedgerDir(state_dir), error)) {
    if (entry.path().extension() == ".ledger") return true;
  }
  return false;
}

struct EpochRow {
  int64_t pool_key = 0;
  int64_t epoch = 0;
  Uuid uid;
  int64_t max_ttl_ns = 0;
};

absl::StatusOr<std::optional<EpochRow>> ReadEpoch(Database* db, const std::string& pool_id) {
  Statement select(db,
                   "SELECT pool_key, epoch, uid_hi, uid_lo, max_ttl_ns FROM pool_epochs"
                   " WHERE pool_id = ?");
  const absl::StatusOr<bool> has_row = select.Bind(pool_id).Step();
  if (!has_row.ok()) return has_row.status();
  if (!*has_row) return std::optional<EpochRow>();
  return std::optional<EpochRow>(
      {select.Int(0), select.Int(1), {select.Unsigned(2), select.Unsigned(3)}, select.Int(4)});
}

absl::Status WriteEpoch(Database* db, const std::string& pool_id, const EpochRow& row,
                        int64_t now_unix_s) {
  Statement upsert(db,
                   "INSERT INTO pool_epochs (pool_id, uid_hi, uid_lo, epoch, bumped_unix_s,"
                   " max_ttl_ns) VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (pool_id) DO UPDATE"
                   " SET uid_hi = ?2, uid_lo = ?3, epoch = ?4, bumped_unix_s = ?5,"
                   " max_ttl_ns = ?6");
  upsert.Bind(pool_id).BindUnsigned(row.uid.hi).BindUnsigned(row.uid.lo).Bind(row.epoch);
  return upsert.Bind(now_unix_s).Bind(row.max_ttl_ns).Run();
}

// The row of a pool, made with epoch 0 if there is none.
absl::StatusOr<int64_t> PoolKey(Database* db, const std::string& pool_id) {
  absl::StatusOr<std::optional<EpochRow>> row = ReadEpoch(db, pool_id);
  if (!row.ok()) return row.status();
  if (row->has_value()) return (*row)->pool_key;
  EpochRow fresh;
  fresh.uid = ledger::RandomUuid();
  if (absl::Status status = WriteEpoch(db, pool_id, fresh, 0); !status.ok()) return status;
  row = ReadEpoch(db, pool_id);
  if (!row.ok()) return row.status();
  return (*row)->pool_key;
}

absl::StatusOr<std::optional<RunMarker>> ReadRun(Database* db) {
  Statement select(db, "SELECT boot_hi, boot_lo, clean, local_sessions, unix_s FROM run");
  const absl::StatusOr<bool> has_row = select.Step();
  if (!has_row.ok()) return has_row.status();
  if (!*has_row) return std::optional<RunMarker>();
  RunMarker marker;
  marker.boot_id = {select.Unsigned(0), select.Unsigned(1)};
  marker.clean = select.Int(2) != 0;
  marker.local_sessions_at_stop = static_cast<uint32_t>(select.Int(3));
  marker.unix_s = select.Int(4);
  return std::optional<RunMarker>(marker);
}

absl::Status WriteRun(Database* db, const RunMarker& marker) {
  Statement upsert(db,
                   "INSERT OR REPLACE INTO run (id, boot_hi, boot_lo, clean, local_sessions,"
                   " unix_s) VALUES (1, ?, ?, ?, ?, ?)");
  upsert.BindUnsigned(marker.boot_id.hi).BindUnsigned(marker.boot_id.lo);
  return upsert.Bind(int64_t{marker.clean})
      .Bind(int64_t{marker.local_sessions_at_stop})
      .Bind(marker.unix_s)
      .Run();
}

}  // namespace

StateStore::StateStore(std::string path, const StoreOptions& options)
    : path_(std::move(path)), options_(options) {}

StateStore::~StateStore() = default;

absl::StatusOr<std::unique_ptr<StateStore>> StateStore::Open(const std::string& state_dir,
                                                             const StoreOptions& options) {
  const std::string path = absl::StrCat(state_dir, "/leaseplane.db");
  std::error_code error;
  const bool is_new = !std::filesystem::exists(path, error);
  if (is_new && !options.initialize && HasLedgers(state_dir)) {
    return absl::FailedPreconditionError(
        absl::StrCat("store ", path, " is gone although ", LedgerDir(state_dir),
                     " holds ledgers. Bring it back,",
                     " or accept the loss with --initialize, best with --token-floor at the "
                     "highest token seen"));
  }
  std::unique_ptr<StateStore> store(new StateStore(path, options));
  store->is_new_ = is_new;
  obs::MutexLock lock(&store->mutex_);
  absl::Status status = store->Initialize();
  if (absl::IsDataLoss(status)) {
    return absl::DataLossError(absl::StrCat(status.message(), ". Move the file away, then start ",
                                            "with --initialize and --token-floor"));
  }
  if (!status.ok()) return status;
  return store;
}

absl::Status StateStore::Initialize() {
  absl::StatusOr<std::unique_ptr<Database>> db = Database::Open(path_, options_.vfs);
  if (!db.ok()) return db.status();
  db_ = *std::move(db);
  if (absl::Status status = PrepareDatabase(db_.get()); !status.ok()) return status;
  Statement insert(db_.get(), "INSERT OR IGNORE INTO meta (key, value) VALUES ('instance_id', ?)");
  absl::Status status = insert.Bind(ledger::FormatUuid(ledger::RandomUuid())).Run();
  if (!status.ok()) return status;
  Statement select(db_.get(), "SELECT value FROM meta WHERE key = 'instance_id'");
  const absl::StatusOr<bool> has_row = select.Step();
  if (!has_row.ok()) return has_row.status();
  instance_id_ = select.Text(0);
  return absl::OkStatus();
}

absl::StatusOr<std::map<std::string, PoolEpoch>> StateStore::BumpEpochs(
    absl::Span<const std::string> pool_ids, int64_t now_unix_s) {
  if (now_unix_s < options_.build_unix_s && !options_.initialize) {
    return absl::FailedPreconditionError(
        absl::StrCat("the clock says ", now_unix_s,
                     " s since 1970, before this program was built (", options_.build_unix_s,
                     "): tokens could go back. Set the clock, or accept with ", "--initialize"));
  }
  obs::MutexLock lock(&mutex_);
  Transaction transaction(db_.get());
  if (!transaction.begun().ok()) return transaction.begun();
  std::map<std::string, PoolEpoch> epochs;
  for (const std::string& pool_id : pool_ids) {
    const absl::StatusOr<std::optional<EpochRow>> stored = ReadEpoch(db_.get(), pool_id);
    if (!stored.ok()) return stored.status();
    EpochRow row = stored->value_or(EpochRow{});
    const bool is_unknown = row.epoch == 0;
    const bool is_first = is_unknown || row.uid.empty();
    if (row.uid.empty()) row.uid = ledger::RandomUuid();
    row.epoch = std::max(
        {row.epoch + 1, HoursSinceOrigin(now_unix_s), EpochAboveToken(options_.token_floor)});
    if (row.epoch > int64_t{kEpochMax}) {
      return absl::FailedPreconditionError(absl::StrCat("pool ", pool_id, " would need epoch ",
                                                        row.epoch, "; the highest is ", kEpochMax));
    }
    if (absl::Status s = WriteEpoch(db_.get(), pool_id, row, now_unix_s); !s.ok()) return s;
    const int64_t first_second = is_unknown ? now_unix_s + 1 : now_unix_s;
    PoolEpoch& epoch = epochs[pool_id];
    epoch.epoch = static_cast<Epoch>(row.epoch);
    epoch.is_first = is_first;
    epoch.pool_uid = row.uid;
    epoch.base_generation = BaseGeneration(first_second);
    epoch.max_ttl_ns = row.max_ttl_ns;
    epoch.usable_from_unix_s = is_unknown ? first_second : 0;
  }
  if (absl::Status status = transaction.Commit(); !status.ok()) return status;
  return epochs;
}

absl::StatusOr<PoolEpoch> StateStore::GetEpoch(const std::string& pool_id) {
  obs::MutexLock lock(&mutex_);
  const absl::StatusOr<std::optional<EpochRow>> row = ReadEpoch(db_.get(), pool_id);
  if (!row.ok()) return row.status();
  if (!row->has_value() || (*row)->epoch == 0 || (*row)->uid.empty()) {
    return absl::NotFoundError(absl::StrCat("pool ", pool_id, " has no epoch yet"));
  }
  return PoolEpoch{static_cast<Epoch>((*row)->epoch), false, (*row)->uid, 0, (*row)->max_ttl_ns, 0};
}

absl::Status StateStore::PutPool(const engine::PoolOptions& options, int64_t now_unix_s) {
  obs::MutexLock lock(&mutex_);
  Statement upsert(db_.get(),
                   "INSERT INTO pool_definitions (pool_id, options_json, created_unix_s)"
                   " VALUES (?1, ?2, ?3) ON CONFLICT (pool_id) DO UPDATE SET options_json = ?2");
  return upsert.Bind(options.id).Bind(PoolToJson(options)).Bind(now_unix_s).Run();
}

absl::StatusOr<std::vector<engine::PoolOptions>> StateStore::LoadPools() {
  obs::MutexLock lock(&mutex_);
  std::vector<engine::PoolOptions> pools;
  Statement select(db_.get(), "SELECT options_json FROM pool_definitions ORDER BY pool_id");
  while (true) {
    const absl::StatusOr<bool> has_row = select.Step();
    if (!has_row.ok()) return has_row.status();
    if (!*has_row) return pools;
    absl::StatusOr<engine::PoolOptions> pool = PoolFromJson(select.Text(0));
    if (!pool.ok()) return pool.status();
    pools.push_back(*std::move(pool));
  }
}

absl::Status StateStore::ErasePool(const std::string& pool_id) {
  obs::MutexLock lock(&mutex_);
  Transaction transaction(db_.get());
  if (!transaction.begun().ok()) return transaction.begun();
  for (const char* sql : {"DELETE FROM pool_definitions WHERE pool_id = ?", kEraseDrain}) {
    Statement erase(db_.get(), sql);
    if (absl::Status status = erase.Bind(pool_id).Run(); !status.ok()) return status;
  }
  const absl::StatusOr<int64_t> pool_key = PoolKey(db_.get(), pool_id);
  if (!pool_key.ok()) return pool_key.status();
  if (absl::Status status = DeleteRows(db_.get(), *pool_key); !status.ok()) return status;
  // No uid: the next epoch of this name belongs to another pool.
  Statement rename(db_.get(), "UPDATE pool_epochs SET uid_hi = 0, uid_lo = 0 WHERE pool_key = ?");
  absl::Status status = rename.Bind(*pool_key).Run();
  if (!status.ok()) return status;
  return transaction.Commit();
}

absl::Status StateStore::PutDrain(const std::string& pool_id,
                                  const std::optional<std::string>& reason) {
  obs::MutexLock lock(&mutex_);
  if (!reason) {
    Statement erase(db_.get(), kEraseDrain);
    return erase.Bind(pool_id).Run();
  }
  Statement upsert(db_.get(),
                   "INSERT OR REPLACE INTO drained_pools (pool_id, reason) VALUES (?, ?)");
  return upsert.Bind(pool_id).Bind(*reason).Run();
}

absl::StatusOr<std::optional<std::string>> StateStore::LoadDrain(const std::string& pool_id) {
  obs::MutexLock lock(&mutex_);
  Statement select(db_.get(), "SELECT reason FROM drained_pools WHERE pool_id = ?");
  const absl::StatusOr<bool> has_row = select.Bind(pool_id).Step();
  if (!has_row.ok()) return has_row.status();
  return *has_row ? std::optional<std::string>(select.Text(0)) : std::nullopt;
}

absl::StatusOr<engine::LedgerContents> StateStore::LoadPool(const std::string& pool_id) {
  obs::MutexLock lock(&mutex_);
  const absl::StatusOr<std::optional<EpochRow>> row = ReadEpoch(db_.get(), pool_id);
  if (!row.ok()) return row.status();
  if (!row->has_value()) return engine::LedgerContents{};
  return ReadRows(db_.get(), (*row)->pool_key);
}

absl::Status StateStore::Commit(absl::Span<const PoolBatch> batches) {
  obs::MutexLock lock(&mutex_);
  Transaction transaction(db_.get());
  if (!transaction.begun().ok()) return transaction.begun();
  for (const PoolBatch& batch : batches) {
    const absl::StatusOr<int64_t> pool_key = PoolKey(db_.get(), batch.pool_id);
    if (!pool_key.ok()) return pool_key.status();
    absl::Status status = WriteRows(db_.get(), *pool_key, batch.changes);
    if (!status.ok()) return status;
  }
  return transaction.Commit();
}

absl::Status StateStore::Probe(int64_t now_unix_s) {
  obs::MutexLock lock(&mutex_);
  Statement upsert(db_.get(), "INSERT OR REPLACE INTO meta (key, value) VALUES ('probe', ?)");
  return upsert.Bind(absl::StrCat(now_unix_s)).Run();
}

absl::StatusOr<std::optional<RunMarker>> StateStore::BeginRun(const Uuid& boot_id,
                                                              int64_t now_unix_s) {
  obs::MutexLock lock(&mutex_);
  absl::StatusOr<std::optional<RunMarker>> previous = ReadRun(db_.get());
  if (!previous.ok()) return previous;
  absl::Status status = WriteRun(db_.get(), {boot_id, false, 0, now_unix_s});
  if (!status.ok()) return status;
  return previous;
}

absl::Status StateStore::EndRun(const Uuid& boot_id, uint32_t local_sessions, int64_t now_unix_s) {
  obs::MutexLock lock(&mutex_);
  return WriteRun(db_.get(), {boot_id, true, local_sessions, now_unix_s});
}

}  // namespace leaseplane::store
