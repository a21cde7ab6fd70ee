// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <thread>

#include "server/plane/hold_sampler.h"
#include "server/plane/lease_watchers.h"
#include "server/plane/pool_segments.h"
#include "server/plane/session_bridge.h"
#include "server/plane/ticker.h"
#include "server/plane/wake_budget.h"

namespace leaseplane::plane {
namespace {

TEST(WakeBudget, AThousandUselessWakesASecondAreFreeAndMoreAreNot) {
  WakeBudget budget;
  int64_t now = 1'000'000'000;
  for (int i = 0; i < 1'000; ++i) {
    EXPECT_FALSE(budget.IsSpent(now)) << i;
    budget.CountUseless(now);
  }
  EXPECT_TRUE(budget.IsSpent(now));
  EXPECT_FALSE(budget.IsSpent(now + 2'000'000)) << "it comes back with time";
}

TEST(HoldSampler, CountsAHoldWhenItIsOver) {
  std::atomic<uint64_t> slots[2] = {FreeWord(1), FreeWord(1)};
  PoolWords<RealMemory> words;
  words.slots = slots;
  words.max_capacity = 2;
  obs::PathHistograms histograms(obs::kHoldBounds);
  HoldSampler sampler(2);
  auto count = [](const obs::Histogram& histogram) {
    uint64_t sum = 0;
    for (size_t i = 0; i <= histogram.bounds().size(); ++i) sum += histogram.count(i);
    return sum;
  };
  sampler.Sample(words, 0, histograms);
  slots[0] = BusyWord(2, 2);
  sampler.Sample(words, 50'000'000, histograms);
  sampler.Sample(words, 100'000'000, histograms);
  EXPECT_EQ(count(histograms.local), 0u);
  slots[0] = BusyWord(3, 3);  // released and taken again in between
  sampler.Sample(words, 150'000'000, histograms);
  EXPECT_EQ(count(histograms.local), 1u);
  slots[0] = FreeWord(3);
  sampler.Sample(words, 200'000'000, histograms);
  EXPECT_EQ(count(histograms.local), 2u);
  EXPECT_NEAR(histograms.local.sum_seconds(), 0.15, 1e-9);
  EXPECT_EQ(count(histograms.remote), 0u);
  slots[1] = BusyWord(kOwnerDaemon, 2);
  sampler.Sample(words, 250'000'000, histograms);
  slots[1] = FreeWord(2);
  sampler.Sample(words, 300'000'000, histograms);
  EXPECT_EQ(count(histograms.local), 2u);
  EXPECT_EQ(count(histograms.remote), 1u);
}

TEST(Ticker, LagCountsFromThePeriodAsItShouldBe) {
  const PoolMap pools;
  // Each tick takes 60 ms, so the next is 120 ms after it: 70 ms late.
  Ticker ticker(pools, [](int64_t) { std::this_thread::sleep_for(std::chrono::milliseconds(60)); });
  const obs::Histogram& lag = ticker.lag();
  const auto above = [&](double seconds) {
    uint64_t sum = 0;
    for (size_t i = 0; i < lag.bounds().size(); ++i) {
      if (lag.bounds()[i] > seconds) sum += lag.count(i);
    }
    return sum + lag.count(lag.bounds().size());
  };
  ticker.Start();
  while (above(0.05) < 2) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  ticker.Stop();
  EXPECT_EQ(above(0), above(0.05)) << "no tick was less late than that";
}

TEST(IsAdmitted, EmptyListsAdmitEverybodyAndOthersOnlyWhoIsNamed) {
  engine::PoolOptions pool;
  attach::Peer peer;
  peer.uid = 1000;
  peer.gid = 2000;
  peer.groups = {2000, 3000};
  EXPECT_TRUE(IsAdmitted(pool, peer));
  pool.local_uids = {1};
  EXPECT_FALSE(IsAdmitted(pool, peer));
  pool.local_gids = {3000};
  EXPECT_TRUE(IsAdmitted(pool, peer));
  peer.groups.clear();
  EXPECT_FALSE(IsAdmitted(pool, peer));
  pool.local_uids = {1, 1000};
  EXPECT_TRUE(IsAdmitted(pool, peer));
}

class SlowWatcher final : public LeaseWatcher {
 public:
  void OnLost(const std::string&, const engine::LeaseId&, engine::Reason) override {
    entered = true;
    while (!leave) std::this_thread::yield();
    if (registry != nullptr) registry->Unwatch(this);
    left = true;
  }
  void OnRevokeRequested(const std::string&, const engine::LeaseId&, int64_t) override {}
  void OnDraining() override { draining = true; }
  std::atomic<bool> entered{false}, leave{false}, left{false}, draining{false};
  LeaseWatchers* registry = nullptr;
};

TEST(LeaseWatchers, UnwatchWaitsForACallUnderWay) {
  LeaseWatchers watchers;
  SlowWatcher watcher;
  watchers.WatchLease(&watcher, {1, 2});
  std::thread teller([&] { watchers.Lost("p", {1, 2}, engine::Reason::kLeaseExpired); });
  while (!watcher.entered) std::this_thread::yield();
  std::thread opener([&] { watcher.leave = true; });
  watchers.Unwatch(&watcher);
  EXPECT_TRUE(watcher.left);
  teller.join();
  opener.join();
  watchers.Draining();
  EXPECT_FALSE(watcher.draining);
}

TEST(LeaseWatchers, UnwatchFromInsideTheCallDoesNotWait) {
  LeaseWatchers watchers;
  SlowWatcher watcher;
  watcher.registry = &watchers;
  watcher.leave = true;
  watchers.WatchLease(&watcher, {1, 2});
  watchers.Lost("p", {1, 2}, engine::Reason::kLeaseExpired);
  EXPECT_TRUE(watcher.left);
}

TEST(LeaseWatchers, ALeaseMayBeWatchedWhileSomebodyFollowsIt) {
  struct Silent final : LeaseWatcher {
    void OnLost(const std::string&, const engine::LeaseId&, engine::Reason) override {}
    void OnRevokeRequested(const std::string&, const engine::LeaseId&, int64_t) override {}
    void OnDraining() override {}
  } one, other;
  LeaseWatchers watchers;
  const engine::LeaseId first{1, 2}, second{1, 3};
  EXPECT_FALSE(watchers.MayBeWatched(first));
  watchers.WatchLease(&one, first);
  watchers.WatchLease(&one, first);
  watchers.WatchLease(&other, first);
  watchers.WatchLease(&other, second);
  watchers.Unwatch(&one);
  EXPECT_TRUE(watchers.MayBeWatched(first)) << "by the other";
  watchers.Lost("gpu", first, engine::Reason::kLeaseExpired);
  EXPECT_FALSE(watchers.MayBeWatched(first));
  EXPECT_TRUE(watchers.MayBeWatched(second));
  watchers.Unwatch(&other);
  EXPECT_FALSE(watchers.MayBeWatched(second));
}

TEST(RandomWord, AChildDoesNotDrawWhatItsParentDraws) {
  RandomWord();  // so that words are in stock
  int fds[2];
  ASSERT_EQ(::pipe(fds), 0);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  uint64_t drawn = 0;
  if (child == 0) {
    drawn = RandomWord();
    ::_exit(::write(fds[1], &drawn, sizeof drawn) == sizeof drawn ? 0 : 1);
  }
  EXPECT_EQ(::read(fds[0], &drawn, sizeof drawn), static_cast<ssize_t>(sizeof drawn));
  ::close(fds[0]);
  ::close(fds[1]);
  ::waitpid(child, nullptr, 0);
  EXPECT_NE(drawn, RandomWord());
}

TEST(LeaseWatchers, OnlyFollowersOfTheLeaseHearOfIt) {
  LeaseWatchers watchers;
  SlowWatcher one, other;
  one.leave = other.leave = true;
  watchers.WatchLease(&one, {1, 2});
  watchers.WatchLease(&other, {1, 3});
  watchers.Lost("p", {1, 2}, engine::Reason::kLeaseReleased);
  EXPECT_TRUE(one.entered);
  EXPECT_FALSE(other.entered);
  watchers.Draining();
  EXPECT_TRUE(one.draining && other.draining);
}

}  // namespace
}  // namespace leaseplane::plane
