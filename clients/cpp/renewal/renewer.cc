// SPDX-License-Identifier: Apache-2.0
#include "clients/cpp/renewal/renewer.h"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "clients/cpp/boot_clock.h"

namespace leaseplane::internal {

Renewer::Renewer(RenewalPort& port, uint64_t seed)
    : port_(port),
      timer_fd_(::timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK)),
      wake_fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      schedule_(seed) {
  sigset_t all, before;
  ::sigfillset(&all);  // signals are for the application's threads
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  // Without the thread every lease would end unheard.
  if (::pthread_create(&thread_, nullptr, &Renewer::ThreadMain, this) != 0) ::abort();
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

Renewer::~Renewer() {
  {
    const MutexLock lock(&mu_);
    stopping_ = true;
  }
  Wake();
  ::pthread_join(thread_, nullptr);
}

void Renewer::Track(Key key, const Times& times) {
  {
    const MutexLock lock(&mu_);
    schedule_.Add(key, times, BootNowNs());
  }
  Wake();
}

bool Renewer::Untrack(Key key) {
  const MutexLock lock(&mu_);
  return schedule_.Remove(key);
}

bool Renewer::Renewed(Key key, const Times& times) {
  {
    const MutexLock lock(&mu_);
    if (!schedule_.Renewed(key, times, BootNowNs())) return false;
  }
  Wake();
  return true;
}

void Renewer::Failed(Key key) {
  {
    const MutexLock lock(&mu_);
    if (!schedule_.Failed(key, BootNowNs())) return;
  }
  Wake();
}

void Renewer::Refused(Key key, Reason reason) {
  {
    const MutexLock lock(&mu_);
    if (!schedule_.Remove(key)) return;
    refused_.emplace_back(key, reason);
  }
  Wake();
}

void Renewer::Post(std::function<void()> task) {
  {
    const MutexLock lock(&mu_);
    tasks_.push_back(std::move(task));
  }
  Wake();
}

void Renewer::CallAt(int64_t at_ns) {
  {
    const MutexLock lock(&mu_);
    if (at_ns >= alarm_ns_) return;
    alarm_ns_ = at_ns;
  }
  Wake();
}

void Renewer::Wake() {
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(wake_fd_.get(), &one, sizeof(one));
}

void Renewer::SetTimer(int64_t next_ns) {
  itimerspec when{};  // zero: off
  if (next_ns != RenewalSchedule::kNothing) {
    next_ns = std::max<int64_t>(next_ns, 1);
    when.it_value.tv_sec = next_ns / kSecondNs;
    when.it_value.tv_nsec = next_ns % kSecondNs;
  }
  ::timerfd_settime(timer_fd_.get(), TFD_TIMER_ABSTIME, &when, nullptr);
}

void* Renewer::ThreadMain(void* renewer) {
  ::pthread_setname_np(::pthread_self(), "leaseplane-ttl");
  static_cast<Renewer*>(renewer)->Run();
  return nullptr;
}

void Renewer::Run() {
  RenewalSchedule::Due due;
  std::vector<std::pair<Key, Reason>> refused;
  std::vector<std::function<void()>> tasks;
  for (;;) {
    bool is_alarm = false;
    {
      const MutexLock lock(&mu_);
      if (stopping_) return;
      const int64_t now_ns = BootNowNs();
      schedule_.Step(now_ns, due);
      refused.swap(refused_);
      tasks.swap(tasks_);
      is_alarm = alarm_ns_ <= now_ns;
      if (is_alarm) alarm_ns_ = RenewalSchedule::kNothing;
      SetTimer(std::min(schedule_.NextNs(), alarm_ns_));
    }
    for (Key key : due.lost) port_.OnLost(key, Reason::kLeaseExpired);
    for (const auto& [key, reason] : refused) port_.OnLost(key, reason);
    refused.clear();
    for (const auto& renewal : due.renewals) port_.StartRenewal(renewal.key, renewal.timeout_ns);
    if (is_alarm) port_.OnAlarm();
    for (const std::function<void()>& task : tasks) task();
    tasks.clear();

    pollfd items[2] = {{timer_fd_.get(), POLLIN, 0}, {wake_fd_.get(), POLLIN, 0}};
    ::poll(items, 2, -1);
    uint64_t count = 0;
    for (const pollfd& item : items) {
      if ((item.revents & POLLIN) == 0) continue;
      [[maybe_unused]] const ssize_t n = ::read(item.fd, &count, sizeof(count));
    }
  }
}

}  // namespace leaseplane::internal
