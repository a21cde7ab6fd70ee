// SPDX-License-Identifier: Apache-2.0
//
// LedgerFile: a ledger file mapped into memory, with its parts found and its header checked. Knows
// the layout, not the meaning. Private to this folder.
// Threads: one at a time. Errors: absl::Status naming the file, as MappedLedger says.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/ledger/ledger_layout.h"
#include "server/ledger/mapped_ledger.h"
#include "server/ledger/ordered_stores.h"

namespace leaseplane::ledger {

inline constexpr uint32_t kNoLockRecord = UINT32_MAX;

// Where tombstone `number` stands (I4).
constexpr uint32_t TombstonePlace(uint64_t number, uint32_t tombstone_count) {
  return static_cast<uint32_t>(number % (uint64_t{tombstone_count} + 1));
}

class LedgerFile {
 public:
  // A new file, allocated in full and empty, under a name that Open does not look for.
  static absl::StatusOr<std::unique_ptr<LedgerFile>> CreateNew(const std::string& dir,
                                                               const LedgerIdentity& identity);
  // Gives a file made by CreateNew its name, in the place of the one that has it.
  absl::Status MoveIntoPlace();
  // Opens the file whatever its capacity is; the rest of `identity` has to agree.
  static absl::StatusOr<std::unique_ptr<LedgerFile>> Open(const std::string& dir,
                                                          const LedgerIdentity& identity);
  static std::string PathOf(const std::string& dir, const std::string& pool_id);

  ~LedgerFile();
  LedgerFile(const LedgerFile&) = delete;
  LedgerFile& operator=(const LedgerFile&) = delete;

  const std::string& path() const { return path_; }
  uint32_t max_capacity() const { return max_capacity_; }
  uint32_t tombstone_count() const { return tombstone_count_; }
  OrderedStores& stores() { return stores_; }

  LedgerHeader* header() const { return Part<LedgerHeader>(0); }
  // Valid indices: slots; 0..tombstone_count; 0..max_capacity.
  uint64_t* lease_word(uint32_t i) const { return Part<uint64_t>(geometry_.lease_words) + i; }
  LeaseBody* lease_body(uint32_t i) const { return Part<LeaseBody>(geometry_.lease_bodies) + i; }
  uint64_t* tombstone_word(uint32_t i) const {
    return Part<uint64_t>(geometry_.tombstone_words) + i;
  }
  TombstoneBody* tombstone_body(uint32_t i) const {
    return Part<TombstoneBody>(geometry_.tombstone_bodies) + i;
  }
  uint64_t* lock_word(uint32_t i) const { return Part<uint64_t>(geometry_.lock_words) + i; }
  LockBody* lock_body(uint32_t i) const { return Part<LockBody>(geometry_.lock_bodies) + i; }

  absl::Status Damaged(const std::string& what) const;

 private:
  LedgerFile(std::string path, uint32_t max_capacity);

  template <class T>
  T* Part(uint64_t offset) const {
    return static_cast<T*>(static_cast<void*>(static_cast<char*>(base_) + offset));
  }
  absl::Status Map(int fd);
  void WriteHeader(const LedgerIdentity& identity);

  const std::string path_;  // the name it has in the end
  const uint32_t max_capacity_;
  const uint32_t tombstone_count_;
  const LedgerGeometry geometry_;
  void* base_ = nullptr;
  OrderedStores stores_;
};

}  // namespace leaseplane::ledger
