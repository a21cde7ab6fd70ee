// SPDX-License-Identifier: Apache-2.0
//
// FaultGuard: keeps the process alive when memory that it shares with others goes away under it.
// The kernel raises SIGBUS for a page of a mapped file that has no storage behind it any more. Our
// segments are allocated whole and sealed, so that should not happen; if it does (memory that
// cannot be charged, a broken memory module) one pool is damaged, and not the daemon.
//
// A fault inside a guarded range puts a zero page in the place of the lost one and is counted; the
// instruction runs again and finds zeroes, which is a slot word that is never granted. From then on
// this process and the others no longer see the same memory: whoever uses the range has to ask
// has_faulted() and to stop believing it. A fault anywhere else does what it did before Install.
//
// Ownership: guards a range it does not own; destroy it before the range is unmapped.
// Threads: any; guards may come and go while other threads fault. Cost: nothing without a fault.
// Not promised: a range beyond the kRangesMax-th is not guarded (is_active() tells).
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

namespace leaseplane::shm {

class FaultGuard {
 public:
  static constexpr int kRangesMax = 16'384;

  // Sets the process's handler of SIGBUS. Again: nothing. False: the kernel refused.
  static bool Install();

  FaultGuard() noexcept = default;
  // `base` and `bytes` are whole pages.
  FaultGuard(void* base, uint64_t bytes) noexcept;
  FaultGuard(FaultGuard&& other) noexcept : range_(std::exchange(other.range_, -1)) {}
  FaultGuard& operator=(FaultGuard&& other) noexcept {
    if (this != &other) {
      Drop();
      range_ = std::exchange(other.range_, -1);
    }
    return *this;
  }
  FaultGuard(const FaultGuard&) = delete;
  FaultGuard& operator=(const FaultGuard&) = delete;
  ~FaultGuard() { Drop(); }

  bool is_active() const noexcept { return range_ >= 0; }
  bool has_faulted() const noexcept { return fault_count() != 0; }
  uint32_t fault_count() const noexcept;  // pages that were replaced

 private:
  void Drop() noexcept;

  int range_ = -1;  // index in the table of ranges
};

}  // namespace leaseplane::shm
