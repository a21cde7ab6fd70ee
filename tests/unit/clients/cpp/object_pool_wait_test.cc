// SPDX-License-Identifier: Apache-2.0
// Who gets an object when there are not enough, who is told of long uses, and other processes.
#include <sys/wait.h>
#include <unistd.h>

#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "tests/unit/clients/cpp/object_pool_fixture.h"

namespace leaseplane {
namespace {

TEST_F(ObjectPoolTest, CallersInLineAreServedInOrderWithTheSameObject) {
  const Pool pool = Open(Connect(), "line");
  ObjectPool<Thing> things(pool, Options());
  auto held = things.TryAcquire();
  ASSERT_TRUE(held);
  std::mutex mu;
  std::vector<int> order;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      const absl::Status used = things.Use(kLong, [&](Thing&) {
        const std::lock_guard<std::mutex> lock(mu);
        order.push_back(i);
      });
      EXPECT_TRUE(used.ok()) << used;
    });
    ASSERT_TRUE(Eventually([&] { return things.stats().waiting == static_cast<uint32_t>(i) + 1; }));
  }
  std::move(held).Return();
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3}));
  EXPECT_EQ(created_, 1);
}

TEST_F(ObjectPoolTest, AWaitEndsInTimeOrWithTheObjectPool) {
  const Pool pool = Open(Connect(), "line");
  ObjectPool<Thing> things(pool, Options());
  auto held = things.TryAcquire();
  EXPECT_EQ(ReasonOf(things.Acquire({.max_wait = absl::Milliseconds(50)}).status()),
            Reason::kWaitTimeout);
  EXPECT_EQ(things.stats().timed_out, 1u);
  EXPECT_EQ(things.stats().waiting, 0u);
  absl::Status status;
  std::thread waiter([&] { status = things.Acquire(kLong).status(); });
  EXPECT_TRUE(Eventually([&] { return things.stats().waiting == 1; }));
  things.Close();
  waiter.join();
  EXPECT_EQ(ReasonOf(status), Reason::kSessionEnded) << status;
  EXPECT_EQ(alive_, 1);
  std::move(held).Return();
  EXPECT_EQ(alive_, 0);
}

TEST_F(ObjectPoolTest, AWaiterGetsASlotThatSomebodyElseGivesBack) {
  const Pool pool = Open(Connect(), "line");
  ObjectPool<Thing> things(pool, Options());
  Lease elsewhere = pool.TryAcquire();
  ASSERT_TRUE(elsewhere);
  absl::StatusOr<PooledObject<Thing>> thing;
  std::thread waiter([&] { thing = things.Acquire(kLong); });
  EXPECT_TRUE(Eventually([&] { return things.stats().waiting == 1; }));
  EXPECT_TRUE(std::move(elsewhere).Release().ok());
  waiter.join();
  ASSERT_TRUE(thing.ok()) << thing.status();
  EXPECT_EQ(created_, 1);
}

TEST_F(ObjectPoolTest, IdleObjectsGiveWayToOthersWhoWait) {
  daemon_.reset();
  daemon_options_.pools[0].max_overtake_ns = 3'600'000'000'000;  // nobody turns to the daemon
  StartDaemon();
  const Pool pool = Open(Connect(), "gpu");
  auto options = Options();
  options.idle_timeout = absl::InfiniteDuration();
  ObjectPool<Thing> things(pool, options);
  { const auto one = things.TryAcquire(), two = things.TryAcquire(); }
  ASSERT_EQ(things.stats().idle, 2u);
  const absl::StatusOr<Lease> other = pool.Acquire({.max_wait = absl::Seconds(60)});
  ASSERT_TRUE(other.ok()) << other.status();
  EXPECT_TRUE(Eventually([&] { return things.stats().yielded >= 1; }));
  EXPECT_LE(alive_, 1);
}

TEST_F(ObjectPoolTest, IdleObjectsGiveWayToTheDaemonsQueue) {
  const Pool pool = Open(Connect(), "gpu");
  auto options = Options();
  options.idle_timeout = absl::InfiniteDuration();
  ObjectPool<Thing> things(pool, options);
  { const auto one = things.TryAcquire(), two = things.TryAcquire(); }
  ASSERT_EQ(things.stats().idle, 2u);
  daemon_->SetGate("gpu", shm::Gate::kNotify);
  EXPECT_TRUE(Eventually([&] { return things.stats().idle == 0; }));
  EXPECT_EQ(things.stats().yielded, 2u);
  EXPECT_EQ(alive_, 0);
}

TEST_F(ObjectPoolTest, ABusyObjectPoolGivesWayAfterAWhile) {
  daemon_.reset();
  daemon_options_.pools[0].max_overtake_ns = 3'600'000'000'000;  // nobody turns to the daemon
  StartDaemon();
  const Pool pool = Open(Connect(), "gpu");
  auto options = Options();
  options.yield_after = absl::Seconds(1);
  ObjectPool<Thing> things(pool, options);
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      while (!stop) {
        EXPECT_TRUE(things.Use(kLong, [](Thing&) { std::this_thread::yield(); }).ok());
        Pass(absl::Milliseconds(1));
      }
    });
  }
  EXPECT_TRUE(Eventually([&] { return alive_ == 2; }));  // both slots are the object pool's
  const absl::StatusOr<Lease> other = pool.Acquire({.max_wait = absl::Seconds(60)});
  EXPECT_TRUE(other.ok()) << other.status();
  stop = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(Eventually([&] { return things.stats().yielded >= 1; }));
}

TEST_F(ObjectPoolTest, ALongUseIsReportedOnceWithItsPlaceInTheSource) {
  const Pool pool = Open(Connect());
  auto options = Options();
  std::mutex mu;
  std::vector<ObjectUse> leaks;
  options.leak_after = absl::Seconds(30);
  options.on_leak = [&](const ObjectUse& use) {
    const std::lock_guard<std::mutex> lock(mu);
    leaks.push_back(use);
  };
  ObjectPool<Thing> things(pool, options);
  const int line = __LINE__ + 1;
  const auto held = things.TryAcquire();
  ASSERT_EQ(things.uses().size(), 1u);
  EXPECT_EQ(things.uses()[0].thread_id, ::gettid());
  things.Sweep();
  EXPECT_EQ(things.stats().leaks, 0u);
  Pass(absl::Seconds(30));
  EXPECT_TRUE(Eventually([&] { return things.stats().leaks == 1; }));
  things.Sweep();
  things.Sweep();
  ASSERT_TRUE(Eventually([&] {
    const std::lock_guard<std::mutex> lock(mu);
    return !leaks.empty();
  }));
  const std::lock_guard<std::mutex> lock(mu);
  ASSERT_EQ(leaks.size(), 1u);
  EXPECT_EQ(leaks[0].token, held.lease().token());
  EXPECT_EQ(leaks[0].site.line, line);
  EXPECT_NE(std::string(leaks[0].site.file).find("object_pool_wait_test"), std::string::npos);
  EXPECT_GE(leaks[0].held_for, absl::Seconds(30));
}

TEST_F(ObjectPoolTest, UseAndTryUseGiveWhatTheFunctionGives) {
  const Pool pool = Open(Connect(), "line");
  ObjectPool<Thing> things(pool, Options());
  const absl::StatusOr<SlotIndex> slot = things.Use({}, [](Thing& thing) { return thing.slot; });
  ASSERT_TRUE(slot.ok());
  EXPECT_EQ(*slot, 0u);
  EXPECT_EQ(things.TryUse([](Thing& thing) { return thing.slot; }), std::optional<SlotIndex>(0));
  EXPECT_TRUE(things.TryUse([](Thing&) {}));
  const auto held = things.TryAcquire();
  EXPECT_FALSE(things.TryUse([](Thing&) {}));
  EXPECT_EQ(things.TryUse([](Thing& thing) { return thing.slot; }), std::nullopt);
  EXPECT_FALSE(things.Use({}, [](Thing&) {}).ok());
}

TEST_F(ObjectPoolTest, ThereAreNeverMoreObjectsThanSlots) {
  const Pool pool = Open(Connect());
  auto options = Options();
  options.yield_after = absl::ZeroDuration();
  // Two pools of objects in one process share the slots like two processes.
  ObjectPool<Thing> one(pool, options), two(pool, options);
  std::vector<std::thread> threads;
  for (int t = 0; t < 6; ++t) {
    threads.emplace_back([&, t] {
      ObjectPool<Thing>& things = t % 2 == 0 ? one : two;
      for (int i = 0; i < 60; ++i) {
        auto thing = things.Acquire(kLong);
        ASSERT_TRUE(thing.ok()) << thing.status();
        ASSERT_LE(alive_, 2);
        (*thing)->is_sound = i % 7 != 0;
        if (i % 11 == 0) std::move(*thing).Discard();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_LE(most_alive_, 2);
  one.Close();
  two.Close();
  EXPECT_EQ(alive_, 0);
  EXPECT_EQ(one.stats().acquired + two.stats().acquired, 360u);
}

TEST_F(ObjectPoolTest, AForkedChildTouchesNothingOfItsParents) {
  const Pool pool = Open(Connect(), "gpu");
  auto things = std::make_unique<ObjectPool<Thing>>(pool, Options());
  { const auto idle = things->TryAcquire(), idle_too = things->TryAcquire(); }
  auto held = things->TryAcquire();
  ASSERT_TRUE(held);
  const pid_t child = ::fork();
  if (child == 0) {
    const bool refuses = ReasonOf(things->Acquire().status()) == Reason::kOtherProcess;
    std::move(held).Return();
    things.reset();
    ::_exit(refuses && alive_ == 2 ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_TRUE(held.lease().still_held());
  EXPECT_EQ(daemon_->BusyCount("gpu"), 2u);
}

}  // namespace
}  // namespace leaseplane
