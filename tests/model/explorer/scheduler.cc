// SPDX-License-Identifier: Apache-2.0
#include "tests/model/explorer/scheduler.h"

#include <bit>
#include <cstdlib>
#include <iterator>

namespace leaseplane::explorer {
namespace {

// An execution that goes on for longer is taken for a livelock.
constexpr uint32_t kStepsMax = 20'000;
// Random mode: one point in so many may switch or strike; drawn anew for each execution, since
// some errors need many switches and others long runs.
constexpr uint32_t kStays[] = {2, 4, 8, 16, 40};

}  // namespace

Scheduler& TheScheduler() {
  static Scheduler scheduler;
  return scheduler;
}

void Scheduler::StartDepthFirst() {
  mode_ = SearchMode::kDepthFirst;
  path_.clear();
  first_ = true;
}

void Scheduler::StartRandom(uint64_t seed) {
  mode_ = SearchMode::kRandom;
  random_state_ = seed * 2 + 1;
  first_ = true;
}

void Scheduler::StartReplay(const std::vector<int>& picks) {
  mode_ = SearchMode::kReplay;
  path_.clear();
  for (int pick : picks) path_.push_back({0, static_cast<uint16_t>(pick)});
  first_ = true;
}

bool Scheduler::NextExecution() {
  if (mode_ == SearchMode::kRandom) {
    path_.clear();
    stay_ = kStays[Draw(std::size(kStays))];
    return true;
  }
  if (first_) {
    first_ = false;
    return true;
  }
  if (mode_ == SearchMode::kReplay) return false;
  while (!path_.empty() && path_.back().pick + 1 >= path_.back().count) path_.pop_back();
  if (path_.empty()) return false;
  ++path_.back().pick;
  return true;
}

std::vector<int> Scheduler::Picks() const {
  std::vector<int> picks;
  for (size_t i = 0; i < position_; ++i) picks.push_back(path_[i].pick);
  while (!picks.empty() && picks.back() == 0) picks.pop_back();
  return picks;
}

void Scheduler::Begin(FaultSource* faults, int preemptions) {
  faults_ = faults;
  preemptions_left_ = preemptions;
  position_ = 0;
  fiber_count_ = 0;
  current_ = -1;
  ready_ = 0;
  steps_ = 0;
  failure_.clear();
}

int Scheduler::Spawn(const char* name, Body body) {
  const int id = fiber_count_++;
  if (id >= kFibersMax) std::abort();
  Actor& actor = actors_[static_cast<size_t>(id)];
  actor.body = std::move(body);
  actor.name = name;
  actor.waiting = nullptr;
  actor.state = State::kReady;
  actor.fiber.Reset(&Scheduler::Trampoline);
  ready_ |= 1u << id;
  return id;
}

void Scheduler::Trampoline() {
  Scheduler& s = TheScheduler();
  Actor& actor = s.actors_[static_cast<size_t>(s.current_)];
  actor.body();
  actor.state = State::kFinished;
  s.ready_ &= ~(1u << s.current_);
  s.LeaveCurrent();
  std::abort();  // a finished fiber is never resumed
}

void Scheduler::Run() {
  const uint32_t first = Decide(static_cast<uint32_t>(std::popcount(ready_)), false);
  current_ = Nth(ready_, first);
  Fiber::Switch(outside_, actors_[static_cast<size_t>(current_)].fiber);
}

void Scheduler::SwitchTo(int fiber) {
  if (fiber == current_) return;
  const int from = current_;
  current_ = fiber;
  Fiber::Switch(actors_[static_cast<size_t>(from)].fiber,
                actors_[static_cast<size_t>(fiber)].fiber);
}

void Scheduler::SwitchToOutside() {
  Fiber::Switch(actors_[static_cast<size_t>(current_)].fiber, outside_);
}

void Scheduler::Point() {
  ++points_;
  if (++steps_ > kStepsMax) Fail("the execution does not end");
  for (;;) {
    const uint32_t others = preemptions_left_ > 0 ? ready_ & ~(1u << current_) : 0;
    const auto switches = static_cast<uint32_t>(std::popcount(others));
    const uint32_t faults = faults_->CountFaults(current_);
    const uint32_t pick = Decide(1 + switches + faults, true);
    if (pick == 0) return;
    if (pick <= switches) {
      --preemptions_left_;
      SwitchTo(Nth(others, pick - 1));
      return;
    }
    const int self = current_;
    faults_->ApplyFault(self, pick - 1 - switches);
    if (actors_[static_cast<size_t>(self)].state == State::kDead) LeaveCurrent();
    const uint32_t rest = ready_ & ~(1u << self);
    const uint32_t next = Decide(1 + static_cast<uint32_t>(std::popcount(rest)), false);
    if (next != 0) SwitchTo(Nth(rest, next - 1));
  }
}

void Scheduler::Yield() {
  ++points_;
  const uint32_t others = ready_ & ~(1u << current_);
  const uint32_t pick = Decide(1 + static_cast<uint32_t>(std::popcount(others)), false);
  if (pick != 0) SwitchTo(Nth(others, pick - 1));
}

void Scheduler::BlockOn(const void* what) {
  Actor& self = actors_[static_cast<size_t>(current_)];
  self.waiting = what;
  self.state = State::kBlocked;
  ready_ &= ~(1u << current_);
  LeaveCurrent();
}

void Scheduler::LeaveCurrent() {
  const int self = current_;
  for (;;) {
    if (ready_ == 0) SwitchToOutside();  // never comes back
    const auto switches = static_cast<uint32_t>(std::popcount(ready_));
    const State state = actors_[static_cast<size_t>(self)].state;
    const bool alive = state == State::kReady || state == State::kBlocked;
    const uint32_t pick = Decide(switches + (alive ? faults_->CountFaults(self) : 0), false);
    if (pick < switches) {
      SwitchTo(Nth(ready_, pick));
      return;
    }
    faults_->ApplyFault(self, pick - switches);
  }
}

void Scheduler::Unblock(int fiber) {
  Actor& actor = actors_[static_cast<size_t>(fiber)];
  if (actor.state != State::kBlocked) return;
  actor.waiting = nullptr;
  actor.state = State::kReady;
  ready_ |= 1u << fiber;
}

int Scheduler::Wake(const void* what, int count, const void* or_what) {
  int woken = 0;
  while (count-- > 0) {
    uint32_t sleepers = 0;
    for (int f = 0; f < fiber_count_; ++f) {
      const Actor& actor = actors_[static_cast<size_t>(f)];
      if (actor.state != State::kBlocked) continue;
      if (actor.waiting == what || actor.waiting == or_what) sleepers |= 1u << f;
    }
    if (sleepers == 0) break;
    const auto number = static_cast<uint32_t>(std::popcount(sleepers));
    const bool all = static_cast<uint32_t>(count) + 1 >= number;
    Unblock(Nth(sleepers, all ? 0 : Decide(number, false)));
    ++woken;
  }
  return woken;
}

void Scheduler::Kill(int fiber) {
  Actor& actor = actors_[static_cast<size_t>(fiber)];
  if (actor.state == State::kFinished) return;
  actor.state = State::kDead;
  actor.waiting = nullptr;
  ready_ &= ~(1u << fiber);
}

void Scheduler::Fail(const std::string& why) {
  MarkFailed(why);
  SwitchToOutside();
  std::abort();
}

void Scheduler::MarkFailed(const std::string& why) {
  if (failure_.empty()) failure_ = why;
}

uint32_t Scheduler::Choose(uint32_t count) { return Decide(count, false); }

uint32_t Scheduler::Draw(uint32_t count) {
  random_state_ ^= random_state_ << 13;
  random_state_ ^= random_state_ >> 7;
  random_state_ ^= random_state_ << 17;
  return static_cast<uint32_t>((random_state_ * 0x9e3779b97f4a7c15u) >> 33) % count;
}

uint32_t Scheduler::Decide(uint32_t count, bool sticky) {
  if (count <= 1) return 0;
  if (position_ < path_.size()) {
    Decision& d = path_[position_++];
    if (mode_ == SearchMode::kDepthFirst && d.count != count) {
      MarkFailed("the simulation itself is not deterministic");
    }
    d.count = static_cast<uint16_t>(count);
    return d.pick < count ? d.pick : 0;
  }
  uint32_t pick = 0;
  if (mode_ == SearchMode::kRandom && (!sticky || Draw(stay_) == 0)) pick = Draw(count);
  path_.push_back({static_cast<uint16_t>(count), static_cast<uint16_t>(pick)});
  ++position_;
  return pick;
}

int Scheduler::Nth(uint32_t mask, uint32_t n) const {
  while (n-- > 0) mask &= mask - 1;
  return std::countr_zero(mask);
}

}  // namespace leaseplane::explorer
