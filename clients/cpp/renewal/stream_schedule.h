// SPDX-License-Identifier: Apache-2.0
//
// StreamSchedule: when the stream that renews leases and hears about them is opened, what is said
// on it, and when it has failed. Pure: the time comes in, work comes out; no thread, no clock.
//
// A lease becomes known to the daemon's side of the stream by its first renewal there. So that
// leases held for a moment cost nothing, a lease is announced (renewed although that is not due)
// only kAnnounceAfterNs after it was granted, and the stream is opened for the first announcement.
// Renewals that are due go over the stream once it has answered something, and by calls of their
// own while it is down. A renewal that is not answered in time means that the stream is dead,
// whatever TCP thinks. Streams that break are opened again after pauses that double, with jitter.
//
// Owner: one caller at a time. Errors: none; what is not known is ignored.
// Cost: O(log n) an operation.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "clients/cpp/renewal/renewal_schedule.h"

namespace leaseplane::internal {

class StreamSchedule {
 public:
  using Key = RenewalSchedule::Key;
  static constexpr int64_t kNothing = RenewalSchedule::kNothing;
  static constexpr int64_t kAnnounceAfterNs = 200'000'000;
  static constexpr int64_t kAnswerTimeoutNs = 5'000'000'000;  // of an announcement
  static constexpr int64_t kPauseMinNs = 100'000'000;
  static constexpr int64_t kPauseMaxNs = 5'000'000'000;
  // After a refusal that will not change soon: a daemon that does not know the stream.
  static constexpr int64_t kRefusedPauseNs = 60'000'000'000;
  // A stream that lived so long was sound.
  static constexpr int64_t kSoundAfterNs = 10'000'000'000;

  // A renewal to be sent; answers carry its sequence.
  struct Ask {
    Key key = 0;
    int64_t sequence = 0;
  };
  // A renewal that was sent.
  struct Asked {
    Key key = 0;
    int64_t sent_ns = 0;
    int64_t give_up_ns = 0;
    bool is_due = false;  // the renewal schedule waits for the outcome
  };
  // What to do now, in this order.
  struct Work {
    bool open = false;    // start a stream; it is opening from now on
    bool cancel = false;  // the stream is dead: end it, and say so with Ended
    std::vector<Ask> announce;
  };
  enum class End { kBroken, kRefused };

  explicit StreamSchedule(uint64_t seed) : random_(seed) {}

  void Add(Key key, int64_t now_ns);
  void Remove(Key key);
  // The stream is wanted also while no lease is there.
  void Want() { wanted_ = true; }

  // Replaces the contents of `work`.
  void Step(int64_t now_ns, Work& work);
  // When Step is needed next; kNothing if nothing is to be done.
  int64_t NextNs() const;

  // A renewal that is due. nullopt: not over the stream, which is not known to work.
  std::optional<Ask> AskDue(Key key, int64_t now_ns, int64_t timeout_ns);
  // The answer with that sequence has come; nullopt: it was not waited for.
  std::optional<Asked> Answered(int64_t sequence);
  // That renewal was not sent after all.
  void TakeBack(int64_t sequence);
  // The stream is over. Gives the renewals that were due and are not answered.
  std::vector<Key> Ended(int64_t now_ns, End end);

 private:
  enum class State { kDown, kOpening, kOpen, kDead };

  Asked Forget(std::map<int64_t, Asked>::iterator asked);
  Ask Record(Key key, int64_t now_ns, int64_t timeout_ns, bool is_due);

  State state_ = State::kDown;
  bool wanted_ = false;
  int failures_ = 0;
  int64_t retry_ns_ = 0, opened_ns_ = 0;
  int64_t last_sequence_ = 0;
  absl::flat_hash_map<Key, int64_t> announce_ns_;  // of every lease
  std::set<std::pair<int64_t, Key>> to_announce_;  // of those not said on this stream
  std::map<int64_t, Asked> asked_;                 // by sequence
  std::set<std::pair<int64_t, int64_t>> give_up_;  // (instant, sequence) of asked_
  std::minstd_rand random_;
};

}  // namespace leaseplane::internal
