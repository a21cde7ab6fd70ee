// SPDX-License-Identifier: Apache-2.0
#include "core/shm/mapping.h"

#include <errno.h>
#include <sys/mman.h>

#include "absl/status/status.h"

namespace leaseplane::shm {

Mapping& Mapping::operator=(Mapping&& other) noexcept {
  if (this != &other) {
    if (base_ != nullptr) ::munmap(base_, bytes_);
    base_ = std::exchange(other.base_, nullptr);
    bytes_ = std::exchange(other.bytes_, 0);
  }
  return *this;
}

Mapping::~Mapping() {
  if (base_ != nullptr) ::munmap(base_, bytes_);
}

absl::StatusOr<Mapping> Mapping::Map(int fd, uint64_t bytes, Access access, InFork in_fork) {
  const int protection = access == Access::kReadOnly ? PROT_READ : PROT_READ | PROT_WRITE;
  void* base = ::mmap(nullptr, bytes, protection, MAP_SHARED | MAP_POPULATE, fd, 0);
  if (base == MAP_FAILED) return absl::ErrnoToStatus(errno, "cannot map a segment");
  Mapping mapping(static_cast<std::byte*>(base), bytes);
  if (in_fork == InFork::kHidden && ::madvise(base, bytes, MADV_DONTFORK) != 0) {
    return absl::ErrnoToStatus(errno, "cannot hide a segment from forked children");
  }
  return mapping;
}

}  // namespace leaseplane::shm
