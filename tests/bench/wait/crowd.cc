// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/wait/crowd.h"

#include <linux/futex.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <thread>

namespace leaseplane::bench {
namespace {

using Clock = std::chrono::steady_clock;
int64_t NowNs() { return Clock::now().time_since_epoch().count(); }

// Eight buckets for each power of two.
constexpr int kBuckets = 64 * 8;
int BucketOf(uint64_t ns) {
  if (ns < 8) return static_cast<int>(ns);
  const int power = std::bit_width(ns) - 1;
  return power * 8 + static_cast<int>((ns >> (power - 3)) & 7);
}
// The upper end.
double NsOfBucket(int bucket) {
  if (bucket < 8) return bucket;
  const int power = bucket / 8;
  return static_cast<double>((uint64_t{1} << power) +
                             (static_cast<uint64_t>(bucket % 8 + 1) << (power - 3)));
}

}  // namespace

struct Crowd::Shared {
  std::atomic<uint32_t> turn{0};  // odd: a window runs
  alignas(64) std::atomic<uint32_t> ready{0};
  alignas(64) std::atomic<uint32_t> quit{0};
  struct alignas(64) Worker {
    uint64_t ops;
    int64_t longest_ns;
    uint32_t waits[kBuckets];
  } of[kWorkersMax];
};

Crowd::Crowd(int workers, int64_t hold_ns, JoinProcess join)
    : workers_(workers), hold_ns_(hold_ns), join_(std::move(join)) {
  void* memory =
      ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED || workers > kWorkersMax || workers % kProcesses != 0) std::abort();
  shared_ = new (memory) Shared;
  for (int p = 0; p < kProcesses; ++p) {
    const pid_t child = ::fork();
    if (child < 0) std::abort();
    if (child == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      WorkInProcess(p);
      ::_exit(0);
    }
    children_.push_back(child);
  }
  AwaitReady();
}

Crowd::~Crowd() {
  shared_->quit = 1;
  shared_->turn.fetch_add(1);
  ::syscall(SYS_futex, &shared_->turn, FUTEX_WAKE, workers_, nullptr, nullptr, 0);
  for (const pid_t child : children_) ::waitpid(child, nullptr, 0);
  ::munmap(shared_, sizeof(Shared));
}

void Crowd::AwaitReady() {
  while (shared_->ready.load() != static_cast<uint32_t>(workers_)) {
    for (const pid_t child : children_) {
      if (::waitpid(child, nullptr, WNOHANG) == child) {
        std::fprintf(stderr, "a process of the crowd ended too early\n");
        std::abort();
      }
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

void Crowd::WorkInProcess(int process) {
  const MakeTaker make = join_();
  std::vector<std::thread> threads;
  for (int w = process; w < workers_; w += kProcesses) {
    threads.emplace_back([this, w, &make] {
      const std::unique_ptr<Taker> taker = make();
      Work(w, *taker);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

void Crowd::Work(int worker, Taker& taker) {
  Shared::Worker& mine = shared_->of[worker];
  shared_->ready.fetch_add(1);
  for (uint32_t window = 1;; window += 2) {
    for (uint32_t turn = shared_->turn.load(); turn < window; turn = shared_->turn.load()) {
      ::syscall(SYS_futex, &shared_->turn, FUTEX_WAIT, turn, nullptr, nullptr, 0);
    }
    if (shared_->quit.load() != 0) return;
    mine = {};
    int64_t begin_ns = NowNs();
    while (shared_->turn.load(std::memory_order_relaxed) == window) {
      taker.Take();
      const int64_t got_ns = NowNs();
      if (hold_ns_ != 0) {
        while (NowNs() - got_ns < hold_ns_) {
        }
      }
      taker.Give();
      const int64_t wait_ns = got_ns - begin_ns;
      mine.longest_ns = std::max(mine.longest_ns, wait_ns);
      ++mine.waits[BucketOf(static_cast<uint64_t>(wait_ns))];
      ++mine.ops;
      begin_ns = NowNs();
    }
    shared_->ready.fetch_add(1);
  }
}

CrowdWindow Crowd::Run(double seconds) {
  shared_->ready = 0;
  const int64_t begin_ns = NowNs();
  shared_->turn.fetch_add(1);
  ::syscall(SYS_futex, &shared_->turn, FUTEX_WAKE, workers_, nullptr, nullptr, 0);
  std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
  shared_->turn.fetch_add(1);
  CrowdWindow window;
  AwaitReady();
  window.seconds = static_cast<double>(NowNs() - begin_ns) / 1e9;
  std::vector<uint64_t> waits(kBuckets, 0);
  double squares = 0;
  for (int w = 0; w < workers_; ++w) {
    const Shared::Worker& one = shared_->of[w];
    window.ops += one.ops;
    squares += static_cast<double>(one.ops) * static_cast<double>(one.ops);
    window.longest_ms = std::max(window.longest_ms, static_cast<double>(one.longest_ns) / 1e6);
    for (int b = 0; b < kBuckets; ++b) waits[static_cast<size_t>(b)] += one.waits[b];
  }
  const auto ops = static_cast<double>(window.ops);
  window.fairness = squares == 0 ? 0 : ops * ops / (workers_ * squares);
  const auto quantile_us = [&](double share) {
    double seen = 0;
    for (int b = 0; b < kBuckets; ++b) {
      seen += static_cast<double>(waits[static_cast<size_t>(b)]);
      if (seen >= share * ops) return NsOfBucket(b) / 1e3;
    }
    return 0.0;
  };
  window.p50_us = quantile_us(0.5);
  window.p99_us = quantile_us(0.99);
  return window;
}

}  // namespace leaseplane::bench
