// SPDX-License-Identifier: Apache-2.0
//
// Mapping: owner of one shared memory mapping of a whole segment. Move-only; unmaps on
// destruction, so whoever owns it decides when no thread can be inside any more.
// Threads: as a pointer. Errors: absl::Status when mapping, none after.
// Cost: populates all pages when mapping, so no page fault on a hot path allocates.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "absl/status/statusor.h"

namespace leaseplane::shm {

// The object of type T at `offset` of mapped memory. REQUIRES T's alignment, as the layout gives
// it.
template <class T>
T* At(std::byte* base, uint64_t offset) {
  return static_cast<T*>(static_cast<void*>(base + offset));
}
template <class T>
const T* At(const std::byte* base, uint64_t offset) {
  return static_cast<const T*>(static_cast<const void*>(base + offset));
}

enum class Access { kReadOnly, kReadWrite };

// What a fork()ed child has in place of the mapping: clients hide it (a child is not attached),
// the daemon's keeper hands it down on purpose.
enum class InFork { kHidden, kInherited };

class Mapping {
 public:
  Mapping() noexcept = default;
  Mapping(Mapping&& other) noexcept
      : base_(std::exchange(other.base_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  Mapping& operator=(Mapping&& other) noexcept;
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping();

  // Maps the first `bytes` bytes of `fd`. The descriptor may be closed afterwards.
  static absl::StatusOr<Mapping> Map(int fd, uint64_t bytes, Access access, InFork in_fork);

  // Takes over a mapping that was made elsewhere.
  static Mapping Own(void* base, uint64_t bytes) noexcept {
    return Mapping(static_cast<std::byte*>(base), bytes);
  }

  std::byte* base() const noexcept { return base_; }
  uint64_t bytes() const noexcept { return bytes_; }
  explicit operator bool() const noexcept { return base_ != nullptr; }
  // Keeps the memory mapped until the process ends.
  std::byte* Leak() noexcept {
    bytes_ = 0;
    return std::exchange(base_, nullptr);
  }

 private:
  Mapping(std::byte* base, uint64_t bytes) noexcept : base_(base), bytes_(bytes) {}

  std::byte* base_ = nullptr;
  uint64_t bytes_ = 0;
};

}  // namespace leaseplane::shm
