// SPDX-License-Identifier: Apache-2.0
//
// Objects that are counted, a clock that the test moves, and the fake daemon.
#pragma once

#include <algorithm>
#include <atomic>
#include <memory>

#include "leaseplane/object_pool.h"
#include "tests/unit/clients/cpp/local_fixture.h"

namespace leaseplane {

struct Thing {
  explicit Thing(const Lease& lease) : slot(lease.slot()), token(lease.token()) {}
  SlotIndex slot;
  FencingToken token;
  bool is_sound = true;
};

class ObjectPoolTest : public LocalTest {
 protected:
  ObjectPoolTest() { StartDaemon(); }

  // Counts what is alive and how often everything was called.
  ObjectPoolOptions<Thing> Options() {
    ObjectPoolOptions<Thing> options;
    options.create = [this](const Lease& lease) -> absl::StatusOr<std::unique_ptr<Thing>> {
      if (create_fails_) return absl::InternalError("no route");
      ++created_;
      most_alive_ = std::max<int>(most_alive_, ++alive_);
      return std::make_unique<Thing>(lease);
    };
    options.validate = [this](Thing& thing) {
      ++validated_;
      return thing.is_sound;
    };
    options.destroy = [this](Thing&) { --alive_; };
    options.now = [this] { return absl::Nanoseconds(now_ns_.load()); };
    options.idle_timeout = absl::Seconds(10);
    return options;
  }
  void Pass(absl::Duration time) { now_ns_ += absl::ToInt64Nanoseconds(time); }
  static constexpr ObjectAcquireOptions kLong{absl::Seconds(60)};

  std::atomic<int> created_{0}, alive_{0}, most_alive_{0}, validated_{0};
  std::atomic<bool> create_fails_{false};
  std::atomic<int64_t> now_ns_{1'000'000'000};
};

}  // namespace leaseplane
