// SPDX-License-Identifier: Apache-2.0
#include "server/store/pool_rows.h"

#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/ledger/metadata_codec.h"

namespace leaseplane::store {
namespace {

using engine::LeaseRecord;
using engine::Tombstone;

absl::Status WriteLeases(Database* db, int64_t pool_key, const std::vector<LeaseRecord>& leases) {
  if (leases.empty()) return absl::OkStatus();
  Statement insert(db,
                   "INSERT OR REPLACE INTO leases (pool_key, slot, token, id_hi, id_lo, principal,"
                   " client_id, request_hi, request_lo, body_hash, metadata, ttl_ns,"
                   " deadline_at_ns, max_end_at_ns, acquired_unix_ns)"
                   " VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)");
  for (const LeaseRecord& lease : leases) {
    insert.Bind(pool_key).Bind(lease.slot).Bind(lease.token);
    insert.BindUnsigned(lease.id.hi).BindUnsigned(lease.id.lo);
    insert.Bind(lease.principal).Bind(lease.client_id);
    insert.BindUnsigned(lease.request_id.hi).BindUnsigned(lease.request_id.lo);
    insert.BindUnsigned(lease.body_hash).BindBlob(ledger::EncodeMetadata(lease.metadata));
    insert.Bind(lease.ttl_ns).Bind(lease.deadline_at_ns).Bind(lease.max_end_at_ns);
    insert.Bind(lease.acquired_unix_ns);
    if (absl::Status status = insert.Run(); !status.ok()) return status;
  }
  // The longest ttl never falls: a forgotten lease may still have it.
  int64_t max_ttl_ns = 0;
  for (const LeaseRecord& lease : leases) max_ttl_ns = std::max(max_ttl_ns, lease.ttl_ns);
  Statement raise(db,
                  "UPDATE pool_epochs SET max_ttl_ns = ?1 WHERE pool_key = ?2"
                  " AND max_ttl_ns < ?1");
  return raise.Bind(max_ttl_ns).Bind(pool_key).Run();
}

absl::Status WriteTombstones(Database* db, int64_t pool_key, const ledger::Changes& changes) {
  if (changes.tombstones.empty()) return absl::OkStatus();
  Statement insert(db,
                   "INSERT OR REPLACE INTO tombstones (pool_key, number, slot, token, id_hi, id_lo,"
                   " principal, client_id, request_hi, request_lo, body_hash, ended_as,"
                   " ended_unix_ns, ended_at_ns) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)");
  for (const auto& [number, tombstone] : changes.tombstones) {
    insert.Bind(pool_key).BindUnsigned(number).Bind(tombstone.slot).Bind(tombstone.token);
    insert.BindUnsigned(tombstone.id.hi).BindUnsigned(tombstone.id.lo);
    insert.Bind(tombstone.principal).Bind(tombstone.client_id);
    insert.BindUnsigned(tombstone.request_id.hi).BindUnsigned(tombstone.request_id.lo);
    insert.BindUnsigned(tombstone.body_hash).Bind(static_cast<int64_t>(tombstone.ended_as));
    insert.Bind(tombstone.ended_unix_ns).Bind(tombstone.ended_at_ns);
    if (absl::Status status = insert.Run(); !status.ok()) return status;
  }
  Statement forget(db, "DELETE FROM tombstones WHERE pool_key = ? AND number < ?");
  return forget.Bind(pool_key).BindUnsigned(changes.first_tombstone_kept).Run();
}

absl::Status DeleteSlots(Database* db, const char* sql, int64_t pool_key,
                         const std::vector<SlotIndex>& slots) {
  if (slots.empty()) return absl::OkStatus();
  Statement erase(db, sql);
  for (const SlotIndex slot : slots) {
    if (absl::Status status = erase.Bind(pool_key).Bind(slot).Run(); !status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status WriteLocks(Database* db, int64_t pool_key,
                        const std::vector<engine::LockRecord>& locks) {
  if (locks.empty()) return absl::OkStatus();
  Statement insert(db, "INSERT OR REPLACE INTO locks (pool_key, slot, reason) VALUES (?,?,?)");
  for (const engine::LockRecord& lock : locks) {
    absl::Status status = insert.Bind(pool_key).Bind(lock.slot).Bind(lock.reason).Run();
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status BadRow(const char* table) {
  return absl::DataLossError(absl::StrCat("the store has a row in ", table, " that is damaged"));
}

bool IsKeySound(int64_t slot, FencingToken token) {
  return slot >= 0 && slot < int64_t{kCapacityMax} && IsTokenInRange(token);
}

absl::Status ReadLeases(Database* db, int64_t pool_key, std::vector<LeaseRecord>* leases) {
  Statement select(db,
                   "SELECT slot, token, id_hi, id_lo, principal, client_id, request_hi, request_lo,"
                   " body_hash, metadata, ttl_ns, deadline_at_ns, max_end_at_ns, acquired_unix_ns"
                   " FROM leases WHERE pool_key = ? ORDER BY slot");
  select.Bind(pool_key);
  while (true) {
    const absl::StatusOr<bool> has_row = select.Step();
    if (!has_row.ok()) return has_row.status();
    if (!*has_row) return absl::OkStatus();
    LeaseRecord lease;
    lease.slot = static_cast<SlotIndex>(select.Int(0));
    lease.token = select.Int(1);
    lease.id = {select.Unsigned(2), select.Unsigned(3)};
    lease.principal = select.Text(4);
    lease.client_id = select.Text(5);
    lease.request_id = {select.Unsigned(6), select.Unsigned(7)};
    lease.body_hash = select.Unsigned(8);
    std::optional<engine::Metadata> metadata = ledger::DecodeMetadata(select.Blob(9));
    if (!metadata || !IsKeySound(select.Int(0), lease.token) ||
        lease.principal.size() > engine::kPrincipalBytesMax ||
        lease.client_id.size() > engine::kClientIdBytesMax) {
      return BadRow("leases");
    }
    lease.metadata = *std::move(metadata);
    lease.ttl_ns = select.Int(10);
    lease.deadline_at_ns = select.Int(11);
    lease.max_end_at_ns = select.Int(12);
    lease.acquired_unix_ns = select.Int(13);
    leases->push_back(std::move(lease));
  }
}

absl::Status ReadTombstones(Database* db, int64_t pool_key, std::vector<Tombstone>* tombstones) {
  Statement select(db,
                   "SELECT slot, token, id_hi, id_lo, principal, client_id, request_hi, request_lo,"
                   " body_hash, ended_as, ended_unix_ns, ended_at_ns"
                   " FROM tombstones WHERE pool_key = ? ORDER BY number");
  select.Bind(pool_key);
  while (true) {
    const absl::StatusOr<bool> has_row = select.Step();
    if (!has_row.ok()) return has_row.status();
    if (!*has_row) return absl::OkStatus();
    Tombstone tombstone;
    tombstone.slot = static_cast<SlotIndex>(select.Int(0));
    tombstone.token = select.Int(1);
    tombstone.id = {select.Unsigned(2), select.Unsigned(3)};
    tombstone.principal = select.Text(4);
    tombstone.client_id = select.Text(5);
    tombstone.request_id = {select.Unsigned(6), select.Unsigned(7)};
    tombstone.body_hash = select.Unsigned(8);
    const int64_t ended_as = select.Int(9);
    if (!IsKeySound(select.Int(0), tombstone.token) || ended_as < 0 ||
        ended_as > static_cast<int64_t>(engine::LeaseState::kRevoked) ||
        tombstone.principal.size() > engine::kPrincipalBytesMax ||
        tombstone.client_id.size() > engine::kClientIdBytesMax) {
      return BadRow("tombstones");
    }
    tombstone.ended_as = static_cast<engine::LeaseState>(ended_as);
    tombstone.ended_unix_ns = select.Int(10);
    tombstone.ended_at_ns = select.Int(11);
    tombstones->push_back(std::move(tombstone));
  }
}

absl::Status ReadLocks(Database* db, int64_t pool_key, std::vector<engine::LockRecord>* locks) {
  Statement select(db, "SELECT slot, reason FROM locks WHERE pool_key = ? ORDER BY slot");
  select.Bind(pool_key);
  while (true) {
    const absl::StatusOr<bool> has_row = select.Step();
    if (!has_row.ok()) return has_row.status();
    if (!*has_row) return absl::OkStatus();
    std::string reason = select.Text(1);
    if (select.Int(0) < 0 || select.Int(0) >= int64_t{kCapacityMax} ||
        reason.size() > engine::kReasonTextBytesMax) {
      return BadRow("locks");
    }
    locks->push_back({static_cast<SlotIndex>(select.Int(0)), std::move(reason)});
  }
}

}  // namespace

absl::Status DeleteRows(Database* db, int64_t pool_key) {
  for (const char* sql :
       {"DELETE FROM leases WHERE pool_key = ?", "DELETE FROM tombstones WHERE pool_key = ?",
        "DELETE FROM locks WHERE pool_key = ?"}) {
    Statement erase(db, sql);
    if (absl::Status status = erase.Bind(pool_key).Run(); !status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status WriteRows(Database* db, int64_t pool_key, const ledger::Changes& changes) {
  absl::Status status;
  if (changes.replaces_all) status = DeleteRows(db, pool_key);
  if (status.ok()) {
    status = DeleteSlots(db, "DELETE FROM leases WHERE pool_key = ? AND slot = ?", pool_key,
                         changes.ended_slots);
  }
  if (status.ok()) status = WriteLeases(db, pool_key, changes.live_leases);
  if (status.ok()) status = WriteTombstones(db, pool_key, changes);
  if (status.ok()) {
    status = DeleteSlots(db, "DELETE FROM locks WHERE pool_key = ? AND slot = ?", pool_key,
                         changes.unlocked_slots);
  }
  if (status.ok()) status = WriteLocks(db, pool_key, changes.locks);
  return status;
}

absl::StatusOr<engine::LedgerContents> ReadRows(Database* db, int64_t pool_key) {
  engine::LedgerContents contents;
  absl::Status status = ReadLeases(db, pool_key, &contents.leases);
  if (status.ok()) status = ReadTombstones(db, pool_key, &contents.tombstones);
  if (status.ok()) status = ReadLocks(db, pool_key, &contents.locks);
  if (!status.ok()) return status;
  return contents;
}

}  // namespace leaseplane::store
