// SPDX-License-Identifier: Apache-2.0
#include <random>
#include <thread>
#include <vector>

#include "core/pool/waiter.h"
#include "tests/stress/churn/churn_world.h"
#include "tests/support/no_queue_port.h"

namespace leaseplane::churn {
namespace {

using testing::NoQueuePort;

constexpr int64_t kWaitNs = 20'000'000;  // a worker looks that often whether it is to stop

struct Process {
  Process(const PoolWords<M>& words, SessionIndex me)
      : attachment(words, me, shm::MakeSessionWord(shm::SessionState::kActive, me),
                   ProcessFlags<M>::kAttachStep),
        claims(words.max_capacity) {
    flags.BumpAttachGen();
  }
  Attachment<M> attachment;
  ProcessFlags<M> flags;
  Claims<M> claims;
};

class Thread {
 public:
  Thread(const Config& config, Process& process, Guard& guard, uint64_t seed)
      : config_(config),
        process_(process),
        guard_(guard),
        record_(process.claims.Borrow()),
        random_(seed) {
    record_.Bind(process.attachment.words, process.attachment.owner);
    context_ = ThreadContext<M>(process.attachment, process.flags, process.claims, record_);
  }
  ~Thread() {
    context_.Park();
    Claims<M>::Return(record_);
  }
  Thread(const Thread&) = delete;
  Thread& operator=(const Thread&) = delete;

  void Run() {
    while (!guard_.stop) {
      const size_t wanted = 1 + random_() % config_.holds;
      while (held_.size() < wanted && Take()) {
      }
      for (uint64_t spin = random_() % (config_.spins + 1); spin > 0; --spin) {
        asm volatile("pause");
      }
      while (!held_.empty()) GiveBack(random_() % held_.size());
    }
  }

 private:
  bool Take() {
    LocalGrant grant;
    if (!(config_.waits && held_.empty() ? Await(grant) : Try(grant))) return false;
    guard_.Enter(grant.slot, process_.attachment.owner, grant.token);
    held_.push_back(grant);
    return true;
  }
  bool Try(LocalGrant& grant) {
    if (random_() % 4 != 0) {
      return TryAcquire(context_, grant) == TryResult::kOk;
    }
    return TryAcquireExhaustive(context_, /*gate_void=*/false, grant) == TryResult::kOk;
  }
  bool Await(LocalGrant& grant) {
    NoQueuePort port;
    Wait<M, NoQueuePort> wait(context_, port, /*fifo=*/false, /*max_overtake_ns=*/int64_t{1} << 55);
    const int64_t now_ns = port.NowNs();
    const WaitResult result = wait.Run(now_ns, now_ns + kWaitNs, grant);
    if (result != WaitResult::kOk && result != WaitResult::kTimeout) ++guard_.failed_waits;
    return result == WaitResult::kOk;
  }
  void GiveBack(size_t which) {
    const LocalGrant grant = held_[which];
    held_.erase(held_.begin() + static_cast<std::ptrdiff_t>(which));
    guard_.Leave(grant.slot, process_.attachment.owner);
    if (Release(context_, grant.slot, grant.token) != ReleaseResult::kOk) {
      ++guard_.failed_releases;
    }
  }

  const Config& config_;
  Process& process_;
  Guard& guard_;
  ThreadRecord<M>& record_;
  ThreadContext<M> context_;
  std::mt19937_64 random_;
  std::vector<LocalGrant> held_;
};

}  // namespace

int Work(const Config& config, const PoolWords<M>& words, Guard& guard, SessionIndex me) {
  Process process(words, me);
  std::vector<std::thread> threads;
  for (uint32_t t = 0; t < config.threads; ++t) {
    threads.emplace_back(
        [&, t] { Thread(config, process, guard, config.seed * 1000 + me * 10 + t).Run(); });
  }
  for (std::thread& thread : threads) thread.join();
  return 0;
}

}  // namespace leaseplane::churn
