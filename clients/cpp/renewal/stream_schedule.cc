// SPDX-License-Identifier: Apache-2.0
#include "clients/cpp/renewal/stream_schedule.h"

#include <algorithm>

namespace leaseplane::internal {
namespace {

constexpr int kDoublingsMax = 6;  // 6.4 s, beyond kPauseMaxNs

}  // namespace

void StreamSchedule::Add(Key key, int64_t now_ns) {
  const int64_t announce_ns = now_ns + kAnnounceAfterNs;
  announce_ns_[key] = announce_ns;
  to_announce_.insert({announce_ns, key});
}

void StreamSchedule::Remove(Key key) {
  const auto found = announce_ns_.find(key);
  if (found == announce_ns_.end()) return;
  to_announce_.erase({found->second, key});
  announce_ns_.erase(found);
}

StreamSchedule::Ask StreamSchedule::Record(Key key, int64_t now_ns, int64_t timeout_ns,
                                           bool is_due) {
  const int64_t sequence = ++last_sequence_;
  asked_[sequence] = {key, now_ns, now_ns + timeout_ns, is_due};
  give_up_.insert({now_ns + timeout_ns, sequence});
  const auto known = announce_ns_.find(key);
  if (known != announce_ns_.end()) to_announce_.erase({known->second, key});
  return {key, sequence};
}

void StreamSchedule::Step(int64_t now_ns, Work& work) {
  work = Work();
  if (state_ == State::kDead) return;
  const bool has_news = !to_announce_.empty() && to_announce_.begin()->first <= now_ns;
  if (state_ == State::kDown) {
    if (now_ns < retry_ns_ || !(wanted_ || has_news)) return;
    state_ = State::kOpening;
    opened_ns_ = now_ns;
    work.open = true;
  }
  if (!give_up_.empty() && give_up_.begin()->first <= now_ns) {
    state_ = State::kDead;
    work.cancel = true;
    return;
  }
  while (!to_announce_.empty() && to_announce_.begin()->first <= now_ns) {
    const Key key = to_announce_.begin()->second;
    work.announce.push_back(Record(key, now_ns, kAnswerTimeoutNs, false));
  }
}

int64_t StreamSchedule::NextNs() const {
  if (state_ == State::kDead) return kNothing;
  int64_t next_ns = to_announce_.empty() ? kNothing : to_announce_.begin()->first;
  if (state_ == State::kDown) {
    if (wanted_) next_ns = 0;
    return next_ns == kNothing ? kNothing : std::max(next_ns, retry_ns_);
  }
  if (!give_up_.empty()) next_ns = std::min(next_ns, give_up_.begin()->first);
  return next_ns;
}

std::optional<StreamSchedule::Ask> StreamSchedule::AskDue(Key key, int64_t now_ns,
                                                          int64_t timeout_ns) {
  if (state_ != State::kOpen || !announce_ns_.contains(key)) return std::nullopt;
  return Record(key, now_ns, timeout_ns, true);
}

StreamSchedule::Asked StreamSchedule::Forget(std::map<int64_t, Asked>::iterator asked) {
  const Asked copy = asked->second;
  give_up_.erase({copy.give_up_ns, asked->first});
  asked_.erase(asked);
  return copy;
}

void StreamSchedule::TakeBack(int64_t sequence) {
  const auto found = asked_.find(sequence);
  if (found != asked_.end()) Forget(found);
}

std::optional<StreamSchedule::Asked> StreamSchedule::Answered(int64_t sequence) {
  const auto found = asked_.find(sequence);
  if (found == asked_.end()) return std::nullopt;
  const Asked asked = Forget(found);
  if (state_ == State::kOpening) state_ = State::kOpen;
  failures_ = 0;
  return asked;
}

std::vector<StreamSchedule::Key> StreamSchedule::Ended(int64_t now_ns, End end) {
  std::vector<Key> due;
  for (const auto& [sequence, asked] : asked_) {
    if (asked.is_due) due.push_back(asked.key);
  }
  asked_.clear();
  give_up_.clear();
  // Each is announced on the next stream as soon as there is one.
  to_announce_.clear();
  for (auto& [key, announce_ns] : announce_ns_) to_announce_.insert({announce_ns, key});

  if (now_ns - opened_ns_ >= kSoundAfterNs) failures_ = 0;
  int64_t pause_ns = kRefusedPauseNs;
  if (end == End::kBroken) {
    pause_ns = std::min(kPauseMinNs << std::min(failures_, kDoublingsMax), kPauseMaxNs);
  }
  ++failures_;
  std::uniform_int_distribution<int64_t> jitter(0, pause_ns / 2);
  retry_ns_ = now_ns + pause_ns - jitter(random_);
  state_ = State::kDown;
  return due;
}

}  // namespace leaseplane::internal
