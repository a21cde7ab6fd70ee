// SPDX-License-Identifier: Apache-2.0
//
// AuditBook: the questions the engine has put to sessions and what the answers amount to.
//
// Leak audit: "do you hold slot i under generation g?" Two answers "no" in a row, at least a second
// apart, mean that the holder lost track of the slot and that it can be taken back. No answer means
// nothing: a stopped process, or a process tree whose root is gone, keeps what it has.
//
// Damage audit: a word that cannot be true hides who holds the slot; every session is asked, and
// the claim with the highest plausible generation is believed.
//
// Bookkeeping only: who calls asks the questions, and acts. Answers to questions that are not the
// latest of their slot count for nothing.
#pragma once

#include <cstdint>
#include <optional>

#include "absl/container/flat_hash_map.h"
#include "core/base/ids.h"
#include "server/engine/types.h"

namespace leaseplane::engine {

inline constexpr int64_t kAuditHoldAge = 1 * kSecond;       // younger holds are not asked about
inline constexpr int64_t kAuditInterval = 5 * kSecond;      // a slot is asked about that often
inline constexpr int64_t kAuditConfirmAfter = 1 * kSecond;  // between the two answers "no"
inline constexpr int64_t kDamageClaimTime = 1 * kSecond;    // claims of a damaged slot are heard
inline constexpr uint32_t kAuditQuestionsMax = 64;          // a tick
inline constexpr uint32_t kAuditSlotsMax = 4096;            // looked at, a tick

class AuditBook {
 public:
  struct DamageCase {
    uint64_t question = 0;
    SessionIndex session = kOwnerNone;  // best claim so far
    Generation gen = 0;
  };

  // A number for the question if it is time to ask about this hold.
  std::optional<uint64_t> Ask(SlotIndex slot, SessionIndex session, Generation gen, int64_t now_ns);
  // Files the answer. The hold's generation if it is lost for good: take it back.
  std::optional<Generation> Answer(SlotIndex slot, SessionIndex session, Generation gen_held,
                                   uint64_t question, int64_t now_ns);
  // Since when a question about this hold has had no answer; kNever if none is open.
  int64_t UnansweredSinceNs(SlotIndex slot, SessionIndex session, Generation gen) const;
  // Time in which nobody could be heard does not count as unanswered.
  void ExtendUnanswered(int64_t by_ns);
  void Forget(SlotIndex slot) {
    if (!holds_.empty()) holds_.erase(slot);
  }

  // The words the questions were about are gone. Numbers of questions go on.
  void ForgetAll() {
    holds_.clear();
    damages_.clear();
  }

  // Opens a case and returns the number of the question.
  uint64_t OpenDamage(SlotIndex slot);
  DamageCase* FindDamage(SlotIndex slot);
  void CloseDamage(SlotIndex slot) { damages_.erase(slot); }

 private:
  struct Hold {
    SessionIndex session = kOwnerNone;
    Generation gen = 0;
    uint64_t question = 0;
    int64_t asked_ns = 0;
    int64_t denied_ns = 0;  // first of the answers "no" in a row; 0: none
    int64_t unanswered_since_ns = kNever;
  };

  uint64_t last_question_ = 0;
  absl::flat_hash_map<SlotIndex, Hold> holds_;
  absl::flat_hash_map<SlotIndex, DamageCase> damages_;
};

}  // namespace leaseplane::engine
