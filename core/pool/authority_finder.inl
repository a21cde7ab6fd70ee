// SPDX-License-Identifier: Apache-2.0
// Implementation of Authority: its use and care of the finder. Everything read here is a hint that
// clients may have written; the loops are bounded by the geometry.
#pragma once

#include <bit>

namespace leaseplane {

// Hints the daemon follows for one grant before it looks at every word.
inline constexpr int kGrantHintsMax = 64;

template <class M>
std::optional<SlotGrant> Authority<M>::GrantHinted(SessionIndex owner, int64_t now_ns) {
  SlotGrant grant;
  for (int tries = 0; tries < kGrantHintsMax; ++tries) {
    if (cursor_ >= capacity_) cursor_ = 0;
    const LeafBits taken = TakeBits(words_, cursor_, 1);
    if (taken.bits == 0) return std::nullopt;
    const SlotIndex slot = taken.first + static_cast<SlotIndex>(std::countr_zero(taken.bits));
    if (slot >= capacity_) continue;
    if (!TryGrantAt(slot, owner, now_ns, grant)) continue;
    cursor_ = slot + 1;
    return grant;
  }
  return std::nullopt;
}

// What a thread that ended cannot offer any more.
template <class M>
void Authority<M>::PublishWhatRecordNames(uint32_t record) {
  for (const auto& entry : words_.finder.records[record].entries) {
    const uint32_t named = M::LoadHint(entry);
    if (named == 0) return;
    if (named > words_.max_capacity) continue;
    if (StateOf(M::LoadHint(words_.Slot(named - 1))) == SlotState::kFree) {
      PublishSlot(words_, named - 1);
    }
  }
}

template <class M>
template <class IsDead>
void Authority<M>::FreeRecordsOf(const IsDead& is_dead) {
  for (uint32_t r = 0; r < words_.finder.record_count; ++r) {
    const uint64_t claim = M::LoadHint(words_.finder.records[r].claim);
    if (claim == 0 || claim >= kOwnerCount || !is_dead(static_cast<SessionIndex>(claim))) continue;
    PublishWhatRecordNames(r);
    FreeRecord(words_, r);
  }
}

// A slot that was free at two scans may be one whose hint was lost with a process. Once for each
// generation and after each end of a session: a thread may well keep it in its magazine.
template <class M>
void Authority<M>::RepublishFree(SlotIndex slot) {
  SlotShadow& s = shadow_[slot];
  if (s.republished || !words_.IsGranted(slot)) return;
  s.republished = true;
  PublishSlot(words_, slot);
}

// Counts the records in use, for the size of magazines, and frees those of nobody.
template <class M>
template <class IsActive>
void Authority<M>::TendRecords(const IsActive& is_active) {
  const FinderWords<M>& finder = words_.finder;
  uint32_t active = 0;
  for (uint64_t root = M::LoadHint(*finder.summary_root); root != 0; root &= root - 1) {
    const auto group = static_cast<uint32_t>(std::countr_zero(root));
    for (uint64_t rest = M::LoadHint(finder.summary[group]); rest != 0; rest &= rest - 1) {
      const uint32_t r = group * 64 + static_cast<uint32_t>(std::countr_zero(rest));
      if (r >= finder.record_count) break;
      const uint64_t claim = M::LoadHint(finder.records[r].claim);
      const bool valid = claim >= kOwnerSessionFirst && claim < kOwnerCount;
      if (valid && is_active(static_cast<SessionIndex>(claim))) {
        ++active;
      } else if (claim != 0) {
        PublishWhatRecordNames(r);
        FreeRecord(words_, r);
      }
    }
  }
  if (M::LoadHint(*finder.active_records) != active) M::Store(*finder.active_records, active);
}

// A thread that ended between emptying a word and looking again may have hidden what came after.
template <class M>
void Authority<M>::TendBitmap() {
  const FinderWords<M>& finder = words_.finder;
  for (int level = 1; level < finder.level_count; ++level) {
    for (uint64_t i = 0; i < finder.level_words[level - 1]; ++i) {
      if (M::LoadHint(finder.level[level - 1][i]) == 0) continue;
      auto& above = finder.level[level][i / 64];
      const uint64_t bit = uint64_t{1} << (i % 64);
      if ((M::LoadHint(above) & bit) == 0) M::FetchOr(above, bit);
    }
  }
}

}  // namespace leaseplane
