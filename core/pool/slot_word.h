// SPDX-License-Identifier: Apache-2.0
//
// The slot word: one 64-bit integer that is the whole truth about one slot.
//
//   63 62 61        50 49            36 35                                    0
//  +-----+-----------+----------------+----------------------------------------+
//  |state| reserved 0|     owner      |               generation               |
//  +-----+-----------+----------------+----------------------------------------+
//
// A slot changes hands by one compare-and-swap of this word. The generation counts grants: FREE|g
// becomes BUSY|owner|g+1, and every path out of BUSY keeps the generation. So each (slot,
// generation) pair is held at most once, and a late release of an old holder cannot match.
//
// Pure functions over integers; any thread; no errors: a word that another process may have
// written is judged by IsWellFormed() before it is used.
#pragma once

#include <cstdint>

#include "core/base/ids.h"

namespace leaseplane {

using SlotWord = uint64_t;

// All-zero memory (a hole punched into the segment) reads as kInvalid, which is never grantable.
enum class SlotState : uint32_t { kInvalid = 0, kFree = 1, kBusy = 2, kLocked = 3 };

inline constexpr int kStateShift = 62;
inline constexpr int kOwnerShift = kGenerationBits;

constexpr SlotWord MakeWord(SlotState state, SessionIndex owner, Generation gen) {
  return (static_cast<uint64_t>(state) << kStateShift) | (uint64_t{owner} << kOwnerShift) |
         (gen & kGenerationMax);
}
constexpr SlotWord FreeWord(Generation gen) { return MakeWord(SlotState::kFree, kOwnerNone, gen); }
constexpr SlotWord BusyWord(SessionIndex owner, Generation gen) {
  return MakeWord(SlotState::kBusy, owner, gen);
}
constexpr SlotWord LockedWord(Generation gen) {
  return MakeWord(SlotState::kLocked, kOwnerDaemon, gen);
}

constexpr SlotState StateOf(SlotWord word) { return static_cast<SlotState>(word >> kStateShift); }
constexpr SessionIndex OwnerOf(SlotWord word) {
  return static_cast<SessionIndex>(word >> kOwnerShift) & (kOwnerCount - 1);
}
constexpr Generation GenerationOfWord(SlotWord word) { return word & kGenerationMax; }

// The last generation a client may grant from; above it only the daemon acts (renumbering).
inline constexpr Generation kGrantableGenerationMax = kGenerationMax - (Generation{1} << 32);

// True if the fields fit together: reserved bits zero, owner as the state demands.
constexpr bool IsWellFormed(SlotWord word) {
  constexpr uint64_t kReserved = uint64_t{0xfff} << (kOwnerShift + kOwnerBits);
  if ((word & kReserved) != 0) return false;
  switch (StateOf(word)) {
    case SlotState::kFree:
      return OwnerOf(word) == kOwnerNone;
    case SlotState::kBusy:
      return OwnerOf(word) >= kOwnerDaemon;
    case SlotState::kLocked:
      return OwnerOf(word) == kOwnerDaemon;
    case SlotState::kInvalid:
      return false;
  }
  return false;
}

// True if a client may try to take a slot that reads `word`: FREE, nobody's, generation below the
// last one. These words are neighbours, so it takes one comparison.
constexpr bool IsGrantable(SlotWord word) { return word - FreeWord(0) < kGrantableGenerationMax; }

}  // namespace leaseplane
