// SPDX-License-Identifier: Apache-2.0
//
// ObjectPool: real resources, database connections for example, bound to the slots of a Pool:
//
//   leaseplane::ObjectPool<Conn> conns(*pool, {.create = Open, .validate = Ping});
//   absl::StatusOr<int> n = conns.Use({.max_wait = absl::Seconds(1)},
//                                     [](Conn& conn) { return conn.Count(); });
//
// An object exists only on a lease of its own, from before it is made until after it is gone, also
// while it lies idle. So all processes together never have more objects than the pool has slots,
// and a process that dies gives its objects' slots back. Whether what it leaves at the other end (a
// server's side of a connection) ends as soon, is that server's business: give the pool a
// `lock_delay` as long as that may take.
//
// Idle objects are used again, the last one first. They are destroyed, and their slots given back,
// after `idle_timeout`, at the end of their lifetime, and at once when somebody else waits for a
// slot. Callers in line are served in order; while there are any, a returned object goes to the
// first of them, until its slot has been here for `yield_after` and others wait too.
//
// When a lease is lost its object is destroyed, at the latest when it comes back; what uses it
// learns that from ClientOptions::on_lost or by asking the lease. Pass on lease().token().
//
// Ownership: owns its objects, a copy of the Pool, and one thread. Objects that are in use when it
// is destroyed are destroyed when they come back. Destruction may take a second while a slot is
// being waited for.
// Threads: all methods, from any thread. `create` and `validate` are called on the thread of the
// caller of Acquire, `destroy` on whichever thread gives the object up, `on_leak` on the library's;
// none with a lock held, so they may be called concurrently for different objects. They must not
// use this ObjectPool. An exception of create passes through Acquire; the others must not throw.
// Errors: absl::Status with a Reason; what `create` failed with comes back as it is.
// Cost: to use an idle object again takes one lock, and so does giving it back; no allocation, no
// system call, and a clock that is some milliseconds coarse.
// fork(): in the child nothing is handed out, and the parent's objects are neither destroyed nor
// released.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "leaseplane/internal/object_keeper.h"
#include "leaseplane/pool.h"

namespace leaseplane {

template <class T>
struct ObjectPoolOptions {
  // Makes the object that goes with the slot (lease.slot(), lease.resource()). Required.
  std::function<absl::StatusOr<std::unique_ptr<T>>(const Lease&)> create = {};
  // Whether an idle object may be used again. If not it is destroyed, and another one made.
  std::function<bool(T&)> validate = {};
  // Last words to an object, before its destructor. When it returns the resource must be free:
  // another process may make its own at once.
  std::function<void(T&)> destroy = {};

  // How long an object lies idle before its slot goes back. Zero: not at all.
  absl::Duration idle_timeout = absl::Seconds(5);
  // Counted from the creation, less up to a tenth, so that objects made together do not end
  // together. An object in use is not interrupted.
  absl::Duration max_lifetime = absl::InfiniteDuration();
  // Only objects that lay idle for so long are validated.
  absl::Duration validate_after = absl::ZeroDuration();
  // How long callers in line here come before others that wait for the same slots.
  absl::Duration yield_after = absl::Seconds(5);

  // A use that lasts longer is reported, once, with the place in the source that asked for it.
  absl::Duration leak_after = absl::InfiniteDuration();
  std::function<void(const ObjectUse&)> on_leak = {};

  // For tests: the time since any fixed instant, for lifetimes and timeouts. Empty: the clock.
  std::function<absl::Duration()> now = {};
};

// An object in use; its destruction gives it back.
template <class T>
class [[nodiscard]] PooledObject {
 public:
  // Holds nothing; false.
  PooledObject() noexcept = default;
  PooledObject(PooledObject&& other) noexcept
      : keeper_(std::exchange(other.keeper_, nullptr)), use_(other.use_) {}
  PooledObject& operator=(PooledObject&& other) noexcept {
    PooledObject old(std::move(other));
    std::swap(keeper_, old.keeper_);
    std::swap(use_, old.use_);
    return *this;
  }
  ~PooledObject() { GiveBack(false); }

  explicit operator bool() const noexcept { return keeper_ != nullptr; }
  // The following REQUIRE an object in it.
  T& operator*() const noexcept { return *get(); }
  T* operator->() const noexcept { return get(); }
  T* get() const noexcept { return static_cast<T*>(use_->object.get()); }
  // The right to it: ask still_held() before what matters, and hand the token along.
  const Lease& lease() const noexcept { return use_->lease; }

  // Gives it back now. Discard: it is broken and must not be used again.
  void Return() && noexcept { GiveBack(false); }
  void Discard() && noexcept { GiveBack(true); }

 private:
  template <class>
  friend class ObjectPool;

  PooledObject(internal::ObjectKeeper* keeper, internal::ObjectKeeper::Use use) noexcept
      : keeper_(keeper), use_(use) {}

  void GiveBack(bool discard) noexcept {
    if (auto* keeper = std::exchange(keeper_, nullptr)) keeper->Return(use_, discard);
  }

  internal::ObjectKeeper* keeper_ = nullptr;  // lives until this object is back
  internal::ObjectKeeper::Use use_;
};

// How to wait for an object.
struct ObjectAcquireOptions {
  // As AcquireOptions::max_wait. Making the object is not counted.
  absl::Duration max_wait = absl::ZeroDuration();
};

template <class T>
class ObjectPool {
 public:
  // Options that are not valid make every Acquire fail (kInvalidArgument).
  ObjectPool(const Pool& pool, ObjectPoolOptions<T> options) : keeper_(Make(pool, options)) {}
  ~ObjectPool() { Close(); }
  ObjectPool(const ObjectPool&) = delete;
  ObjectPool& operator=(const ObjectPool&) = delete;

  // Reasons: those of Pool::Acquire; kSessionEnded after Close; and what `create` says.
  absl::StatusOr<PooledObject<T>> Acquire(const ObjectAcquireOptions& options = {},
                                          CallSite site = CallSite::Here()) {
    if (!keeper_.ok()) return keeper_.status();
    auto use = (*keeper_)->Acquire(options.max_wait, site);
    if (!use.ok()) return use.status();
    return PooledObject<T>(keeper_->get(), *use);
  }
  // Empty if there is none now, or it could not be made.
  PooledObject<T> TryAcquire(CallSite site = CallSite::Here()) {
    auto object = Acquire({}, site);
    return object.ok() ? *std::move(object) : PooledObject<T>();
  }

  // As Pool::Use and TryUse, with `fn(T&)`.
  template <class F>
  auto Use(const ObjectAcquireOptions& options, F&& fn, CallSite site = CallSite::Here()) ->
      typename internal::UseResult<std::invoke_result_t<F, T&>>::type {
    auto object = Acquire(options, site);
    if (!object.ok()) return std::move(object).status();
    if constexpr (std::is_void_v<std::invoke_result_t<F, T&>>) {
      std::forward<F>(fn)(**object);
      return absl::OkStatus();
    } else {
      return std::forward<F>(fn)(**object);
    }
  }
  template <class F>
  auto TryUse(F&& fn, CallSite site = CallSite::Here()) {
    using Result = std::invoke_result_t<F, T&>;
    const PooledObject<T> object = TryAcquire(site);
    if constexpr (std::is_void_v<Result>) {
      if (object) std::forward<F>(fn)(*object);
      return static_cast<bool>(object);
    } else {
      return object ? std::optional<Result>(std::forward<F>(fn)(*object)) : std::nullopt;
    }
  }

  // Destroys what is idle and due now; the library's thread does so by itself.
  void Sweep() {
    if (keeper_.ok()) (*keeper_)->Sweep();
  }
  // Destroys idle objects, ends waits, hands out nothing more. Idempotent.
  void Close() {
    if (keeper_.ok()) (*keeper_)->Close();
  }
  ObjectPoolStats stats() const { return keeper_.ok() ? (*keeper_)->stats() : ObjectPoolStats(); }
  // Who holds what, since when, from where.
  std::vector<ObjectUse> uses() const {
    return keeper_.ok() ? (*keeper_)->uses() : std::vector<ObjectUse>();
  }

 private:
  static auto Make(const Pool& pool, ObjectPoolOptions<T>& options) {
    internal::ObjectKeeperOptions untyped;
    if (options.create) {
      untyped.create = [create = std::move(options.create)](
                           const Lease& lease) -> absl::StatusOr<std::shared_ptr<void>> {
        absl::StatusOr<std::unique_ptr<T>> made = create(lease);
        if (!made.ok()) return made.status();
        return std::shared_ptr<void>(std::shared_ptr<T>(*std::move(made)));
      };
    }
    if (options.validate) {
      untyped.validate = [validate = std::move(options.validate)](void* object) {
        return validate(*static_cast<T*>(object));
      };
    }
    if (options.destroy) {
      untyped.destroy = [destroy = std::move(options.destroy)](void* object) {
        destroy(*static_cast<T*>(object));
      };
    }
    untyped.on_leak = std::move(options.on_leak);
    untyped.now = std::move(options.now);
    untyped.idle_timeout = options.idle_timeout;
    untyped.max_lifetime = options.max_lifetime;
    untyped.validate_after = options.validate_after;
    untyped.leak_after = options.leak_after;
    untyped.yield_after = options.yield_after;
    return internal::ObjectKeeper::Make(pool, std::move(untyped));
  }

  const absl::StatusOr<std::shared_ptr<internal::ObjectKeeper>> keeper_;
};

}  // namespace leaseplane
