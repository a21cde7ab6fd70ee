// SPDX-License-Identifier: Apache-2.0
//
// World: the shared words, processes, sockets and faults of one simulated system. The actors
// (client_actor, daemon_actor, remote and administrator) run on fibers inside it and use the real
// algorithms of core/pool over SimMemory.
//
// Ownership: owns everything that actors keep on the heap, because a killed fiber's stack is never
// unwound. Threads: one.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/pool/authority.h"
#include "core/pool/claims.h"
#include "core/pool/slot_client.h"
#include "core/pool/waiter.h"
#include "tests/model/explorer/config.h"
#include "tests/model/explorer/oracle.h"
#include "tests/model/explorer/sim_memory.h"

namespace leaseplane::explorer {

inline constexpr int kProcessesMax = 3;
inline constexpr int kThreadsMax = 4;
inline constexpr int kRemotesMax = 2;
inline constexpr int kSlotsMax = 4;
inline constexpr int64_t kRegisterNs = 100'000'000;
inline constexpr int64_t kDeadlineNs = 100'000'000'000;
inline constexpr Generation kFirstGeneration = 5;

// Socket messages, either way; fields as each needs them.
struct Message {
  enum class Kind : uint8_t {
    kEnqueue,
    kLeave,
    kAuditAnswer,  // to the daemon
    kGrant,
    kRefuse,
    kDrained,
    kAudit,
    kRestarted,
    kEnded,
    kRevoked,  // to the process
  };
  Kind kind{};
  uint64_t ticket = 0;
  SlotIndex slot = 0;
  Generation gen = 0;  // asked
  FencingToken token = 0;
  Generation answer = 0;
  uint64_t question = 0;  // of an audit, for its answer
};

// A lease that its process holds, and who took it.
struct HandedLease {
  int thread = 0;
  LocalGrant grant;
};

struct Process {
  SessionIndex owner = 0;
  bool dead = false;        // killed
  bool revoked = false;     // its session word says so,
  uint64_t revoked_at = 0;  // since then, in writes
  bool end_wanted = false;  // the daemon has been told to end it
  bool socket_closed = false;
  int ended_level = 0;  // 1: ended while alive, 2: ended after its death
  bool void_wanted = false;
  bool move_wanted = false;   // the segment it maps is being replaced
  uint64_t left_at = kNever;  // since when it has left it, in writes
  bool has_declared = false;  // has said what it holds, for the new one
  int library_fiber = -1;
  bool port_locked = false;
  uint64_t last_ticket = 0;
  Attachment<SimMemory> attachment;
  ProcessFlags<SimMemory> flags;
  std::optional<Claims<SimMemory>> claims;
  std::vector<Message> inbox;   // from the daemon
  std::vector<Message> outbox;  // to the daemon
  std::vector<Ticket<SimMemory>*> tickets;
  std::vector<HandedLease> handed;  // Config::hands
};

struct AppThread {
  int process = 0;
  int fiber = -1;
  bool finished = false;
  int64_t now_ns = 0;
};

struct Remote {
  enum class State : uint8_t { kIdle, kAsking, kHolding, kReturning, kDone };
  State state = State::kIdle;
  bool seen = false;  // the present worker knows of the request
  int fiber = -1;
  SlotIndex slot = 0;
  Generation gen = 0;
};

struct LedgerEntry {
  int remote = -1;
  FencingToken token = 0;
};

// What dies with the worker.
struct Worker {
  struct Waiter {
    int process = -1;  // or
    int remote = -1;
    uint64_t ticket = 0;
  };
  std::optional<Authority<SimMemory>> authority;
  std::vector<Waiter> queue;
  bool patience_over = false;  // close the gate until the head is served
  int fiber = -1;
  std::vector<SlotEvent> events;
  std::vector<SlotIndex> renumbered;
  ScanReport report;
  std::vector<Process*> alive;  // filled anew by each use
};

class World : public FaultSource {
 public:
  // The state before the first step of an execution, with all fibers spawned.
  void Reset(const Config& config);
  void MakeAuthority();       // of a worker that starts
  bool TickAtRest();          // before the end: true if there is something left to renumber
  void JudgeBesideHolders();  // at quiescence, while remote holders linger
  void Judge();               // at quiescence

  uint32_t CountFaults(int fiber) override;
  void ApplyFault(int fiber, uint32_t which) override;

  // -- for actors
  void SendToDaemon(Process& p, const Message& m);
  void SendToProcess(Process& p, const Message& m);  // REQUIRES alive
  void WakeLibrary(const Process& p);                // REQUIRES alive
  void NotifyDaemon();
  bool DaemonHasEvents() const;
  void EndSession(Process& p) {
    p.end_wanted = true;
    NotifyDaemon();
  }

  std::string NameOf(const void* word) const;
  int ProcessOfFiber(int fiber) const { return process_of_fiber[static_cast<size_t>(fiber)]; }

  Config config;
  PoolWords<SimMemory> words;
  std::array<uint64_t, kSlotsMax> slots{};
  std::array<uint64_t, 8> sessions{};
  uint64_t wcnt = 0, heartbeat = 0, grant_bits = 0, policy = 0;
  uint32_t wseq = 0, dseq = 0, drained = 0;
  std::array<uint32_t, kSlotsMax> base_epochs{};
  Epoch stored_epoch = 1;  // durable
  FinderMemory<SimMemory> finder;

  int process_count = 0;
  std::array<Process, kProcessesMax> processes;
  std::array<AppThread, kThreadsMax> threads;
  std::array<Remote, kRemotesMax> remotes;
  std::array<LedgerEntry, kSlotsMax> ledger;
  std::string admin_events;  // for the daemon
  bool is_drained = false;   // by the administrator; outlives the worker
  bool drained_once = false;
  bool refused_once = false;  // the queue was full
  bool unfair_once = false;   // somebody waits outside a closed gate with good reason
  Worker worker;
  Oracle oracle{*this};

 private:
  enum class Fault : uint8_t { kKill, kRevoke, kCrash, kVoid, kMove, kLate, kRegister };
  struct FaultList {
    std::array<Fault, 8> kinds;
    uint32_t count = 0;
    void Add(Fault f) { kinds[count++] = f; }
  };
  FaultList FaultsFor(int fiber) const;
  Generation FirstGeneration() const { return config.renumber_after > 0 ? 0 : kFirstGeneration; }
  void ResetWords();
  void ResetProcess(Process& p, int id);
  void SpawnAll();
  void JudgeFinder();
  bool IsFindable(SlotIndex slot) const;
  void SpawnDaemon(bool restarted);
  void KillProcess(Process& p);
  void CrashWorker();
  int ThreadOfFiber(int fiber) const;
  bool ProcessIdle(int process) const;

  std::array<int8_t, Scheduler::kFibersMax> process_of_fiber{};
  bool faults_possible_ = false;
};

// Bodies of the fibers.
void RunAppThread(World& world, int thread);
void RunLibrary(World& world, int process);
void RunDaemon(World& world, bool restarted);
void RunRemote(World& world, int remote);
void RunAdministrator(World& world);

}  // namespace leaseplane::explorer
