// SPDX-License-Identifier: Apache-2.0
//
// The locks of the client library: the standard ones, annotated for clang's thread-safety analysis.
// Abseil's would do too, but Debian's build of it hides its ordering from ThreadSanitizer and times
// its waits by the wall clock, which people may set.
//
// Threads: any. Errors: none.
#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>

#include "absl/base/thread_annotations.h"
#include "clients/cpp/boot_clock.h"

namespace leaseplane::internal {

class ABSL_LOCKABLE Mutex {
 public:
  void Lock() ABSL_EXCLUSIVE_LOCK_FUNCTION() { native_.lock(); }
  void Unlock() ABSL_UNLOCK_FUNCTION() { native_.unlock(); }
  // Tells the analysis what it cannot see; checks nothing.
  void AssertHeld() ABSL_ASSERT_EXCLUSIVE_LOCK() {}

 private:
  friend class Change;
  std::mutex native_;
};

class ABSL_SCOPED_LOCKABLE MutexLock {
 public:
  explicit MutexLock(Mutex* mutex) ABSL_EXCLUSIVE_LOCK_FUNCTION(mutex) : mutex_(mutex) {
    mutex_->Lock();
  }
  ~MutexLock() ABSL_UNLOCK_FUNCTION() { mutex_->Unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex* const mutex_;
};

// Tells waiters that what a mutex guards has changed. A wait may end without a change, so it stands
// in a loop that looks.
class Change {
 public:
  void Tell() { native_.notify_all(); }

  // Waits for Tell, at most until `deadline_ns` of CLOCK_BOOTTIME, give or take a second after a
  // suspend. False: the deadline has passed.
  bool Await(Mutex* mutex, int64_t deadline_ns) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    const int64_t rest_ns = deadline_ns - BootNowNs();
    if (rest_ns <= 0) return false;
    std::unique_lock<std::mutex> held(mutex->native_, std::adopt_lock);
    native_.wait_for(held, std::chrono::nanoseconds(std::min(rest_ns, kSecondNs)));
    held.release();  // stays locked for the caller
    return true;
  }

 private:
  std::condition_variable native_;
};

}  // namespace leaseplane::internal
