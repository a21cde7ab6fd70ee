// SPDX-License-Identifier: Apache-2.0
#include "tests/model/explorer/sim_memory.h"

namespace leaseplane::explorer {

MemoryObserver* SimMemory::observer = nullptr;
StoreBuffer SimMemory::buffers[Scheduler::kFibersMax];
int64_t SimMemory::now_ns = 0;
bool SimMemory::tracing = false;
bool SimMemory::quiet = true;
int SimMemory::spin_rounds = 0;
const FinderMemory<SimMemory>* SimMemory::quiet_hints = nullptr;

void SimMemory::StoreRelease(U64& word, uint64_t v) {
  if (quiet) {
    word = v;
    return;
  }
  TheScheduler().Point();
  StoreBuffer& own = buffers[TheScheduler().current()];
  if (own.count < StoreBuffer::kMax && (own.count != 0 || observer->KeepBack())) {
    Trace("store, kept back", &word, word, v);
    own.entries[own.count++] = {&word, v};
    return;
  }
  own.Drain();
  Trace("store", &word, word, v);
  Write(word, v);
}

bool SimMemory::FutexWait(U32& word, uint32_t expected, int64_t timeout_ns, uint32_t kind) {
  Before();
  if (timeout_ns <= 0) return false;
  if (word != expected) {
    Trace("wait: differs", &word, word, expected);
    return true;
  }
  Trace("sleep", &word, expected, 0);
  TheScheduler().BlockOn(kind == kStarvedSleeper ? StarvedAt(word) : &word);
  Trace("awake", &word, word, 0);
  return true;  // the caller rescans whatever this says
}

}  // namespace leaseplane::explorer
