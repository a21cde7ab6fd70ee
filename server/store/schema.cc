// SPDX-License-Identifier: Apache-2.0
#include "server/store/schema.h"

#include <iterator>

#include "absl/strings/str_cat.h"

namespace leaseplane::store {
namespace {

// Integers are signed 64 bits; hashes and halves of ids are stored with the same bits. A pool has a
// short key, so that its name is not repeated in every row. `tombstones.number` is that of the
// ledger and starts again when the ledger does; then all rows of the pool are replaced.
constexpr char kVersion1[] = R"sql(
CREATE TABLE meta (
  key   TEXT PRIMARY KEY,
  value TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE run (
  id             INTEGER PRIMARY KEY CHECK (id = 1),
  boot_hi        INTEGER NOT NULL,
  boot_lo        INTEGER NOT NULL,
  clean          INTEGER NOT NULL,
  local_sessions INTEGER NOT NULL,
  unix_s         INTEGER NOT NULL
);

CREATE TABLE pool_epochs (
  pool_key   INTEGER PRIMARY KEY,
  pool_id    TEXT NOT NULL UNIQUE,
  uid_hi     INTEGER NOT NULL,
  uid_lo     INTEGER NOT NULL,
  epoch      INTEGER NOT NULL,
  bumped_unix_s INTEGER NOT NULL,
  max_ttl_ns INTEGER NOT NULL
);

CREATE TABLE pool_definitions (
  pool_id        TEXT PRIMARY KEY,
  options_json   TEXT NOT NULL,
  created_unix_s INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE leases (
  pool_key         INTEGER NOT NULL,
  slot             INTEGER NOT NULL,
  token            INTEGER NOT NULL,
  id_hi            INTEGER NOT NULL,
  id_lo            INTEGER NOT NULL,
  principal        TEXT NOT NULL,
  client_id        TEXT NOT NULL,
  request_hi       INTEGER NOT NULL,
  request_lo       INTEGER NOT NULL,
  body_hash        INTEGER NOT NULL,
  metadata         BLOB NOT NULL,
  ttl_ns           INTEGER NOT NULL,
  deadline_at_ns   INTEGER NOT NULL,
  max_end_at_ns    INTEGER NOT NULL,
  acquired_unix_ns INTEGER NOT NULL,
  PRIMARY KEY (pool_key, slot)
) WITHOUT ROWID;

CREATE TABLE tombstones (
  pool_key      INTEGER NOT NULL,
  number        INTEGER NOT NULL,
  slot          INTEGER NOT NULL,
  token         INTEGER NOT NULL,
  id_hi         INTEGER NOT NULL,
  id_lo         INTEGER NOT NULL,
  principal     TEXT NOT NULL,
  client_id     TEXT NOT NULL,
  request_hi    INTEGER NOT NULL,
  request_lo    INTEGER NOT NULL,
  body_hash     INTEGER NOT NULL,
  ended_as      INTEGER NOT NULL,
  ended_unix_ns INTEGER NOT NULL,
  ended_at_ns   INTEGER NOT NULL,
  PRIMARY KEY (pool_key, number)
) WITHOUT ROWID;

CREATE TABLE locks (
  pool_key INTEGER NOT NULL,
  slot     INTEGER NOT NULL,
  reason   TEXT NOT NULL,
  PRIMARY KEY (pool_key, slot)
) WITHOUT ROWID;
)sql";

// Pools that an operator drains, by name: not part of what a pool's ledger replaces.
constexpr char kVersion2[] = R"sql(
CREATE TABLE drained_pools (
  pool_id TEXT PRIMARY KEY,
  reason  TEXT NOT NULL
) WITHOUT ROWID;
)sql";

// Step i leads from version i to version i + 1. Steps are never changed, only added.
constexpr const char* kMigrations[] = {kVersion1, kVersion2};

// EXCLUSIVE keeps the index of the WAL in private memory: no third file, and nothing mapped that a
// full disk could pull away from under us. It must be set before the journal mode.
constexpr char kConnection[] =
    "PRAGMA locking_mode = EXCLUSIVE;"
    "PRAGMA journal_mode = WAL;"
    "PRAGMA synchronous = FULL;"
    "PRAGMA journal_size_limit = 67108864;"
    "PRAGMA temp_store = MEMORY;"
    "PRAGMA trusted_schema = OFF;";

}  // namespace

int SchemaVersion() { return static_cast<int>(std::size(kMigrations)); }

absl::Status PrepareDatabase(Database* db) {
  if (absl::Status status = db->Execute(kConnection); !status.ok()) return status;
  Transaction transaction(db);
  if (!transaction.begun().ok()) return transaction.begun();
  const absl::StatusOr<int64_t> version = db->QueryInt("PRAGMA user_version");
  if (!version.ok()) return version.status();
  if (*version > SchemaVersion()) {
    return absl::FailedPreconditionError(absl::StrCat("the store has version ", *version,
                                                      ", made by a newer leaseplaned; this one",
                                                      " knows up to ", SchemaVersion()));
  }
  for (int64_t step = *version; step < SchemaVersion(); ++step) {
    if (absl::Status status = db->Execute(kMigrations[step]); !status.ok()) return status;
  }
  const std::string set_version = absl::StrCat("PRAGMA user_version = ", SchemaVersion());
  if (absl::Status status = db->Execute(set_version.c_str()); !status.ok()) return status;
  return transaction.Commit();
}

}  // namespace leaseplane::store
