// SPDX-License-Identifier: Apache-2.0
#include "server/plane/release_listener.h"

#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>

#include "core/shm/futex.h"

namespace leaseplane::plane {
namespace {

constexpr int64_t kPollNs = 1'000'000;       // of pools whose budget is spent
constexpr int64_t kSleepNs = 1'000'000'000;  // a lost wake costs no more than this

futex_waitv WaitOn(const std::atomic<uint32_t>& word, uint32_t expected) {
  futex_waitv wait{};
  wait.val = expected;
  wait.uaddr = static_cast<uint64_t>(reinterpret_cast<uintptr_t>(&word));
  wait.flags = FUTEX_32;
  return wait;
}

// Sleeps until one of the words differs or is woken, at most `timeout_ns`.
void SleepOn(std::vector<futex_waitv>& words, int64_t timeout_ns) {
  timespec until{};
  clock_gettime(CLOCK_MONOTONIC, &until);
  const int64_t end_ns = until.tv_nsec + timeout_ns;
  until.tv_sec += end_ns / 1'000'000'000;
  until.tv_nsec = end_ns % 1'000'000'000;
  const long rc = syscall(SYS_futex_waitv, words.data(), words.size(), 0, &until, CLOCK_MONOTONIC);
  // Before Linux 5.16 there is no such call: look often instead.
  if (rc < 0 && errno == ENOSYS) ::usleep(1'000);
}

}  // namespace

ReleaseListener::Shard::Shard() : thread_([this] { Run(); }) {}

ReleaseListener::Shard::~Shard() {
  stopping_.store(true);
  Poke();
  thread_.join();
}

void ReleaseListener::Shard::Poke() {
  control_.fetch_add(1);
  shm::FutexWake(control_, 1);
}

bool ReleaseListener::Shard::TryAdd(const PoolPtr& pool) {
  {
    obs::MutexLock lock(&mu_);
    if (watched_.size() >= kPoolsPerThread) return false;
    watched_.emplace_back().pool = pool;
  }
  Poke();
  return true;
}

bool ReleaseListener::Shard::Remove(const PoolPtr& pool) {
  {
    obs::MutexLock lock(&mu_);
    if (std::erase_if(watched_, [&](const Watched& w) { return w.pool == pool; }) == 0) {
      return false;
    }
  }
  Poke();
  return true;
}

// The value is loaded before the engine looks at the slots, so a release after that look differs
// from it and ends the sleep.
void ReleaseListener::Shard::Look(Watched& watched) {
  const uint32_t value = watched.pool->memory()->words.dseq->load();
  if (watched.has_looked && value == watched.seen) return;
  const bool is_first = !watched.has_looked;
  watched.has_looked = true;
  watched.seen = value;
  if (!watched.pool->OnReleased() && !is_first) watched.budget.CountUseless(obs::BootNowNs());
}

void ReleaseListener::Shard::Run() {
  while (!stopping_.load()) {
    {
      obs::MutexLock lock(&mu_);
      for (Watched& watched : watched_) Look(watched);
    }
    Sleep();
  }
}

void ReleaseListener::Shard::Sleep() {
  std::vector<futex_waitv> words;
  std::vector<MemoryPtr> keep_mapped;
  int64_t timeout_ns = kSleepNs;
  const uint32_t control = control_.load();
  words.push_back(WaitOn(control_, control));
  {
    obs::MutexLock lock(&mu_);
    const int64_t now_ns = obs::BootNowNs();
    for (Watched& watched : watched_) {
      if (!watched.has_looked) return;
      if (watched.budget.IsSpent(now_ns)) {
        timeout_ns = kPollNs;
        continue;
      }
      keep_mapped.push_back(watched.pool->memory());
      words.push_back(WaitOn(*keep_mapped.back()->words.dseq, watched.seen));
    }
  }
  if (!stopping_.load()) SleepOn(words, timeout_ns);
}

void ReleaseListener::Add(PoolPtr pool) {
  for (auto& shard : shards_) {
    if (shard->TryAdd(pool)) return;
  }
  shards_.push_back(std::make_unique<Shard>());
  shards_.back()->TryAdd(pool);
}

void ReleaseListener::Remove(const PoolPtr& pool) {
  for (auto& shard : shards_) {
    if (shard->Remove(pool)) return;
  }
}

void ReleaseListener::Stop() { shards_.clear(); }

}  // namespace leaseplane::plane
