// SPDX-License-Identifier: Apache-2.0
//
// The table of ranges is a fixed array of atomics, because the handler runs in the middle of
// anything: it takes no lock and allocates nothing.
#include "core/shm/fault_guard.h"

#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>

namespace leaseplane::shm {
namespace {

// `end` 0: free; kClaimed: being filled in. `begin` is stored before `end`, with release order; the
// handler reads `end`, `begin` and `end` again, so it never joins parts of two ranges. The range it
// looks for cannot change meanwhile, because the thread that faults is inside of it.
constexpr uintptr_t kClaimed = 1;
struct Range {
  std::atomic<uintptr_t> begin{0}, end{0};
  std::atomic<uint32_t> faults{0};
};
Range g_ranges[FaultGuard::kRangesMax];
std::atomic<int> g_ranges_used{0};  // those from here on have never been used
struct sigaction g_before;
uintptr_t g_page_bytes;

Range* FindRange(uintptr_t address) {
  const int used = g_ranges_used.load(std::memory_order_acquire);
  for (int i = 0; i < used; ++i) {
    Range& range = g_ranges[i];
    const uintptr_t end = range.end.load(std::memory_order_acquire);
    if (address >= end) continue;
    const uintptr_t begin = range.begin.load(std::memory_order_acquire);
    const bool is_whole = range.end.load(std::memory_order_relaxed) == end;
    if (is_whole && address >= begin) return &range;
  }
  return nullptr;
}

// True: the instruction may be tried again.
bool ReplacePage(const siginfo_t& info) {
  if (info.si_code <= 0) return false;  // sent by somebody, not a fault
  const auto address = reinterpret_cast<uintptr_t>(info.si_addr);
  Range* range = FindRange(address);
  if (range == nullptr) return false;
  void* page = reinterpret_cast<void*>(address & ~(g_page_bytes - 1));
  const void* mapped = ::mmap(page, g_page_bytes, PROT_READ | PROT_WRITE,
                              MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) return false;
  range->faults.fetch_add(1, std::memory_order_relaxed);
  return true;
}

void HandleBusError(int, siginfo_t* info, void*) {
  const int error = errno;
  if (!ReplacePage(*info)) {
    // What was there before decides: the instruction faults again, or the signal comes again.
    ::sigaction(SIGBUS, &g_before, nullptr);
    if (info->si_code <= 0) ::raise(SIGBUS);
  }
  errno = error;
}

}  // namespace

bool FaultGuard::Install() {
  static const bool is_installed = [] {
    g_page_bytes = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
    struct sigaction action {};
    action.sa_sigaction = HandleBusError;
    action.sa_flags = SA_SIGINFO;
    sigemptyset(&action.sa_mask);
    return ::sigaction(SIGBUS, &action, &g_before) == 0;
  }();
  return is_installed;
}

FaultGuard::FaultGuard(void* base, uint64_t bytes) noexcept {
  int i = 0;
  for (uintptr_t free = 0; i < kRangesMax; ++i, free = 0) {
    if (g_ranges[i].end.compare_exchange_strong(free, kClaimed, std::memory_order_acquire)) break;
  }
  if (i == kRangesMax) return;
  Range& range = g_ranges[i];
  const auto begin = reinterpret_cast<uintptr_t>(base);
  range.faults.store(0, std::memory_order_relaxed);
  range.begin.store(begin, std::memory_order_relaxed);
  range.end.store(begin + bytes, std::memory_order_release);
  int used = g_ranges_used.load(std::memory_order_relaxed);
  while (used <= i &&
         !g_ranges_used.compare_exchange_weak(used, i + 1, std::memory_order_release)) {
  }
  range_ = i;
}

void FaultGuard::Drop() noexcept {
  if (range_ < 0) return;
  g_ranges[range_].end.store(0, std::memory_order_release);
  range_ = -1;
}

uint32_t FaultGuard::fault_count() const noexcept {
  return range_ < 0 ? 0 : g_ranges[range_].faults.load(std::memory_order_relaxed);
}

}  // namespace leaseplane::shm
