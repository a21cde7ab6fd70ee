// SPDX-License-Identifier: Apache-2.0
//
// The daemon's side of a pool whose words anybody writes: each 12 bytes are a step (operation,
// slot, argument, word). The daemon's own grants stay apart and their generations grow.
#include <map>
#include <memory>

#include "tests/fuzz/input.h"
#include "tests/unit/core/pool/heap_pool.h"

namespace leaseplane::fuzz {
namespace {

constexpr uint32_t kSlots = 8;
constexpr SessionIndex kSessions = 6;

class Daemon {
 public:
  Daemon() : pool_(kSlots), authority_(pool_.words(), kSlots) {
    authority_.SetEpoch(3);
    authority_.Initialize(1000, true, now_ns_);
    for (SessionIndex s = kOwnerSessionFirst; s < kSessions; ++s) pool_.Activate(s);
  }

  void Step(Input& input) {
    const auto operation = input.Take<uint8_t>();
    const SlotIndex slot = input.Take<uint8_t>() % kSlots;
    const auto argument = input.Take<uint16_t>();
    const auto word = input.Take<uint64_t>();
    now_ns_ += argument;
    RecordingMemory::wakes.clear();
    switch (operation % 12) {
      case 0:
      case 1:
        return pool_.SetWord(slot, word);
      case 2:
        return pool_.SetWord(slot, FreeWord(GenerationOfWord(pool_.Word(slot)) + argument));
      case 3:
        return RecordingMemory::Store(*pool_.words().wcnt, word);
      case 4:
        return Scan(argument);
      case 5:
        return Granted(authority_.Grant(kOwnerDaemon, now_ns_));
      case 6:
        return Granted(authority_.GrantSlot(slot, kOwnerDaemon, now_ns_));
      case 7:
        return GiveBack(slot);
      case 8:
        authority_.Lock(slot);
        return;
      case 9:
        return authority_.Unlock(slot);
      case 10:
        return End(kOwnerSessionFirst + argument % (kSessions - kOwnerSessionFirst));
      default:
        if (argument % 2 == 0) return authority_.Repair(slot);
        return authority_.SetGate(static_cast<shm::Gate>(word % 3));
    }
  }

 private:
  void Scan(int64_t since_ns) {
    authority_.Scan(
        now_ns_, since_ns,
        [this](SessionIndex s) {
          return s < kOwnerCount && RecordingMemory::Load(pool_.words().sessions[s]) ==
                                        HeapPool<RecordingMemory>::ActiveWord(s);
        },
        report_);
    for (const SlotEvent& event : report_.events) Must(event.slot < kSlots, "an unknown slot");
    for (const auto& [slot, gen] : held_) {
      Must(authority_.shadow(slot).daemon_held, "a held slot was forgotten");
    }
  }
  void Granted(const std::optional<SlotGrant>& grant) {
    if (!grant.has_value()) return;
    Must(grant->slot < kSlots, "an unknown slot was granted");
    Must(held_.count(grant->slot) == 0, "a held slot was granted");
    Must(grant->gen > last_[grant->slot], "a generation was granted twice");
    last_[grant->slot] = grant->gen;
    held_[grant->slot] = grant->gen;
  }
  void GiveBack(SlotIndex slot) {
    const auto found = held_.find(slot);
    if (found == held_.end()) return;
    authority_.TakeBack(slot, kOwnerDaemon, found->second);
    held_.erase(found);
  }
  void End(SessionIndex session) {
    pool_.Revoke(session);
    taken_.clear();
    authority_.EndSessions({&session, 1}, taken_);
    pool_.Activate(session);
  }

  int64_t now_ns_ = 1'000'000;
  HeapPool<RecordingMemory> pool_;
  Authority<RecordingMemory> authority_;
  ScanReport report_;
  std::vector<SlotEvent> taken_;
  std::map<SlotIndex, Generation> held_, last_;
};

}  // namespace
}  // namespace leaseplane::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  leaseplane::fuzz::Input input(data, size);
  leaseplane::fuzz::Daemon daemon;
  while (input.size() > 0) daemon.Step(input);
  return 0;
}
