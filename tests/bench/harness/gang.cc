// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/harness/gang.h"

#include <linux/futex.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <new>

namespace leaseplane::bench {
namespace {

using Clock = std::chrono::steady_clock;
constexpr int kWorkersMax = 512;

void Wait(std::atomic<uint32_t>& word, uint32_t value) {
  ::syscall(SYS_futex, &word, FUTEX_WAIT, value, nullptr, nullptr, 0);
}
void WakeAll(std::atomic<uint32_t>& word) {
  ::syscall(SYS_futex, &word, FUTEX_WAKE, 0x7fffffff, nullptr, nullptr, 0);
}

}  // namespace

struct Gang::Shared {
  std::atomic<uint32_t> turn{0};  // odd: a window runs
  alignas(64) std::atomic<uint32_t> ready{0};
  alignas(64) std::atomic<uint32_t> quit{0};
  struct alignas(64) Count {
    std::atomic<uint64_t> ops{0};
  } counts[kWorkersMax];
};

Gang::Gang(As as, int workers, MakeBatch make)
    : as_(as), workers_(workers), make_(std::move(make)) {
  void* memory =
      ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED || workers > kWorkersMax) std::abort();
  shared_ = new (memory) Shared;
  for (int w = 0; w < workers; ++w) {
    if (as_ == As::kThreads) {
      threads_.emplace_back([this, w] { Work(w); });
      continue;
    }
    const pid_t child = ::fork();
    if (child < 0) std::abort();
    if (child == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      Work(w);
      ::_exit(0);
    }
    children_.push_back(child);
  }
  while (shared_->ready.load() != static_cast<uint32_t>(workers_)) {
    for (const pid_t child : children_) {
      if (::waitpid(child, nullptr, WNOHANG) == child) {
        std::fprintf(stderr, "a worker process ended before it was ready\n");
        std::abort();
      }
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

Gang::~Gang() {
  shared_->quit = 1;
  shared_->turn.fetch_add(1);
  WakeAll(shared_->turn);
  for (std::thread& thread : threads_) thread.join();
  for (const pid_t child : children_) ::waitpid(child, nullptr, 0);
  ::munmap(shared_, sizeof(Shared));
}

void Gang::Work(int worker) {
  const Batch batch = make_(worker);
  batch();  // warm
  std::atomic<uint64_t>& count = shared_->counts[worker].ops;
  shared_->ready.fetch_add(1);
  // Every worker answers for every window, also for one that was over before it got a core.
  for (uint32_t window = 1;; window += 2) {
    for (uint32_t turn = shared_->turn.load(); turn < window; turn = shared_->turn.load()) {
      Wait(shared_->turn, turn);
    }
    if (shared_->quit.load() != 0) return;
    uint64_t done = 0;
    while (shared_->turn.load(std::memory_order_relaxed) == window) {
      batch();
      done += kBatchOps;
    }
    count.store(done);
    shared_->ready.fetch_add(1);
  }
}

Gang::Window Gang::Run(double seconds) {
  shared_->ready = 0;
  const Clock::time_point begin = Clock::now();
  shared_->turn.fetch_add(1);
  WakeAll(shared_->turn);
  std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
  shared_->turn.fetch_add(1);
  Window window;
  window.seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  while (shared_->ready.load() != static_cast<uint32_t>(workers_)) {
    std::this_thread::sleep_for(std::chrono::microseconds(50));
  }
  window.ops_least = ~uint64_t{0};
  for (int w = 0; w < workers_; ++w) {
    const uint64_t ops = shared_->counts[w].ops.load();
    window.ops += ops;
    window.ops_least = std::min(window.ops_least, ops);
    window.ops_most = std::max(window.ops_most, ops);
  }
  return window;
}

}  // namespace leaseplane::bench
