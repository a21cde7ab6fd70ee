// SPDX-License-Identifier: Apache-2.0
//
// MappedLedger: the engine's ledger of one pool in a mapped file, `<dir>/<pool_id>.ledger`. A write
// is a handful of stores into the mapping, so it survives the death of any process at once; the
// store (server/store) makes it survive the host.
//
// Crash rule: SIGKILL between any two stores leaves a file that loads as before the write or as
// after it, never as anything else. How: see ledger_layout.h and the comments in mapped_ledger.cc.
// Owner and lifetime: the pool; the file stays mapped as long as the object lives.
// Threads: none of its own, no lock of its own; every method is called under the pool's lock.
// Errors: Create and Open return a Status that names the file and what is wrong. Writes cannot
//   fail: the space was allocated at creation. Limits of types.h are REQUIRES; breaking one ends
//   the process, because a record that was cut off would be another holder's.
// Cost: PutLease and EndLease copy and checksum the bytes in use (below 800), RenewLease 24 bytes.
//   Disk per pool: about 1.1 KiB a slot (leases and locks) and 216 bytes a tombstone.
// Not promised: anything after a crash of the host. The file is not synced; its boot id tells.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/engine/ledger_port.h"
#include "server/ledger/changes.h"
#include "server/ledger/uuid.h"

namespace leaseplane::ledger {

class LedgerFile;
class StoreObserver;
struct TombstoneBody;

// What must agree before a file's content is believed.
struct LedgerIdentity {
  std::string pool_id;
  Uuid pool_uid;  // other after a pool was deleted and made again under the same name
  Uuid boot_id;   // of the host's boot that is running now
  uint32_t max_capacity = 0;
};

// clamp(4 x capacity, 1024, 65536)
uint32_t TombstoneCountMax(uint32_t max_capacity);

class MappedLedger final : public engine::LedgerPort {
 public:
  // Makes a new file that holds `contents` and puts it in the place of an old one; a kill in
  // between leaves the old one. `dir` exists. The instants of `contents` are stored as they are;
  // records of slots beyond max_capacity are dropped.
  // RESOURCE_EXHAUSTED: no space on the device. INTERNAL: another I/O error.
  static absl::StatusOr<std::unique_ptr<MappedLedger>> Create(
      const std::string& dir, const LedgerIdentity& identity,
      const engine::LedgerContents& contents, int64_t hold_off_until_at_ns = 0);

  // Opens the file of an earlier process of this boot; one of another capacity is made anew with
  // what it holds. NOT_FOUND: there is none.
  // FAILED_PRECONDITION: of another boot, pool or layout; to be replaced by Create.
  // DATA_LOSS: damaged; says where.
  static absl::StatusOr<std::unique_ptr<MappedLedger>> Open(const std::string& dir,
                                                            const LedgerIdentity& identity);

  // Removes the file of a pool. OK if there is none.
  static absl::Status Remove(const std::string& dir, const std::string& pool_id);

  ~MappedLedger() override;
  MappedLedger(const MappedLedger&) = delete;
  MappedLedger& operator=(const MappedLedger&) = delete;

  // What the file holds now. Cost: a pass over all slots; for start and tests.
  engine::LedgerContents Contents() const;

  // LedgerPort. The numbers returned rise by one with every write, from kInheritedSeq
  // in each process. RenewLease with an unchanged ttl changes nothing that the store keeps (an
  // instant is worthless after a reboot) and returns 0: nothing to wait for.
  uint64_t PutLease(const engine::LeaseRecord& record) override;
  uint64_t RenewLease(SlotIndex slot, const engine::LeaseTerm& term) override;
  uint64_t EndLease(SlotIndex slot, engine::LeaseState ended_as, engine::Instant now) override;
  uint64_t PutLock(SlotIndex slot, const std::string& reason) override;
  uint64_t EraseLock(SlotIndex slot) override;
  uint32_t tombstone_count_max() const override;

  uint64_t last_seq() const { return last_seq_; }
  const std::string& path() const;

  // Hands over what changed since the last call; the first call of a process replaces all, because
  // what an earlier process wrote down and did not hand over is not known. kCoalesced: not the
  // leases that were granted and ended since the last call, nor that they ended. Those stand in
  // this file alone until a call with kAll hands over what is left of them.
  enum class Take { kAll, kCoalesced };
  Changes TakeChanges(Take take = Take::kAll);
  // The same for operator locks alone; the rest stays for a later TakeChanges.
  Changes TakeLockChanges();

  // Whether the last process that used the file said that it stopped in good order.
  bool was_clean() const { return was_clean_; }
  // To be called last. A later write withdraws it.
  void MarkClean();

  // Given at creation: an instant of this boot before which nothing may be granted, because leases
  // may exist that the ledger does not know; 0 = none. Kept here so that a restart does not end it.
  int64_t hold_off_until_at_ns() const;

  // For tests: told before every store. nullptr: nobody.
  void SetStoreObserver(StoreObserver* observer);

 private:
  explicit MappedLedger(std::unique_ptr<LedgerFile> file);

  struct DirtySlots {  // each slot at most once
    std::vector<bool> is_dirty;
    std::vector<SlotIndex> slots;
    void Add(SlotIndex slot);
    std::vector<SlotIndex> Take();
  };

  absl::Status Load();
  absl::Status LoadTombstones();
  absl::Status LoadLeases();
  absl::Status LoadLocks();
  bool IsEnded(SlotIndex slot, FencingToken token) const;
  void WriteLease(const engine::LeaseRecord& record);
  void WriteTombstone(const engine::Tombstone& tombstone);
  void WriteTombstoneBody(const TombstoneBody& body, size_t used);
  void WriteLock(SlotIndex slot, const std::string& reason);
  engine::LeaseRecord ReadLease(SlotIndex slot) const;
  engine::Tombstone ReadTombstone(uint64_t number) const;
  uint64_t first_tombstone() const;
  void TakeLeasesInto(Take take, Changes* changes);
  void TakeTombstonesInto(Take take, uint64_t first, Changes* changes);
  void TakeLocksInto(Changes* changes);
  uint64_t NextSeq();
  void WithdrawClean();

  std::unique_ptr<LedgerFile> file_;
  bool was_clean_ = false;
  bool is_marked_clean_ = false;
  bool has_handed_over_ = false;
  bool has_handed_over_locks_ = false;
  uint64_t last_seq_ = engine::kInheritedSeq;
  uint64_t last_tombstone_ = 0;  // number; 0 = none yet
  uint64_t last_taken_tombstone_ = 0;
  uint64_t last_lock_version_ = 0;
  DirtySlots dirty_leases_;
  std::vector<bool> is_handed_over_;  // by slot: its live lease has been
  std::vector<bool> has_row_;         // by slot: some lease of it has been, and not its end
  std::vector<bool> is_short_;        // by place: a tombstone of a lease that never was
  bool has_passed_over_ = false;      // such a tombstone
  DirtySlots dirty_locks_;
  std::vector<uint32_t> lock_record_of_;  // by slot; kNoLockRecord if not locked
  std::vector<uint32_t> free_lock_records_;
};

}  // namespace leaseplane::ledger
