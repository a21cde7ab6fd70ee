// SPDX-License-Identifier: Apache-2.0
//
// The algorithms over real atomics and real futexes, many threads in several sessions of one
// process. A guard array beside the pool says who is inside; a second holder, a token that does not
// grow or a failed release ends the test. LEASEPLANE_STRESS_ROUNDS multiplies its length.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <thread>
#include <vector>

#include "core/pool/waiter.h"
#include "tests/support/no_queue_port.h"
#include "tests/unit/core/pool/heap_pool.h"

namespace leaseplane {
namespace {

using M = RealMemory;

using testing::NoQueuePort;

int Rounds(int usual) {
  const char* times = std::getenv("LEASEPLANE_STRESS_ROUNDS");
  return usual * (times == nullptr ? 1 : std::atoi(times));
}

class PoolStressTest : public ::testing::Test {
 protected:
  static constexpr uint32_t kSlots = 3;
  static constexpr int kThreads = 8;

  PoolStressTest() : authority_(pool_.words(), kSlots) {
    authority_.Initialize(5, true, 0);
    for (SessionIndex s = 0; s < 3; ++s) {
      clients_.push_back(std::make_unique<HeapClient<M>>(pool_, kOwnerSessionFirst + s));
    }
  }

  void Hold(const LocalGrant& grant) {
    Guard& guard = guards_[grant.slot];
    if (guard.inside.fetch_add(1) != 0) ++errors_;
    if (guard.last_token >= grant.token) ++errors_;  // protected by the slot itself
    guard.last_token = grant.token;
    guard.inside.fetch_sub(1);
  }

  void Work(int thread, int rounds, bool waits) {
    HeapClient<M>& client = *clients_[static_cast<size_t>(thread) % clients_.size()];
    ThreadRecord<M>& record = client.claims.Borrow();
    record.Bind(client.attachment.words, client.attachment.owner);
    ThreadContext<M> context(client.attachment, client.flags, client.claims, record);
    NoQueuePort port;
    for (int i = 0; i < rounds; ++i) {
      LocalGrant grant;
      if (waits) {
        Wait<M, NoQueuePort> wait(context, port, false, int64_t{1} << 55);
        const WaitResult result = wait.Run(port.NowNs(), kNoDeadline, grant);
        if (result != WaitResult::kOk) {
          ++errors_;
          break;
        }
      } else if (TryAcquire(context, grant) != TryResult::kOk) {
        continue;
      }
      Hold(grant);
      if (Release(context, grant.slot, grant.token) != ReleaseResult::kOk) {
        ++errors_;
      }
      ++holds_;
    }
    context.Park();
    Claims<M>::Return(record);
  }

  void Run(int rounds, bool waits) {
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([this, t, rounds, waits] { Work(t, rounds, waits); });
    }
    for (std::thread& t : threads) t.join();
  }

  void JudgeAtRest() {
    EXPECT_EQ(errors_, 0);
    EXPECT_GT(holds_, 0);
    for (SlotIndex i = 0; i < kSlots; ++i) EXPECT_EQ(StateOf(pool_.Word(i)), SlotState::kFree);
    EXPECT_EQ(WaiterCount(M::Load(*pool_.words().wcnt)), 0u);
  }

  struct Guard {
    std::atomic<int> inside{0};
    FencingToken last_token = 0;
  };
  HeapPool<M> pool_{kSlots};
  Authority<M> authority_;
  std::vector<std::unique_ptr<HeapClient<M>>> clients_;
  Guard guards_[kSlots];
  std::atomic<int> errors_{0};
  std::atomic<int64_t> holds_{0};
};

TEST_F(PoolStressTest, TriesNeverMeetInASlot) {
  Run(Rounds(20'000), false);
  JudgeAtRest();
}

TEST_F(PoolStressTest, WaitersAreAllServedAndNeverMeetInASlot) {
  Run(Rounds(2'000), true);
  JudgeAtRest();
}

TEST_F(PoolStressTest, TheDaemonsGrantsAndGatesMixWithTheClients) {
  std::atomic<bool> stop{false};
  std::thread daemon([this, &stop] {
    ScanReport report;
    for (int turn = 0; !stop; ++turn) {
      const auto grant = authority_.Grant(kOwnerDaemon, 0);
      if (grant) {
        Hold({grant->slot, MakeToken(1, grant->gen)});
        authority_.TakeBack(grant->slot, kOwnerDaemon, grant->gen);
      }
      authority_.SetGate(turn % 2 == 0 ? shm::Gate::kNotify : shm::Gate::kOpen);
      auto active = [](SessionIndex) { return true; };
      authority_.Scan(turn, 1, active, report);
      if (report.violations != 0) ++errors_;
    }
  });
  Run(Rounds(1'000), true);
  stop = true;
  daemon.join();
  JudgeAtRest();
}

}  // namespace
}  // namespace leaseplane
