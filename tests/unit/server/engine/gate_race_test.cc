// SPDX-License-Identifier: Apache-2.0
//
// The one race between the engine and a client's release that single steps cannot show: a slot
// that becomes free while the engine queues a waiter is either seen by the engine's second look, or
// its release saw the gate and moved dseq.
#include <thread>

#include "tests/unit/server/engine/engine_fixture.h"

namespace leaseplane::engine {
namespace {

class GateRaceTest : public EngineTest, public ::testing::WithParamInterface<Fairness> {};

TEST_P(GateRaceTest, AReleaseBesideANewWaiterIsNeverMissed) {
  options_.capacity = 1;
  options_.fairness = GetParam();
  Start();
  constexpr int kRounds = 20'000;
  std::atomic<int> round{0}, released{0};
  std::atomic<Generation> held_gen{0};
  std::thread client([&] {
    for (int i = 1; i <= kRounds; ++i) {
      while (round.load() < i) std::this_thread::yield();
      for (int spin = 0; spin < i % 97; ++spin) round.load();  // not always at the same instant
      LocalClient::Release(pool_->words(), kAlice, {0, held_gen.load()});
      released.store(i);
    }
  });
  struct Joiner {  // also when an assertion ends the test early
    std::thread& thread;
    std::atomic<int>& round;
    ~Joiner() {
      round.store(kRounds);
      thread.join();
    }
  } joiner{client, round};
  int missed = 0;
  for (int i = 1; i <= kRounds; ++i) {
    held_gen.store(MustLocalAcquire(kAlice).gen);
    const uint32_t dseq = authority_->LoadDseq();
    round.store(i);
    const AcquireAnswer answer = Acquire(Request(kHour));
    while (released.load() < i) std::this_thread::yield();
    Grant grant;
    if (const auto* granted = std::get_if<Granted>(&answer)) {
      grant = granted->grant;
    } else {
      if (authority_->LoadDseq() == dseq) ++missed;  // nobody would ever look again
      engine_->OnReleased(now_, actions_);
      ASSERT_EQ(actions_.waiter_granted.size(), 1u) << "round " << i;
      grant = actions_.waiter_granted[0].grant;
    }
    actions_.Clear();
    ASSERT_EQ(Release(grant), Reason::kNone);
  }
  EXPECT_EQ(missed, 0);
}

INSTANTIATE_TEST_SUITE_P(EitherOrder, GateRaceTest,
                         ::testing::Values(Fairness::kFifo, Fairness::kBounded));

}  // namespace
}  // namespace leaseplane::engine
