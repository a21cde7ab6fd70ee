// SPDX-License-Identifier: Apache-2.0
#include "clients/cpp/local/fork_close.h"

#include <pthread.h>
#include <unistd.h>

#include <cstdint>

#include "core/pool/memory.h"

namespace leaseplane::internal {
namespace {

constexpr int kEntries = 256;
constinit RealMemory::U32 entries[kEntries];  // descriptor + 1, 0 = unused

void CloseAll() {
  for (RealMemory::U32& entry : entries) {
    const uint32_t value = RealMemory::Load(entry);
    if (value == 0) continue;
    RealMemory::Store(entry, 0);
    ::close(static_cast<int>(value) - 1);
  }
}

}  // namespace

void CloseInForkedChildren(int fd) {
  static const int registered = ::pthread_atfork(nullptr, nullptr, &CloseAll);
  if (registered != 0) return;
  for (RealMemory::U32& entry : entries) {
    if (RealMemory::CompareExchange(entry, 0, static_cast<uint32_t>(fd) + 1)) return;
  }
}

void KeepInForkedChildren(int fd) {
  for (RealMemory::U32& entry : entries) {
    if (RealMemory::CompareExchange(entry, static_cast<uint32_t>(fd) + 1, 0)) return;
  }
}

}  // namespace leaseplane::internal
