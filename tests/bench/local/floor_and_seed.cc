// SPDX-License-Identifier: Apache-2.0
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <new>
#include <numeric>
#include <random>

#include "tests/bench/local/subjects.h"

namespace leaseplane::bench {
namespace {

struct alignas(128) OwnWord {
  std::atomic<uint64_t> word{0};
};

}  // namespace

MakeBatch FloorTwoCas() {
  return [](int) -> Batch {
    auto own = std::make_shared<OwnWord>();
    return [own] {
      std::atomic<uint64_t>& word = own->word;
      uint64_t value = word.load(std::memory_order_relaxed);
      for (uint64_t i = 0; i < kBatchOps; ++i) {
        if (!word.compare_exchange_strong(value, value + 1)) std::abort();
        ++value;
        if (!word.compare_exchange_strong(value, value + 1)) std::abort();
        ++value;
      }
    };
  };
}

MakeBatch FloorOneCas() {
  return [](int) -> Batch {
    auto own = std::make_shared<OwnWord>();
    return [own] {
      std::atomic<uint64_t>& word = own->word;
      uint64_t value = word.load(std::memory_order_relaxed);
      for (uint64_t i = 0; i < kBatchOps; ++i) {
        if (!word.compare_exchange_strong(value, value + 1)) std::abort();
        ++value;
      }
    };
  };
}

std::vector<uint32_t> Shuffled(uint32_t count) {
  std::vector<uint32_t> order(count);
  std::iota(order.begin(), order.end(), 0u);
  std::shuffle(order.begin(), order.end(), std::mt19937(20'240'101));
  return order;
}

struct SeedPool::Words {
  std::atomic<int32_t> magic, capacity, head, tail, notify;
  std::atomic<int32_t> slots[1];

  static constexpr int32_t kFree = 0, kBusy = 1;

  int32_t Acquire() {
    const int32_t count = capacity.load(std::memory_order_relaxed);
    int32_t index = head.load();
    for (int32_t k = 0; k < count; ++k) {
      if (slots[index].load() == kFree) {
        int32_t expected = kFree;
        if (slots[index].compare_exchange_strong(expected, kBusy)) {
          head.store(index + 1 == count ? 0 : index + 1);
          return index;
        }
      }
      if (++index == count) index = 0;
    }
    return -1;
  }
  void Release(int32_t index) {
    int32_t expected = kBusy;
    if (!slots[index].compare_exchange_strong(expected, kFree)) std::abort();
    tail.store(index);
    notify.fetch_add(1);
  }
};

SeedPool::SeedPool(uint32_t capacity, uint32_t busy)
    : bytes_(sizeof(Words) + capacity * sizeof(std::atomic<int32_t>)) {
  void* memory = ::mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) std::abort();
  words_ = static_cast<Words*>(memory);  // all zero: free
  words_->capacity.store(static_cast<int32_t>(capacity));
  const std::vector<uint32_t> order = Shuffled(capacity);
  for (uint32_t i = 0; i < busy; ++i) words_->slots[order[i]].store(Words::kBusy);
}

SeedPool::~SeedPool() { ::munmap(words_, bytes_); }

MakeBatch SeedPool::Pairs() {
  return [words = words_](int) -> Batch {
    return [words] {
      for (uint64_t i = 0; i < kBatchOps;) {
        const int32_t index = words->Acquire();
        if (index < 0) continue;
        words->Release(index);
        ++i;
      }
    };
  };
}

MakeBatch SeedPool::Failures() {
  return [words = words_](int) -> Batch {
    return [words] {
      // A full scan of a large pool takes long: one stands for the batch.
      const int32_t count = words->capacity.load();
      const uint64_t real = count > 4096 ? 1 : kBatchOps;
      for (uint64_t i = 0; i < real; ++i) {
        if (words->Acquire() >= 0) std::abort();
      }
    };
  };
}

}  // namespace leaseplane::bench
