// SPDX-License-Identifier: Apache-2.0
// The life of objects: made, used again, found bad, too old, lost.
#include <set>
#include <stdexcept>

#include "tests/unit/clients/cpp/object_pool_fixture.h"

namespace leaseplane {
namespace {

TEST_F(ObjectPoolTest, AnIdleObjectIsUsedAgainOnTheSameLease) {
  const Pool pool = Open(Connect());
  ObjectPool<Thing> things(pool, Options());
  auto one = things.Acquire();
  ASSERT_TRUE(one.ok()) << one.status();
  const Thing* const first = one->get();
  const FencingToken token = (*one)->token;
  EXPECT_EQ((*one)->slot, one->lease().slot());
  std::move(*one).Return();
  EXPECT_EQ(things.stats().idle, 1u);
  auto again = things.TryAcquire();
  ASSERT_TRUE(again);
  EXPECT_EQ(again.get(), first);
  EXPECT_EQ(again.lease().token(), token);
  EXPECT_TRUE(again.lease().still_held());
  EXPECT_EQ(created_, 1);
  EXPECT_EQ(validated_, 1);
  EXPECT_EQ(things.stats().reused, 1u);
  EXPECT_EQ(things.stats().in_use, 1u);
}

TEST_F(ObjectPoolTest, IdleObjectsCountAgainstTheCapacityOfThePool) {
  const Pool pool = Open(Connect());
  ObjectPool<Thing> things(pool, Options());
  {
    const auto one = things.TryAcquire(), two = things.TryAcquire();
    ASSERT_TRUE(one && two);
    EXPECT_EQ(ReasonOf(things.Acquire().status()), Reason::kNoFreeSlot);
  }
  EXPECT_EQ(things.stats().idle, 2u);
  EXPECT_FALSE(pool.TryAcquire());
  things.Close();
  EXPECT_EQ(alive_, 0);
  EXPECT_TRUE(pool.TryAcquire());
  EXPECT_EQ(ReasonOf(things.Acquire(kLong).status()), Reason::kSessionEnded);
}

TEST_F(ObjectPoolTest, AnIdleObjectGoesAfterItsTimeAndItsSlotAfterIt) {
  const Pool pool = Open(Connect(), "line");
  auto options = Options();
  std::atomic<bool> slot_was_free{false};
  options.destroy = [&](Thing&) {
    --alive_;
    if (pool.TryAcquire()) slot_was_free = true;
  };
  ObjectPool<Thing> things(pool, options);
  ASSERT_TRUE(things.TryAcquire());
  Pass(absl::Seconds(9));
  things.Sweep();
  EXPECT_EQ(alive_, 1);
  Pass(absl::Seconds(1));
  EXPECT_TRUE(Eventually([&] { return alive_ == 0; })) << "the thread sweeps by itself";
  EXPECT_TRUE(Eventually([&] { return static_cast<bool>(pool.TryAcquire()); }));
  EXPECT_FALSE(slot_was_free) << "the slot was given back before its object was gone";
  EXPECT_EQ(things.stats().idle_expired, 1u);
}

TEST_F(ObjectPoolTest, WithoutAnIdleTimeNothingIsKept) {
  const Pool pool = Open(Connect());
  auto options = Options();
  options.idle_timeout = absl::ZeroDuration();
  ObjectPool<Thing> things(pool, options);
  for (int i = 1; i <= 3; ++i) {
    ASSERT_TRUE(things.TryAcquire());
    EXPECT_EQ(created_, i);
    EXPECT_EQ(alive_, 0);
  }
}

TEST_F(ObjectPoolTest, AnObjectPastItsLifetimeIsReplacedOnItsLease) {
  const Pool pool = Open(Connect());
  auto options = Options();
  options.idle_timeout = absl::InfiniteDuration();
  options.max_lifetime = absl::Seconds(100);
  ObjectPool<Thing> things(pool, options);
  auto thing = things.TryAcquire();
  ASSERT_TRUE(thing);
  const FencingToken token = thing.lease().token();
  Pass(absl::Seconds(89));  // the jitter takes a tenth at most
  std::move(thing).Return();
  thing = things.TryAcquire();
  EXPECT_EQ(created_, 1);
  Pass(absl::Seconds(11));
  EXPECT_EQ(alive_, 1) << "in use it is not interrupted";
  {
    // Before the thread sweeps, or after: it is not used again.
    std::move(thing).Return();
    const auto next = things.TryAcquire();
    ASSERT_TRUE(next);
    EXPECT_EQ(created_, 2);
    if (things.stats().lifetime_expired == 1 && next.lease().slot() == next->slot) {
      EXPECT_GE(next.lease().token(), token);
    }
  }
  EXPECT_EQ(alive_, 1);
  Pass(absl::Seconds(100));
  things.Sweep();
  EXPECT_TRUE(Eventually([&] { return alive_ == 0; }));
}

TEST_F(ObjectPoolTest, LifetimesDifferByAJitter) {
  daemon_.reset();
  daemon_options_.pools = {{"gpu", 16}};
  StartDaemon();
  const Pool pool = Open(Connect());
  auto options = Options();
  options.idle_timeout = absl::InfiniteDuration();
  options.max_lifetime = absl::Seconds(1'000);
  ObjectPool<Thing> things(pool, options);
  {
    std::vector<PooledObject<Thing>> all;
    for (int i = 0; i < 16; ++i) all.push_back(things.TryAcquire());
  }
  std::set<int> seen;
  Pass(absl::Seconds(890));
  for (int i = 0; i < 12; ++i) {
    things.Sweep();
    seen.insert(alive_);
    Pass(absl::Seconds(10));
  }
  EXPECT_TRUE(Eventually([&] { return alive_ == 0; }));
  EXPECT_GE(seen.size(), 4u);
}

TEST_F(ObjectPoolTest, AnObjectThatIsNotSoundIsReplaced) {
  const Pool pool = Open(Connect());
  ObjectPool<Thing> things(pool, Options());
  auto thing = things.TryAcquire();
  thing->is_sound = false;
  const FencingToken token = thing.lease().token();
  std::move(thing).Return();
  thing = things.TryAcquire();
  ASSERT_TRUE(thing);
  EXPECT_TRUE(thing->is_sound);
  EXPECT_EQ(thing.lease().token(), token);
  EXPECT_EQ(created_, 2);
  EXPECT_EQ(alive_, 1);
  EXPECT_EQ(things.stats().invalid, 1u);
}

TEST_F(ObjectPoolTest, AnObjectUsedJustNowNeedsNoValidation) {
  const Pool pool = Open(Connect());
  auto options = Options();
  options.validate_after = absl::Seconds(2);
  ObjectPool<Thing> things(pool, options);
  ASSERT_TRUE(things.TryAcquire());
  Pass(absl::Seconds(1));
  ASSERT_TRUE(things.TryAcquire());
  EXPECT_EQ(validated_, 0);
  Pass(absl::Seconds(2));
  ASSERT_TRUE(things.TryAcquire());
  EXPECT_EQ(validated_, 1);
}

TEST_F(ObjectPoolTest, AFactoryThatFailsSaysWhyAndCostsNoSlot) {
  const Pool pool = Open(Connect(), "line");
  ObjectPool<Thing> things(pool, Options());
  create_fails_ = true;
  const absl::Status status = things.Acquire(kLong).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_EQ(status.message(), "no route");
  EXPECT_TRUE(pool.TryAcquire());
  create_fails_ = false;
  EXPECT_TRUE(things.TryAcquire());
  EXPECT_EQ(things.stats().create_failures, 1u);

  // Also when it was to replace another one.
  Pass(absl::Seconds(1));
  auto thing = things.TryAcquire();
  thing->is_sound = false;
  std::move(thing).Return();
  create_fails_ = true;
  EXPECT_FALSE(things.TryAcquire());
  EXPECT_EQ(alive_, 0);
  EXPECT_TRUE(pool.TryAcquire());
}

TEST_F(ObjectPoolTest, AFactoryThatGivesNothingOrThrowsCostsNoSlot) {
  const Pool pool = Open(Connect(), "line");
  auto options = Options();
  bool throws = false;
  options.create = [&](const Lease&) -> absl::StatusOr<std::unique_ptr<Thing>> {
    if (throws) throw std::runtime_error("out of paper");
    return std::unique_ptr<Thing>();
  };
  ObjectPool<Thing> things(pool, options);
  EXPECT_EQ(ReasonOf(things.Acquire().status()), Reason::kInternal);
  throws = true;
  EXPECT_THROW(static_cast<void>(things.Acquire()), std::runtime_error);
  EXPECT_TRUE(pool.TryAcquire());
}

TEST_F(ObjectPoolTest, WrongOptionsAreNamed) {
  const Pool pool = Open(Connect());
  ObjectPool<Thing> none(pool, {});
  EXPECT_EQ(ReasonOf(none.Acquire().status()), Reason::kInvalidArgument);
  EXPECT_FALSE(none.TryAcquire());
  auto options = Options();
  options.max_lifetime = absl::Seconds(-1);
  ObjectPool<Thing> negative(pool, options);
  const absl::Status status = negative.Acquire().status();
  EXPECT_NE(status.message().find("max_lifetime"), status.message().npos) << status;
  ObjectPool<Thing> things(pool, Options());
  EXPECT_EQ(ReasonOf(things.Acquire({.max_wait = absl::Seconds(-1)}).status()),
            Reason::kInvalidArgument);
}

TEST_F(ObjectPoolTest, ADiscardedObjectIsNotUsedAgain) {
  const Pool pool = Open(Connect(), "line");
  ObjectPool<Thing> things(pool, Options());
  auto thing = things.TryAcquire();
  std::move(thing).Discard();
  EXPECT_EQ(alive_, 0);
  EXPECT_TRUE(things.TryAcquire());
  EXPECT_EQ(created_, 2);
  EXPECT_EQ(things.stats().discarded, 1u);
}

TEST_F(ObjectPoolTest, AnObjectWhoseLeaseIsLostIsDestroyedWhenItComesBack) {
  const Pool pool = Open(Connect(), "line");
  ObjectPool<Thing> things(pool, Options());
  auto thing = things.TryAcquire();
  const FencingToken lost = thing.lease().token();
  ASSERT_TRUE(daemon_->Revoke("line", thing.lease().slot()));
  EXPECT_TRUE(Eventually([&] { return !thing.lease().still_held(); }));
  EXPECT_EQ(alive_, 1) << "it is still being used";
  std::move(thing).Return();
  EXPECT_EQ(alive_, 0);
  EXPECT_EQ(things.stats().lost, 1u);
  thing = things.TryAcquire();
  ASSERT_TRUE(thing);
  EXPECT_GT(thing.lease().token(), lost);

  // And when it lies idle.
  std::move(thing).Return();
  ASSERT_TRUE(daemon_->Revoke("line", 0));
  EXPECT_TRUE(Eventually([&] { return alive_ == 0; }));
  EXPECT_EQ(things.stats().idle, 0u);
}

}  // namespace
}  // namespace leaseplane
