// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/file.h>
#include <sys/ipc.h>
#include <sys/sem.h>
#include <tbb/concurrent_queue.h>
#include <unistd.h>

#include <concurrentqueue/concurrentqueue.h>
#include <boost/lockfree/queue.hpp>
#include <boost/lockfree/stack.hpp>
#include <cstdlib>
#include <mutex>
#include <new>
#include <semaphore>

#include "tests/bench/harness/shared_memory.h"
#include "tests/bench/local/subjects.h"

namespace leaseplane::bench {
namespace {

// P: bool Take(uint32_t&), void Give(uint32_t); called by many workers.
template <class P>
MakeBatch PairsOf(std::shared_ptr<P> peer) {
  return [peer](int) -> Batch {
    return [peer] {
      for (uint64_t i = 0; i < kBatchOps;) {
        uint32_t unit = 0;
        if (!peer->Take(unit)) continue;
        peer->Give(unit);
        ++i;
      }
    };
  };
}

struct BoostStack {
  explicit BoostStack(uint32_t n) : units(n) {
    for (uint32_t i = 0; i < n; ++i) units.push(i);
  }
  bool Take(uint32_t& unit) { return units.pop(unit); }
  void Give(uint32_t unit) { units.push(unit); }
  boost::lockfree::stack<uint32_t, boost::lockfree::fixed_sized<true>> units;
};

struct BoostQueue {
  explicit BoostQueue(uint32_t n) : units(n) {
    for (uint32_t i = 0; i < n; ++i) units.push(i);
  }
  bool Take(uint32_t& unit) { return units.pop(unit); }
  void Give(uint32_t unit) { units.push(unit); }
  boost::lockfree::queue<uint32_t, boost::lockfree::fixed_sized<true>> units;
};

struct TbbQueue {
  explicit TbbQueue(uint32_t n) {
    units.set_capacity(static_cast<int>(n));
    for (uint32_t i = 0; i < n; ++i) units.push(i);
  }
  bool Take(uint32_t& unit) { return units.try_pop(unit); }
  void Give(uint32_t unit) { units.push(unit); }
  tbb::concurrent_bounded_queue<uint32_t> units;
};

struct MutexVector {
  explicit MutexVector(uint32_t n) {
    for (uint32_t i = 0; i < n; ++i) units.push_back(i);
  }
  bool Take(uint32_t& unit) {
    const std::lock_guard<std::mutex> lock(mu);
    if (units.empty()) return false;
    unit = units.back();
    units.pop_back();
    return true;
  }
  void Give(uint32_t unit) {
    const std::lock_guard<std::mutex> lock(mu);
    units.push_back(unit);
  }
  std::mutex mu;
  std::vector<uint32_t> units;
};

struct CountingSemaphore {
  explicit CountingSemaphore(uint32_t n) : permits(static_cast<std::ptrdiff_t>(n)) {}
  bool Take(uint32_t&) { return permits.try_acquire(); }
  void Give(uint32_t) { permits.release(); }
  std::counting_semaphore<(1 << 20)> permits;
};

MakeBatch MoodycamelPairs(uint32_t n) {
  using Queue = moodycamel::ConcurrentQueue<uint32_t>;
  auto queue = std::make_shared<Queue>(n);
  for (uint32_t i = 0; i < n; ++i) queue->enqueue(i);
  return [queue](int) -> Batch {
    struct Tokens {
      explicit Tokens(Queue& q) : give(q), take(q) {}
      moodycamel::ProducerToken give;
      moodycamel::ConsumerToken take;
    };
    auto tokens = std::make_shared<Tokens>(*queue);
    return [queue, tokens] {
      for (uint64_t i = 0; i < kBatchOps;) {
        uint32_t unit = 0;
        if (!queue->try_dequeue(tokens->take, unit)) continue;
        queue->enqueue(tokens->give, unit);
        ++i;
      }
    };
  };
}

struct PosixSemaphore {
  explicit PosixSemaphore(uint32_t n) : permits(InSharedMemory<sem_t>()) {
    if (::sem_init(permits, 1, n) != 0) std::abort();
  }
  bool Take(uint32_t&) { return ::sem_trywait(permits) == 0; }
  void Give(uint32_t) { ::sem_post(permits); }
  sem_t* permits;
};

// A free list under a robust mutex, with the owner of each unit written down.
struct RobustList {
  static constexpr uint32_t kUnitsMax = 65'536;
  struct State {
    pthread_mutex_t mu;
    uint32_t count = 0;
    uint32_t units[kUnitsMax];
    int32_t owners[kUnitsMax];
  };
  explicit RobustList(uint32_t n) : state(InSharedMemory<State>()) {
    pthread_mutexattr_t attributes;
    ::pthread_mutexattr_init(&attributes);
    ::pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    ::pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    ::pthread_mutex_init(&state->mu, &attributes);
    if (n > kUnitsMax) std::abort();
    while (state->count < n) {
      state->units[state->count] = state->count;
      ++state->count;
    }
  }
  bool Take(uint32_t& unit) {
    ::pthread_mutex_lock(&state->mu);
    const bool some = state->count != 0;
    if (some) {
      unit = state->units[--state->count];
      state->owners[unit] = 1;
    }
    ::pthread_mutex_unlock(&state->mu);
    return some;
  }
  void Give(uint32_t unit) {
    ::pthread_mutex_lock(&state->mu);
    state->owners[unit] = 0;
    state->units[state->count++] = unit;
    ::pthread_mutex_unlock(&state->mu);
  }
  State* state;
};

// One locked file a unit; each worker has descriptors of its own.
MakeBatch FlockPairs(uint32_t n) {
  return [n](int worker) -> Batch {
    struct Files {
      std::vector<int> fds;
      uint32_t next = 0;
    };
    auto files = std::make_shared<Files>();
    const uint32_t count = std::min(n, 16u);
    for (uint32_t i = 0; i < count; ++i) {
      const std::string path =
          "/tmp/leaseplane-bench-flock-" + std::to_string(::getpgrp()) + "-" + std::to_string(i);
      files->fds.push_back(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
      ::unlink((path + ".gone").c_str());
    }
    files->next = static_cast<uint32_t>(worker) % count;
    return [files] {
      for (uint64_t i = 0; i < kBatchOps;) {
        const int fd = files->fds[files->next];
        if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
          files->next = (files->next + 1) % static_cast<uint32_t>(files->fds.size());
          continue;
        }
        ::flock(fd, LOCK_UN);
        ++i;
      }
    };
  };
}

struct SysvSemaphore {
  explicit SysvSemaphore(uint32_t n) : id(::semget(IPC_PRIVATE, 1, 0600)) {
    union {
      int val;
      void* pointer;
    } argument{};
    argument.val = static_cast<int>(std::min(n, 32'000u));
    if (id < 0 || ::semctl(id, 0, SETVAL, argument) != 0) std::abort();
  }
  ~SysvSemaphore() { ::semctl(id, 0, IPC_RMID); }
  bool Take(uint32_t&) { return Change(-1); }
  void Give(uint32_t) { Change(1); }
  bool Change(short by) const {
    sembuf operation{0, by, SEM_UNDO | IPC_NOWAIT};
    return ::semop(id, &operation, 1) == 0;
  }
  int id;
};

template <class P>
Peer Make(const char* name, uint32_t n, bool processes, bool names_slot) {
  return {name, processes, names_slot, PairsOf(std::make_shared<P>(n))};
}

}  // namespace

std::vector<Peer> ThreadPeers(uint32_t n) {
  const uint32_t fixed = std::min(n, 65'000u);  // what boost's fixed size can have
  return {Make<BoostStack>("boost lockfree stack", fixed, false, true),
          Make<BoostQueue>("boost lockfree queue", fixed, false, true),
          {"moodycamel queue", false, true, MoodycamelPairs(n)},
          Make<TbbQueue>("tbb bounded queue", n, false, true),
          Make<MutexVector>("mutex + vector", n, false, true),
          Make<CountingSemaphore>("std counting_semaphore", n, false, false)};
}

std::vector<Peer> ProcessPeers(uint32_t n) {
  return {Make<PosixSemaphore>("POSIX sem_t", n, true, false),
          Make<RobustList>("robust mutex + list", std::min(n, 65'536u), true, true),
          {"flock", true, true, FlockPairs(n)},
          Make<SysvSemaphore>("SysV semop undo", n, true, false)};
}

}  // namespace leaseplane::bench
