// SPDX-License-Identifier: Apache-2.0
//
// OrderedStores: the only way bytes get into a ledger file. Stores happen in the order in which
// they are called, which is what the crash rule of MappedLedger stands on.
//
// Why program order is enough: a killed process stops between two instructions. Everything it had
// stored into a shared mapping is in the page cache, which outlives it, and the next process sees
// all of it. So no processor fence is needed, only a compiler that does not move stores; and a
// word is published with a release store, because it must be written in one piece.
// Threads: one at a time (the pool's lock).
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace leaseplane::ledger {

// Told before each store, so that a test can look at what a kill at this place would leave.
class StoreObserver {
 public:
  virtual ~StoreObserver() = default;
  // `bytes` bytes of `value` are about to be stored at `to`. An atomic store happens whole; of any
  // other, any part may have happened when the process dies.
  virtual void BeforeStore(const void* to, const void* value, size_t bytes, bool is_atomic) = 0;
};

class OrderedStores {
 public:
  void set_observer(StoreObserver* observer) { observer_ = observer; }

  // Bytes that nobody believes yet.
  void Copy(void* to, const void* value, size_t bytes) {
    if (observer_ != nullptr) observer_->BeforeStore(to, value, bytes, false);
    std::memcpy(to, value, bytes);
    std::atomic_signal_fence(std::memory_order_seq_cst);
  }

  // The word that makes bytes believed, or not.
  void Publish(uint64_t* word, uint64_t value) {
    if (observer_ != nullptr) observer_->BeforeStore(word, &value, sizeof value, true);
    std::atomic_ref<uint64_t>(*word).store(value, std::memory_order_release);
    std::atomic_signal_fence(std::memory_order_seq_cst);
  }

 private:
  StoreObserver* observer_ = nullptr;
};

}  // namespace leaseplane::ledger
