// SPDX-License-Identifier: Apache-2.0
#include "leaseplane/internal/process_mark.h"

#include <stdlib.h>
#include <sys/mman.h>

#include "core/shm/layout.h"

namespace leaseplane::internal {
void* MapWipedPage() {
  void* page =
      ::mmap(nullptr, shm::kPageBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  // Without the page a child could release its parent's leases, so there is nothing to go on with.
  if (page == MAP_FAILED || ::madvise(page, shm::kPageBytes, MADV_WIPEONFORK) != 0) ::abort();
  return page;
}

ProcessMark ProcessMark::Current() {
  static RealMemory::U64* const page = new (MapWipedPage()) RealMemory::U64(0);
  // Not on the page: children inherit it and count on.
  static constinit RealMemory::U64 last_number{0};
  uint64_t number = RealMemory::Load(*page);
  if (number == 0) {
    const uint64_t fresh = RealMemory::FetchAdd(last_number, 1) + 1;
    RealMemory::CompareExchange(*page, 0, fresh);  // losing to another thread is as good
    number = RealMemory::Load(*page);
  }
  return ProcessMark(page, number);
}

}  // namespace leaseplane::internal
