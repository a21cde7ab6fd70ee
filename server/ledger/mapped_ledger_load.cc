// SPDX-License-Identifier: Apache-2.0
//
// How a file becomes a ledger again: every record is checked, and what a kill left between the
// stores of one write is brought to the state before or after it. Also how records are read.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/ledger/ledger_file.h"
#include "server/ledger/mapped_ledger.h"
#include "server/ledger/record_codec.h"

namespace leaseplane::ledger {

// -- loading

absl::Status MappedLedger::Load() {
  // Tombstones first: they decide which leases have ended (I6).
  if (absl::Status status = LoadTombstones(); !status.ok()) return status;
  if (absl::Status status = LoadLeases(); !status.ok()) return status;
  return LoadLocks();
}

absl::Status MappedLedger::LoadTombstones() {
  const uint32_t count = file_->tombstone_count();
  for (uint32_t i = 0; i <= count; ++i) {
    last_tombstone_ = std::max(last_tombstone_, *file_->tombstone_word(i));
  }
  for (uint64_t n = first_tombstone(); n <= last_tombstone_ && n != 0; ++n) {
    const uint32_t place = TombstonePlace(n, count);
    if (*file_->tombstone_word(place) != n) {
      return file_->Damaged(absl::StrCat("tombstone ", n, " is missing"));
    }
    const auto tombstone = ReadTombstoneBody(n, *file_->tombstone_body(place));
    if (!tombstone || tombstone->slot >= file_->max_capacity()) {
      return file_->Damaged(absl::StrCat("tombstone ", n, " has a wrong checksum or content"));
    }
  }
  return absl::OkStatus();
}

absl::Status MappedLedger::LoadLeases() {
  for (SlotIndex slot = 0; slot < file_->max_capacity(); ++slot) {
    uint64_t* word = file_->lease_word(slot);
    if (*word == 0) continue;
    const auto lease = ReadLeaseBody(*word, *file_->lease_body(slot));
    if (!lease || lease->slot != slot) {
      return file_->Damaged(
          absl::StrCat("the lease of slot ", slot, " has a wrong checksum or content"));
    }
    if (IsEnded(slot, lease->token)) file_->stores().Publish(word, 0);
  }
  return absl::OkStatus();
}

bool MappedLedger::IsEnded(SlotIndex slot, FencingToken token) const {
  if (last_tombstone_ == 0) return false;
  const engine::Tombstone newest = ReadTombstone(last_tombstone_);
  return newest.slot == slot && newest.token == token;
}

absl::Status MappedLedger::LoadLocks() {
  for (uint32_t i = 0; i <= file_->max_capacity(); ++i) {
    const uint64_t version = *file_->lock_word(i);
    if (version == 0) {
      free_lock_records_.push_back(i);
      continue;
    }
    const auto lock = ReadLockBody(version, *file_->lock_body(i));
    if (!lock || lock->slot >= file_->max_capacity()) {
      return file_->Damaged(absl::StrCat("lock record ", i, " has a wrong checksum or content"));
    }
    last_lock_version_ = std::max(last_lock_version_, version);
    uint32_t& current = lock_record_of_[lock->slot];
    uint32_t leftover = kNoLockRecord;  // I5
    if (current == kNoLockRecord) {
      current = i;
    } else if (*file_->lock_word(current) < version) {
      leftover = std::exchange(current, i);
    } else {
      leftover = i;
    }
    if (leftover != kNoLockRecord) {
      file_->stores().Publish(file_->lock_word(leftover), 0);
      free_lock_records_.push_back(leftover);
    }
  }
  return absl::OkStatus();
}

// -- reading

engine::LeaseRecord MappedLedger::ReadLease(SlotIndex slot) const {
  auto lease = ReadLeaseBody(*file_->lease_word(slot), *file_->lease_body(slot));
  RequireLedger(lease.has_value(), "a lease record changed under us");
  return *std::move(lease);
}

engine::Tombstone MappedLedger::ReadTombstone(uint64_t number) const {
  const uint32_t place = TombstonePlace(number, file_->tombstone_count());
  auto tombstone = ReadTombstoneBody(number, *file_->tombstone_body(place));
  RequireLedger(tombstone.has_value(), "a tombstone changed under us");
  return *std::move(tombstone);
}

uint64_t MappedLedger::first_tombstone() const {
  const uint64_t count = file_->tombstone_count();
  return last_tombstone_ > count ? last_tombstone_ - count + 1 : 1;
}

engine::LedgerContents MappedLedger::Contents() const {
  engine::LedgerContents contents;
  for (SlotIndex slot = 0; slot < file_->max_capacity(); ++slot) {
    if (*file_->lease_word(slot) != 0) contents.leases.push_back(ReadLease(slot));
    if (lock_record_of_[slot] != kNoLockRecord) {
      const uint32_t record = lock_record_of_[slot];
      const auto lock = ReadLockBody(*file_->lock_word(record), *file_->lock_body(record));
      RequireLedger(lock.has_value(), "a lock record changed under us");
      contents.locks.push_back(*lock);
    }
  }
  for (uint64_t n = first_tombstone(); n <= last_tombstone_; ++n) {
    contents.tombstones.push_back(ReadTombstone(n));
  }
  return contents;
}

int64_t MappedLedger::hold_off_until_at_ns() const {
  return static_cast<int64_t>(file_->header()->hold_off_until_at_ns);
}
const std::string& MappedLedger::path() const { return file_->path(); }
uint32_t MappedLedger::tombstone_count_max() const { return file_->tombstone_count(); }
void MappedLedger::SetStoreObserver(StoreObserver* observer) {
  file_->stores().set_observer(observer);
}

}  // namespace leaseplane::ledger
