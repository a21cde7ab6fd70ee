// SPDX-License-Identifier: Apache-2.0
#include "tests/model/explorer/oracle.h"

#include <cstdio>

#include "tests/model/explorer/world.h"

namespace leaseplane::explorer {

void Oracle::Reset() {
  facts_.fill({});
  for (SlotFacts& f : facts_) {
    if (world_.config.renumber_after <= 0) f.gen_max = kFirstGeneration;
  }
  writes_ = 0;
}

void Oracle::OnAcquired(int thread, const LocalGrant& grant) {
  const Process& p =
      world_.processes[static_cast<size_t>(world_.threads[static_cast<size_t>(thread)].process)];
  SlotFacts& f = facts_[grant.slot];
  const Generation gen = GenerationOf(grant.token);
  if (p.revoked) {
    // Taken before the session ended: too late, only the token protects now.
    Check(EpochOf(grant.token) < f.base || f.gen_max != gen || f.granted_at < p.revoked_at,
          "a session that had ended was given a slot");
    return;
  }
  if (f.taken == gen) return;  // as late
  Check(f.holder == 0, "two holders of one slot");
  Check(world_.slots[grant.slot] == BusyWord(p.owner, gen),
        "acquired, but the word says otherwise");
  const bool withheld = (world_.grant_bits >> grant.slot & 1) == 0;
  Check(!withheld || f.withheld_at > f.granted_at, "took a slot that was withheld before");
  Check(f.granted_at <= f.locked_at, "took a slot that was locked before");
  Check(f.granted_at <= p.left_at, "took a slot in a segment that had been left");
  Check(!p.has_declared || f.declared == grant.token, "a lease was declared too late");
  OnHeld(grant.slot, grant.token);
  f.holder = thread + 1;
  f.holder_gen = gen;
}

// The token is above all before it, valid now, and the one before it is not valid any more.
void Oracle::OnHeld(SlotIndex slot, FencingToken token) {
  SlotFacts& f = facts_[slot];
  const Epoch base = world_.base_epochs[slot], epoch = shm::PolicyEpoch(world_.policy);
  Check(token > f.token, "a token was given out twice or went back");
  Check(EpochOf(token) >= base && EpochOf(token) <= epoch, "a holder's token is not valid");
  Check(epoch <= world_.stored_epoch, "an epoch that the disk does not have");
  Check(GenerationOf(f.token) != GenerationOf(token) || EpochOf(f.token) < base,
        "the token of an earlier numbering is valid");
  f.returned = GenerationOf(token);
  f.token = token;
}

void Oracle::OnReleasing(int thread, const LocalGrant& grant) {
  SlotFacts& f = facts_[grant.slot];
  if (f.holder == thread + 1 && f.holder_gen == GenerationOf(grant.token)) f.holder = 0;
}

void Oracle::OnReleased(int thread, const LocalGrant& grant, ReleaseResult result) {
  const Process& p =
      world_.processes[static_cast<size_t>(world_.threads[static_cast<size_t>(thread)].process)];
  const SlotFacts& f = facts_[grant.slot];
  const bool has_left = p.left_at != kNever && result == ReleaseResult::kMoved;
  const bool excused = p.revoked || f.taken == GenerationOf(grant.token) || has_left;
  Check(result == ReleaseResult::kOk || excused, "a release failed though nobody revoked");
  Check(result != ReleaseResult::kOk || f.declared != grant.token,
        "a lease that was released will be declared");
}

void Oracle::OnWaitFailed(int thread, WaitResult result) {
  const AppThread& t = world_.threads[static_cast<size_t>(thread)];
  const Process& p = world_.processes[static_cast<size_t>(t.process)];
  Check(result != WaitResult::kGone || p.revoked, "gone, but the session lives");
  Check(result != WaitResult::kTimeout || t.now_ns >= kDeadlineNs, "timed out before the deadline");
  Check(result != WaitResult::kMoved || p.left_at != kNever, "moved, but the segment lives");
  Check(result != WaitResult::kDrained || world_.drained_once, "drained, but nobody drains");
  Check(result != WaitResult::kQueueFull || (world_.config.fifo && world_.refused_once),
        "queue full, but nobody was refused");
}

void Oracle::OnRemoteHolds(int remote, SlotIndex slot, FencingToken token) {
  SlotFacts& f = facts_[slot];
  const Generation gen = GenerationOf(token);
  Check(f.holder == 0, "two holders of one slot, one of them remote");
  Check(f.granted_at <= f.locked_at, "a slot that was locked before is leased");
  Check(world_.slots[slot] == BusyWord(kOwnerDaemon, gen), "a remote lease without its word");
  OnHeld(slot, token);
  f.holder = kRemote + remote;
  f.holder_gen = gen;
}

FencingToken Oracle::HeldBy(int process, SlotIndex slot) const {
  const SlotFacts& f = facts_[slot];
  if (f.holder == 0 || f.holder >= kRemote) return 0;
  return world_.threads[static_cast<size_t>(f.holder - 1)].process == process ? f.token : 0;
}

void Oracle::OnDeclared(SlotIndex slot, FencingToken token) {
  if (token != 0) facts_[slot].declared = token;
}

void Oracle::OnRemoteReturns(SlotIndex slot) { facts_[slot].holder = 0; }

void Oracle::OnProcessGone(int process) {
  for (SlotFacts& f : facts_) {
    if (f.holder == 0 || f.holder >= kRemote) continue;
    if (world_.threads[static_cast<size_t>(f.holder - 1)].process == process) f.holder = 0;
  }
}

void Oracle::AllowTakingBack(SlotIndex slot, Generation gen) {
  SlotFacts& f = facts_[slot];
  f.taken = gen;
  if (f.holder != 0 && f.holder_gen == gen) f.holder = 0;
}

void Oracle::OnLocked(SlotIndex slot) { facts_[slot].locked_at = writes_; }

void Oracle::OnUnlocking(SlotIndex slot) { facts_[slot].locked_at = kNever; }

void Oracle::OnDaemonSleeps() {
  // Bounded overtaking: a closed gate sends every local waiter to the queue.
  if (world_.unfair_once) return;
  if (shm::GateOf(world_.policy) != shm::Gate::kClosed) return;
  for (size_t t = 0; t < world_.config.threads.size(); ++t) {
    const int fiber = world_.threads[t].fiber;
    Check(!TheScheduler().IsBlockedOn(fiber, &world_.wseq) &&
              !TheScheduler().IsBlockedOn(fiber, SimMemory::StarvedAt(world_.wseq)),
          "a waiter sleeps outside the queue while the gate is closed");
  }
}

bool Oracle::AnyHolder() const {
  for (const SlotFacts& f : facts_) {
    if (f.holder != 0) return true;
  }
  return false;
}

void Oracle::OnWrite(const uint64_t& word, uint64_t before, uint64_t after) {
  ++writes_;
  if (&word >= world_.slots.data() && &word < world_.slots.data() + world_.slots.size()) {
    OnSlotWrite(static_cast<SlotIndex>(&word - world_.slots.data()), before, after);
  } else if (&word == &world_.grant_bits) {
    OnGrantBits(before, after);
  } else if (&word >= world_.sessions.data() &&
             &word < world_.sessions.data() + world_.sessions.size()) {
    for (int i = 0; i < world_.process_count; ++i) {
      Process& p = world_.processes[static_cast<size_t>(i)];
      if (&word != &world_.sessions[p.owner]) continue;
      if (!p.revoked) p.revoked_at = writes_;
      p.revoked = true;
      OnProcessGone(i);
    }
  } else {
    constexpr uint64_t kFlags = ProcessFlags<SimMemory>::kAttachStep - 1;
    for (int i = 0; i < world_.process_count; ++i) {
      Process& p = world_.processes[static_cast<size_t>(i)];
      const bool leaves = &word == &p.flags.word && (before & ~kFlags) != (after & ~kFlags);
      if (leaves && p.left_at == kNever) p.left_at = writes_;
    }
  }
}

void Oracle::OnSlotWrite(SlotIndex slot, uint64_t before, uint64_t after) {
  Check(IsWellFormed(after), "a malformed word was written");
  const int process = world_.ProcessOfFiber(TheScheduler().current());
  const bool by_daemon = process < 0;
  const SlotState from = StateOf(before), to = StateOf(after);
  if (from == SlotState::kFree && to == SlotState::kBusy) {
    OnGrant(slot, before, after, by_daemon);
  } else if (from == SlotState::kBusy) {
    OnFreed(slot, before, after, by_daemon);
  } else if (by_daemon && GenerationOfWord(after) < GenerationOfWord(before)) {
    OnRenumbered(slot, after);
  } else {
    Check(by_daemon, "a client wrote what only the daemon may write");
  }
  if (!by_daemon) {
    const SessionIndex owner = world_.processes[static_cast<size_t>(process)].owner;
    Check(OwnerOf(to == SlotState::kBusy ? after : before) == owner, "a client wrote for another");
  }
}

void Oracle::OnRenumbered(SlotIndex slot, uint64_t after) {
  SlotFacts& f = facts_[slot];
  const Epoch epoch = shm::PolicyEpoch(world_.policy);
  Check(after == FreeWord(0) && epoch > f.base, "a generation went back");
  Check(f.holder == 0, "a held slot was renumbered");
  f.base = epoch;
  f.gen_max = 0;
}

void Oracle::OnGrant(SlotIndex slot, uint64_t before, uint64_t after, bool by_daemon) {
  SlotFacts& f = facts_[slot];
  const Generation gen = GenerationOfWord(after);
  Check(gen > GenerationOfWord(before) && gen > f.gen_max, "a grant under an old generation");
  const bool granted = (world_.grant_bits >> slot & 1) != 0;
  if (by_daemon && OwnerOf(after) == kOwnerDaemon) {
    Check(!granted, "the daemon took a slot for itself before it cleared the grant bit");
  }
  f.gen_max = gen;
  f.granted_at = writes_;
}

void Oracle::OnFreed(SlotIndex slot, uint64_t before, uint64_t after, bool by_daemon) {
  SlotFacts& f = facts_[slot];
  const Generation gen = GenerationOfWord(before);
  Check(GenerationOfWord(after) == gen, "a way out of BUSY changed the generation");
  Check(StateOf(after) != SlotState::kBusy, "a held slot changed hands without being free");
  Check(f.holder == 0, by_daemon ? "the daemon took a slot from a live holder"
                                 : "a client freed a slot that another holds");
  const bool must_lock = world_.config.locked && f.returned == gen;
  Check(!must_lock || StateOf(after) == SlotState::kLocked, "a released slot skipped its cleaning");
}

void Oracle::OnGrantBits(uint64_t before, uint64_t after) {
  for (SlotIndex i = 0; i < static_cast<SlotIndex>(world_.config.slots); ++i) {
    const bool was = (before >> i & 1) != 0, is = (after >> i & 1) != 0;
    if (was && !is) facts_[i].withheld_at = writes_;
    Check(!is || facts_[i].holder < kRemote, "the grant bit of a remote lease was set");
  }
}

bool Oracle::KeepBack() {
  if (world_.config.keeps == 0 || TheScheduler().Choose(2) == 0) return false;
  --world_.config.keeps;
  return true;
}

void Oracle::OnTrace(const char* operation, const void* word, uint64_t a, uint64_t b) {
  const int fiber = TheScheduler().current();
  std::printf("  %-9s %-12s %-14s %llx %llx\n", TheScheduler().NameOf(fiber), operation,
              world_.NameOf(word).c_str(), static_cast<unsigned long long>(a),
              static_cast<unsigned long long>(b));
}

}  // namespace leaseplane::explorer
