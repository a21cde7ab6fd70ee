// SPDX-License-Identifier: Apache-2.0
//
// Oracle: knows who may rightly hold each slot, from what actors say they were told, and judges
// every write to a shared word against it.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "core/pool/waiter.h"
#include "tests/model/explorer/sim_memory.h"

namespace leaseplane::explorer {

class World;

inline constexpr uint64_t kNever = UINT64_MAX;  // as a number of writes

class Oracle : public MemoryObserver {
 public:
  explicit Oracle(World& world) : world_(world) {}
  void Reset();

  // -- what actors are told
  void OnAcquired(int thread, const LocalGrant& grant);   // right when the call returns
  void OnReleasing(int thread, const LocalGrant& grant);  // right before the call
  void OnReleased(int thread, const LocalGrant& grant, ReleaseResult result);
  void OnWaitFailed(int thread, WaitResult result);
  // For the segment that takes the place of the one its process has left; 0: nothing.
  void OnDeclared(SlotIndex slot, FencingToken token);
  void OnRemoteHolds(int remote, SlotIndex slot, FencingToken token);
  void OnRemoteReturns(SlotIndex slot);
  // -- what faults and the administrator do
  void OnProcessGone(int process);  // killed or revoked: its holds are nobody's now
  void AllowTakingBack(SlotIndex slot, Generation gen);
  void OnLocked(SlotIndex slot);     // right when the call returns
  void OnUnlocking(SlotIndex slot);  // right before the call

  void OnWrite(const uint64_t& word, uint64_t before, uint64_t after) override;
  void OnTrace(const char* operation, const void* word, uint64_t a, uint64_t b) override;
  bool KeepBack() override;

  void OnDaemonSleeps();
  bool AnyHolder() const;
  // Token under which a thread of `process` holds `slot`, 0: none.
  FencingToken HeldBy(int process, SlotIndex slot) const;

 private:
  struct SlotFacts {
    int holder = 0;  // 0, thread + 1, or kRemote + remote
    Generation holder_gen = 0;
    Generation gen_max = 0;       // of any grant
    Generation returned = 0;      // generation whose holder was told
    FencingToken token = 0;       // the same, whole
    Epoch base = 1;               // of the present numbering
    FencingToken declared = 0;    // in a segment that takes the place of this one
    Generation taken = 0;         // generation that the administrator took back
    uint64_t granted_at = 0;      // when it was last granted, in writes
    uint64_t withheld_at = 0;     // when its grant bit was last cleared, in writes
    uint64_t locked_at = kNever;  // since when the administrator has it locked, in writes
  };
  static constexpr int kRemote = 100;

  void OnSlotWrite(SlotIndex slot, uint64_t before, uint64_t after);
  void OnHeld(SlotIndex slot, FencingToken token);
  void OnRenumbered(SlotIndex slot, uint64_t after);
  void OnGrant(SlotIndex slot, uint64_t before, uint64_t after, bool by_daemon);
  void OnFreed(SlotIndex slot, uint64_t before, uint64_t after, bool by_daemon);
  void OnGrantBits(uint64_t before, uint64_t after);
  void Check(bool ok, const char* why) {
    if (!ok) TheScheduler().Fail(why);
  }

  World& world_;
  std::array<SlotFacts, 4> facts_;
  uint64_t writes_ = 0;
};

}  // namespace leaseplane::explorer
