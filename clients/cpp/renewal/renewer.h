// SPDX-License-Identifier: Apache-2.0
//
// Renewer: the background thread that keeps remote leases alive and says when one is lost.
//
// Ownership: borrows its port, which must outlive it. Threads: every method from any thread;
// the port and posted tasks are called on the renewer's own thread, with no lock held.
// Errors: none. Cost: one wake of the thread a renewal and an answer; nothing while no lease is
// there. Sleeps on a timer of CLOCK_BOOTTIME, so a lease that ended while the machine was suspended
// is reported at once afterwards.
#pragma once

#include <pthread.h>

#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "clients/cpp/mutex.h"
#include "clients/cpp/renewal/renewal_schedule.h"
#include "core/base/unique_fd.h"
#include "leaseplane/status.h"

namespace leaseplane::internal {

class RenewalPort {
 public:
  virtual ~RenewalPort() = default;
  // Starts a call that ends in Renewer::Renewed, Failed or Refused after at most `timeout_ns`. Must
  // not block.
  virtual void StartRenewal(RenewalSchedule::Key key, int64_t timeout_ns) = 0;
  // Once for each lease that ends without Untrack.
  virtual void OnLost(RenewalSchedule::Key key, Reason reason) = 0;
  // The instant of CallAt has come.
  virtual void OnAlarm() = 0;
};

class Renewer {
 public:
  using Key = RenewalSchedule::Key;
  using Times = RenewalSchedule::Times;

  Renewer(RenewalPort& port, uint64_t seed);
  // Ends the thread; waits for a call to the port that is under way. Leases that are left are
  // neither renewed nor reported.
  ~Renewer();
  Renewer(const Renewer&) = delete;
  Renewer& operator=(const Renewer&) = delete;

  void Track(Key key, const Times& times);
  // False: it was not there any more, so OnLost has been or is being called.
  bool Untrack(Key key);

  // Answers to StartRenewal. Renewed is false if the lease was untracked or lost meanwhile.
  bool Renewed(Key key, const Times& times);
  void Failed(Key key);                  // try again
  void Refused(Key key, Reason reason);  // the lease has ended

  // Runs `task` on the renewer's thread, soon; not at all if the renewer is destroyed before.
  void Post(std::function<void()> task);
  // Calls OnAlarm once, at `at_ns` of CLOCK_BOOTTIME or later. Of several instants the first
  // counts.
  void CallAt(int64_t at_ns);

 private:
  static void* ThreadMain(void* renewer);
  void Run();
  void Wake();
  void SetTimer(int64_t next_ns);

  RenewalPort& port_;
  const UniqueFd timer_fd_, wake_fd_;
  pthread_t thread_{};

  Mutex mu_;
  RenewalSchedule schedule_ ABSL_GUARDED_BY(mu_);
  std::vector<std::pair<Key, Reason>> refused_ ABSL_GUARDED_BY(mu_);
  std::vector<std::function<void()>> tasks_ ABSL_GUARDED_BY(mu_);
  int64_t alarm_ns_ ABSL_GUARDED_BY(mu_) = RenewalSchedule::kNothing;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace leaseplane::internal
