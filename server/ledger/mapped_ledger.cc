// SPDX-License-Identifier: Apache-2.0
//
// Writes. Each list is the order of stores, and what a kill after the step loads as:
//   PutLease   body (before), word := token (after).
//   RenewLease the term not selected (before), word := token | other term (after).
//   EndLease   body of a tombstone that is no longer in force (before, I4), its word := number
//              (after: I6 hides the lease), the lease's word := 0 (after).
//   PutLock    body of a free record (before), its word := version (after: I5 hides the old one),
//              the word of the old record := 0 (after).
//   EraseLock  word := 0 (after).
#include "server/ledger/mapped_ledger.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/ledger/ledger_file.h"
#include "server/ledger/record_codec.h"

namespace leaseplane::ledger {

uint32_t TombstoneCountMax(uint32_t max_capacity) {
  return static_cast<uint32_t>(std::clamp<uint64_t>(uint64_t{4} * max_capacity, 1024, 65536));
}

void MappedLedger::DirtySlots::Add(SlotIndex slot) {
  if (is_dirty[slot]) return;
  is_dirty[slot] = true;
  slots.push_back(slot);
}

std::vector<SlotIndex> MappedLedger::DirtySlots::Take() {
  for (const SlotIndex slot : slots) is_dirty[slot] = false;
  return std::exchange(slots, {});
}

MappedLedger::MappedLedger(std::unique_ptr<LedgerFile> file) : file_(std::move(file)) {
  const uint32_t slots = file_->max_capacity();
  dirty_leases_.is_dirty.resize(slots);
  dirty_locks_.is_dirty.resize(slots);
  is_handed_over_.resize(slots);
  has_row_.resize(slots);
  is_short_.resize(size_t{file_->tombstone_count()} + 1);
  lock_record_of_.assign(slots, kNoLockRecord);
}

MappedLedger::~MappedLedger() = default;

absl::StatusOr<std::unique_ptr<MappedLedger>> MappedLedger::Create(
    const std::string& dir, const LedgerIdentity& identity, const engine::LedgerContents& contents,
    int64_t hold_off_until_at_ns) {
  auto file = LedgerFile::CreateNew(dir, identity);
  if (!file.ok()) return file.status();
  std::unique_ptr<MappedLedger> ledger(new MappedLedger(*std::move(file)));
  if (absl::Status status = ledger->Load(); !status.ok()) return status;
  const uint32_t slots = identity.max_capacity;
  for (const engine::Tombstone& tombstone : contents.tombstones) {
    if (tombstone.slot < slots) ledger->WriteTombstone(tombstone);
  }
  for (const engine::LeaseRecord& lease : contents.leases) {
    if (lease.slot < slots) ledger->WriteLease(lease);
  }
  for (const engine::LockRecord& lock : contents.locks) {
    if (lock.slot < slots) ledger->WriteLock(lock.slot, lock.reason);
  }
  ledger->file_->stores().Publish(&ledger->file_->header()->hold_off_until_at_ns,
                                  static_cast<uint64_t>(hold_off_until_at_ns));
  if (absl::Status status = ledger->file_->MoveIntoPlace(); !status.ok()) return status;
  return ledger;
}

absl::StatusOr<std::unique_ptr<MappedLedger>> MappedLedger::Open(const std::string& dir,
                                                                 const LedgerIdentity& identity) {
  auto file = LedgerFile::Open(dir, identity);
  if (!file.ok()) return file.status();
  std::unique_ptr<MappedLedger> ledger(new MappedLedger(*std::move(file)));
  if (absl::Status status = ledger->Load(); !status.ok()) return status;
  if (ledger->file_->max_capacity() != identity.max_capacity) {
    return Create(dir, identity, ledger->Contents(), ledger->hold_off_until_at_ns());
  }
  ledger->was_clean_ = ledger->file_->header()->clean == 1;
  if (ledger->was_clean_) ledger->file_->stores().Publish(&ledger->file_->header()->clean, 0);
  return ledger;
}

absl::Status MappedLedger::Remove(const std::string& dir, const std::string& pool_id) {
  const std::string path = LedgerFile::PathOf(dir, pool_id);
  if (::unlink(path.c_str()) == 0 || errno == ENOENT) return absl::OkStatus();
  return absl::InternalError(
      absl::StrCat("ledger ", path, ": cannot remove: ", std::strerror(errno)));
}

// -- writing

void MappedLedger::WriteLease(const engine::LeaseRecord& record) {
  RequireLedger(record.slot < file_->max_capacity(), "slot out of range");
  RequireLedger(*file_->lease_word(record.slot) == 0, "PutLease over a live lease");
  LeaseBody body{};
  const size_t used = FillLease(record, &body);
  file_->stores().Copy(file_->lease_body(record.slot), &body, used);
  file_->stores().Publish(file_->lease_word(record.slot), static_cast<uint64_t>(record.token));
}

void MappedLedger::WriteTombstone(const engine::Tombstone& tombstone) {
  RequireLedger(tombstone.slot < file_->max_capacity(), "slot out of range");
  TombstoneBody body{};
  const size_t used = FillTombstone(last_tombstone_ + 1, tombstone, &body);
  WriteTombstoneBody(body, used);
}

// The next one.
void MappedLedger::WriteTombstoneBody(const TombstoneBody& body, size_t used) {
  const uint64_t number = last_tombstone_ + 1;
  const uint32_t place = TombstonePlace(number, file_->tombstone_count());
  file_->stores().Copy(file_->tombstone_body(place), &body, used);
  file_->stores().Publish(file_->tombstone_word(place), number);
  last_tombstone_ = number;
}

void MappedLedger::WriteLock(SlotIndex slot, const std::string& reason) {
  RequireLedger(slot < file_->max_capacity(), "slot out of range");
  // One record more than slots, so one is always free.
  const uint32_t record = free_lock_records_.back();
  free_lock_records_.pop_back();
  LockBody body{};
  const size_t used = FillLock(++last_lock_version_, slot, reason, &body);
  file_->stores().Copy(file_->lock_body(record), &body, used);
  file_->stores().Publish(file_->lock_word(record), last_lock_version_);
  const uint32_t old_record = std::exchange(lock_record_of_[slot], record);
  if (old_record != kNoLockRecord) {
    file_->stores().Publish(file_->lock_word(old_record), 0);
    free_lock_records_.push_back(old_record);
  }
}

void MappedLedger::WithdrawClean() {
  if (!is_marked_clean_) return;
  file_->stores().Publish(&file_->header()->clean, 0);
  is_marked_clean_ = false;
}

uint64_t MappedLedger::NextSeq() {
  WithdrawClean();
  return ++last_seq_;
}

uint64_t MappedLedger::PutLease(const engine::LeaseRecord& record) {
  const uint64_t seq = NextSeq();
  WriteLease(record);
  is_handed_over_[record.slot] = false;
  dirty_leases_.Add(record.slot);
  return seq;
}

uint64_t MappedLedger::RenewLease(SlotIndex slot, const engine::LeaseTerm& to) {
  RequireLedger(slot < file_->max_capacity() && *file_->lease_word(slot) != 0,
                "RenewLease without a live lease");
  uint64_t* word = file_->lease_word(slot);
  LeaseBody* body = file_->lease_body(slot);
  const bool is_same_ttl = body->terms[TermOfWord(*word)].ttl_ns == to.ttl_ns;
  WithdrawClean();
  const uint64_t seq = is_same_ttl ? 0 : NextSeq();
  const LeaseTerm term = MakeTerm(TokenOfWord(*word), to);
  file_->stores().Copy(&body->terms[1 - TermOfWord(*word)], &term, sizeof term);
  file_->stores().Publish(word, *word ^ kTermBit);
  if (!is_same_ttl) dirty_leases_.Add(slot);
  return seq;
}

uint64_t MappedLedger::EndLease(SlotIndex slot, engine::LeaseState ended_as, engine::Instant now) {
  RequireLedger(slot < file_->max_capacity() && *file_->lease_word(slot) != 0,
                "EndLease without a live lease");
  const uint64_t seq = NextSeq();
  const FencingToken token = TokenOfWord(*file_->lease_word(slot));
  TombstoneBody body{};
  const size_t used =
      FillTombstone(last_tombstone_ + 1, token, *file_->lease_body(slot), ended_as, now, &body);
  WriteTombstoneBody(body, used);
  is_short_[TombstonePlace(last_tombstone_, file_->tombstone_count())] = !is_handed_over_[slot];
  file_->stores().Publish(file_->lease_word(slot), 0);
  dirty_leases_.Add(slot);
  return seq;
}

uint64_t MappedLedger::PutLock(SlotIndex slot, const std::string& reason) {
  const uint64_t seq = NextSeq();
  WriteLock(slot, reason);
  dirty_locks_.Add(slot);
  return seq;
}

uint64_t MappedLedger::EraseLock(SlotIndex slot) {
  RequireLedger(slot < file_->max_capacity(), "slot out of range");
  const uint64_t seq = NextSeq();
  const uint32_t record = std::exchange(lock_record_of_[slot], kNoLockRecord);
  if (record != kNoLockRecord) {
    file_->stores().Publish(file_->lock_word(record), 0);
    free_lock_records_.push_back(record);
  }
  dirty_locks_.Add(slot);
  return seq;
}

void MappedLedger::MarkClean() {
  file_->stores().Publish(&file_->header()->clean, 1);
  is_marked_clean_ = true;
}

// -- handing over

void MappedLedger::TakeLocksInto(Changes* changes) {
  for (const SlotIndex slot : dirty_locks_.Take()) {
    const uint32_t record = lock_record_of_[slot];
    if (record == kNoLockRecord) {
      changes->unlocked_slots.push_back(slot);
      continue;
    }
    auto lock = ReadLockBody(*file_->lock_word(record), *file_->lock_body(record));
    RequireLedger(lock.has_value(), "a lock record changed under us");
    changes->locks.push_back(*std::move(lock));
  }
}

void MappedLedger::TakeLeasesInto(Take take, Changes* changes) {
  for (const SlotIndex slot : dirty_leases_.Take()) {
    const bool had_row = has_row_[slot];
    const bool is_live = *file_->lease_word(slot) != 0;
    has_row_[slot] = is_handed_over_[slot] = is_live;
    if (is_live) {
      changes->live_leases.push_back(ReadLease(slot));
    } else if (had_row || take == Take::kAll) {
      changes->ended_slots.push_back(slot);
    }
  }
}

void MappedLedger::TakeTombstonesInto(Take take, uint64_t first, Changes* changes) {
  if (take == Take::kAll && std::exchange(has_passed_over_, false)) first = first_tombstone();
  for (uint64_t n = first; n <= last_tombstone_; ++n) {
    const uint32_t place = TombstonePlace(n, file_->tombstone_count());
    if (take == Take::kCoalesced && is_short_[place]) {
      has_passed_over_ = true;
    } else if (n > last_taken_tombstone_ || is_short_[place] || changes->replaces_all) {
      changes->tombstones.push_back({n, ReadTombstone(n)});
      is_short_[place] = false;
    }
  }
}

Changes MappedLedger::TakeChanges(Take take) {
  Changes changes;
  changes.through_seq = last_seq_;
  changes.first_tombstone_kept = first_tombstone();
  uint64_t next_tombstone = std::max(last_taken_tombstone_ + 1, first_tombstone());
  if (!has_handed_over_) {
    engine::LedgerContents contents = Contents();
    dirty_leases_.Take();
    dirty_locks_.Take();
    changes.replaces_all = true;
    for (const engine::LeaseRecord& lease : contents.leases) {
      has_row_[lease.slot] = is_handed_over_[lease.slot] = true;
    }
    changes.live_leases = std::move(contents.leases);
    changes.locks = std::move(contents.locks);
    next_tombstone = first_tombstone();
    has_handed_over_ = has_handed_over_locks_ = true;
    take = Take::kAll;
  } else {
    TakeLeasesInto(take, &changes);
    TakeLocksInto(&changes);
  }
  TakeTombstonesInto(take, next_tombstone, &changes);
  last_taken_tombstone_ = last_tombstone_;
  return changes;
}

Changes MappedLedger::TakeLockChanges() {
  Changes changes;
  changes.through_seq = last_seq_;
  if (!has_handed_over_locks_) {
    dirty_locks_.Take();
    changes.replaces_all = true;
    changes.locks = Contents().locks;
    has_handed_over_locks_ = true;
  } else {
    TakeLocksInto(&changes);
  }
  return changes;
}

}  // namespace leaseplane::ledger
