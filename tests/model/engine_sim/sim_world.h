// SPDX-License-Identifier: Apache-2.0
//
// A seeded simulation of one pool: an engine, remote callers, co-located processes that take and
// release slots by direct CAS, their sockets, operators, time; and what kills them. After every
// step the rules that must always hold are checked against what the simulated holders believe,
// which is kept apart from the slot words, the ledger and the engine.
//
// One seed is one run; the same seed is the same run. A broken rule throws Broken with the story of
// the last steps.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "server/engine/pool_engine.h"
#include "tests/unit/server/engine/fake_world.h"

namespace leaseplane::engine {

struct Broken : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// The worker is killed at a write to the ledger, before or after it took effect.
struct Killed {};

class SimLedger final : public FakeLedger {
 public:
  uint64_t PutLease(const LeaseRecord& record) override {
    return Write([&] { return FakeLedger::PutLease(record); });
  }
  uint64_t RenewLease(SlotIndex slot, const LeaseTerm& term) override {
    return Write([&] { return FakeLedger::RenewLease(slot, term); });
  }
  uint64_t EndLease(SlotIndex slot, LeaseState ended_as, Instant now) override {
    return Write([&] { return FakeLedger::EndLease(slot, ended_as, now); });
  }
  int writes_until_kill = -1;  // negative: never
  bool kill_after_write = false;

 private:
  template <class Fn>
  uint64_t Write(Fn&& write) {
    if (writes_until_kill >= 0 && writes_until_kill-- == 0) {
      if (kill_after_write) write();
      throw Killed{};
    }
    return write();
  }
};

class SimWorld {
 public:
  explicit SimWorld(uint64_t seed);
  void Run(int steps);  // and then everybody leaves, and every slot must come back

 private:
  struct RemoteLease {  // what a caller knows
    Grant grant;
    int64_t until_ns = 0;  // it may believe that it holds it until then
  };
  struct Message {
    enum Kind { kGrant, kAudit } kind;
    SlotIndex slot;
    FencingToken token;  // kGrant
    uint64_t ticket;     // kGrant
    uint64_t question;   // kAudit
  };
  struct Process {
    std::map<SlotIndex, FencingToken> held;
    std::set<uint64_t> waiting;
    std::deque<Message> inbox;
    uint64_t last_ticket = 0;
  };
  struct Believer {
    FencingToken token = 0;
    SessionIndex session = kOwnerNone;  // kOwnerNone: a remote caller
    int64_t until_ns = kNever;
  };

  // sim_events.cc: what happens
  void Step();
  void PassTime(int64_t ns, bool ticking);
  void RemoteAcquire();
  void RemoteVerb();
  void EndCall();
  void LocalTryAcquire();
  void LocalRelease();
  void LocalWait();
  void ReadInbox(SessionIndex session);
  void KillSession();
  void AttachSession();
  void ConfirmDeaths();
  void Operate();
  bool DrainOrResume();  // true: did one of them
  void Restart();
  void Renumber();
  template <class Fn>
  void Do(const char* what, Fn&& step);  // one step of the engine, or its death in the middle

  // sim_world.cc: its bodies and effects
  void BuildEngine();
  void RestartAdopted();
  void RestartFresh(bool same_boot);
  void CarryOut();
  void CarryOutSends();
  void SeeDseq();
  void Heard(const Grant& grant, int64_t received_ns);
  void Believe(SlotIndex slot, const Believer& believer);
  void StopBelieving(SlotIndex slot, FencingToken token);
  void ForgetProcess(SessionIndex session);
  void ForgetRevoked();

  // sim_checks.cc: what must hold
  void Check();
  void CheckLedgerAndWords();
  void CheckCounts();
  size_t PresentWaiters() const;
  void CheckNobodyWaitsBesideAFreeSlot();
  void CheckDrained();
  void CheckLeaksAreFound();
  void CheckQuietEnd();
  [[noreturn]] void Fail(const std::string& what) const;
  void Note(std::string line);

  uint64_t Random(uint64_t below) { return below == 0 ? 0 : random_() % below; }
  bool OneIn(uint64_t n) { return Random(n) == 0; }
  template <class Map>
  auto Pick(Map& map) {
    return std::next(map.begin(), static_cast<std::ptrdiff_t>(Random(map.size())));
  }

  std::mt19937_64 random_;
  // Clients use few generations of a slot until it has to be renumbered.
  static constexpr Generation kRenumberAt = 5'000;
  Generation FirstGen() { return kRenumberAt - 1 - Random(OneIn(2) ? 10 : 1'000); }

  Instant now_{100 * kSecond, 1'700'000'000 * kSecond};
  int64_t last_tick_ns_ = 0;
  PoolOptions options_;
  SimLedger ledger_;
  CountingIds ids_;
  FakeSessions sessions_;
  std::unique_ptr<HeapPool> pool_;
  std::unique_ptr<Authority<RealMemory>> authority_;
  std::unique_ptr<PoolEngine> engine_;
  Actions actions_;
  uint32_t dseq_seen_ = 0;
  bool was_killed_ = false;  // in this step: what it would have told nobody was told

  std::map<uint64_t, int64_t> calls_;  // open tickets -> when the wait ends
  std::vector<RemoteLease> leases_;    // known to callers, some of them over
  std::map<SessionIndex, Process> processes_;
  std::set<SessionIndex> dying_;  // session word revoked, engine not told yet
  std::map<SlotIndex, Believer> believers_;
  std::map<SlotIndex, FencingToken> last_token_;
  std::set<std::pair<SlotIndex, FencingToken>> revoking_;  // what operators asked for
  std::set<SlotIndex> locked_;
  std::optional<std::string> drain_reason_;  // outlives the worker
  std::set<uint64_t> ended_ids_;             // leases whose end made an action (low half of the id)
  std::set<uint64_t> live_ids_;              // in the ledger after the last step
  std::deque<std::string> story_;
};

}  // namespace leaseplane::engine
