// SPDX-License-Identifier: Apache-2.0
//
// PoolEngine: everything one pool decides. Who gets a slot, who waits in which order, when a lease
// ends, what a restart keeps. It is pure: `now` comes in, answers and Actions go out; it reads no
// clock, starts no thread, takes no lock, sends nothing. The slot words themselves belong to
// Authority; this object calls it and never writes a word on its own.
//
// Ownership: borrows authority, ledger, ids and sessions; all of them outlive it.
// Threads: one caller at a time (the pool's lock), any thread. Clients change slot words meanwhile.
// Errors: a Refusal whose reason decides the status; nothing throws but allocation.
// Actions: every method that takes `Actions&` appends to it and never removes; the caller carries
// them out afterwards (see actions.h). A method without it changes nothing that anybody must hear.
// Time: `now` never goes back between calls. Durations ns; `*_at_ns` CLOCK_BOOTTIME.
// Cost: Acquire, Renew, Release without waiters are O(1) but for the search for a free slot;
// queue operations O(log waiters); Tick O(capacity); views are O(what they return) unless told.
// Not promised: that a waiter's grant reaches anybody (the caller reports with Abandon,
// SendFailed).
//
// Invariants (tests cite them):
//  E1  A remote lease is in the ledger before its answer, and out of it before its word is freed.
//  E2  Nobody is granted anything whose call has ended, whose session has ended, or whose wait is
//      over, from the step that says so.
//  E3  Every lease that ends makes an action, but for the holder's own release by direct CAS.
//  E4  After each step no waiter that is present stands beside a slot the step saw grantable.
//  E5  The gate is fairness: every decision is right with clients that ignore it.
//  E6  Work of one step is bounded by capacity plus queue, never by what a client wrote.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "core/base/ids.h"
#include "core/pool/authority.h"
#include "server/engine/actions.h"
#include "server/engine/audit_book.h"
#include "server/engine/damage_watch.h"
#include "server/engine/gate_policy.h"
#include "server/engine/hold_estimate.h"
#include "server/engine/lease_table.h"
#include "server/engine/ledger_port.h"
#include "server/engine/local_holds.h"
#include "server/engine/ports.h"
#include "server/engine/slot_states.h"
#include "server/engine/timer_set.h"
#include "server/engine/types.h"
#include "server/engine/wait_queue.h"

namespace leaseplane::engine {

template <class T>
using Result = std::variant<T, Refusal>;

struct Granted {
  Grant grant;
  uint64_t commit_seq = 0;  // 0: may be answered now; else when that number is durable
};
struct Queued {
  uint64_t ticket = 0;
};
using AcquireAnswer = std::variant<Granted, Queued, Refusal>;

struct Renewed {
  RenewResult result;
  uint64_t commit_seq = 0;
};
struct Released {
  uint64_t commit_seq = 0;
};

enum class SegmentOrigin {
  kFresh,    // new segments: nobody is known to hold anything but what the ledger says
  kAdopted,  // inherited from a worker that ended: words and clients go on
};

struct RecoverOptions {
  SegmentOrigin origin = SegmentOrigin::kFresh;
  bool same_boot = true;      // instants in the ledger are of the running kernel
  bool await_claims = false;  // kFresh: grant nothing until EndRecovery (holders may re-declare)
  Generation first_gen = 0;   // kFresh
  std::optional<std::string> drain_reason;  // an operator drains the pool, and this is why
  // Least time a live lease has to be renewed in after a restart in the same boot.
  int64_t restart_grace_ns = 15 * kSecond;
};

struct RecoverReport {
  uint32_t leases_restored = 0;
  uint32_t leases_dropped = 0;  // of slots beyond the capacity
  uint32_t words_freed = 0;     // daemon words without a lease: granted, never written down
  uint32_t integrity_violations = 0;
  uint32_t locks_applied = 0;
};

class PoolEngine {
 public:
  // REQUIRES options.capacity == authority.capacity(); options are valid (server/config).
  PoolEngine(PoolOptions options, Authority<RealMemory>& authority, LedgerPort& ledger,
             IdSource& ids, const SessionsPort& sessions);
  PoolEngine(const PoolEngine&) = delete;
  PoolEngine& operator=(const PoolEngine&) = delete;

  // -- start
  // First call, once. Before it the caller has stored the epoch (Authority::SetEpoch). Sets the
  // release word, initializes or adopts the segment (a kick included), restores the ledger's leases
  // under their own tokens, applies operator locks. Deadlines: same boot: the rest, but at least
  // min(ttl, restart_grace); other boot: the full ttl again. Leaves kRecovering if claims are
  // awaited, else kActive. An adopted segment grants at once, but an open gate waits for
  // EndRecovery or 1 s, so that sessions can present their tickets again.
  RecoverReport Recover(Instant now, const LedgerContents& contents, const RecoverOptions& how,
                        Actions& actions);
  // A session says it held `slot` under `token`. True: it holds it (again). Fresh segment, while
  // recovering: the higher token wins and the loser's session is told; a live remote lease and a
  // token of an epoch later than the pool's win against it. Else: true iff the word says the same.
  bool Claim(Instant now, SessionIndex session, SlotIndex slot, FencingToken token,
             Actions& actions);
  // Slots nobody claimed become grantable; kRecovering -> kActive. Idempotent.
  void EndRecovery(Instant now, Actions& actions);

  // -- remote leases
  // Asks for one slot. `received_at_ns` <= now: when the call arrived. In this order: pool state,
  // request id, ttl, quota, a free slot, the queue. A request id that is known: the live lease with
  // its remaining time; the queued place under a new ticket (the old ticket's call, if it is still
  // there, is refused kCancelled); the end of the lease as a refusal; another body is
  // kRequestIdConflict. The answer's own grant is never in `actions` too.
  AcquireAnswer Acquire(Instant now, int64_t received_at_ns, AcquireRequest request,
                        Actions& actions);
  // The ticket's call is gone; no action names the ticket afterwards. With a request id the place
  // is kept for kTicketGrace, else dropped. Unknown tickets are ignored.
  void CancelCall(Instant now, uint64_t ticket, Actions& actions);
  // Ends the ticket's call with a refusal (in `actions`), its place kept as by CancelCall if the
  // reason is kWaitTimeout. Unknown tickets are ignored: they have been answered.
  void EndWait(Instant now, uint64_t ticket, Reason reason, Actions& actions);
  Result<QueueState> Position(Instant now, uint64_t ticket) const;

  // ttl_ns 0: as it is. Never shortens. kNotFound, kNotHolder, kStaleToken, kLeaseExpired (also
  // between the deadline and the instant the engine acts on it), kLeaseRevoked, kLeaseReleased.
  Result<Renewed> Renew(Instant now, int64_t received_at_ns, const HolderRef& holder,
                        int64_t ttl_ns, Actions& actions);
  // Releasing again answers the same. allow_missing: also an expired, revoked or unknown lease.
  Result<Released> Release(Instant now, const HolderRef& holder, bool allow_missing,
                           Actions& actions);
  // A grant that could not be delivered: released at once unless its request had an id.
  void Abandon(Instant now, const Grant& grant, Actions& actions);
  // A grant that nobody may be told of: released at once, and its request id is as if never used.
  void GiveBack(Instant now, const Grant& grant, Actions& actions);

  // -- sessions (words of ended sessions are revoked by the caller before it tells: I4)
  // A local waiter registers. Its place is counted from now - min(waited, age of the session,
  // max_overtake). The same ticket again changes nothing. kActive and kRecovering pools accept.
  void Enqueue(Instant now, SessionIndex session, uint64_t ticket, int64_t waited_ns,
               int64_t rest_ns, Actions& actions);
  void Leave(Instant now, SessionIndex session, uint64_t ticket, Actions& actions);
  void GrantAck(SessionIndex session, SlotIndex slot, uint64_t ticket);
  // A SendGrant that could not be sent: the slot goes on to the next. The caller ends the session.
  void SendFailed(Instant now, SessionIndex session, SlotIndex slot, FencingToken token,
                  Actions& actions);
  // Tickets and unacknowledged grants of these sessions leave first, then their slots are swept,
  // then the queue is served. May be repeated for the same session (A stale process died at last).
  void SessionsEnded(Instant now, std::span<const SessionIndex> sessions, Actions& actions);
  // `gen_held` 0: none. Stale questions are ignored.
  void AuditAnswer(Instant now, SessionIndex session, SlotIndex slot, Generation gen_held,
                   uint64_t question, Actions& actions);

  // -- time
  // Every 50 ms or so; `since_last_ns` since the Tick before (0: unknown). Reconciles the words and
  // audits; ends local leases that are held beyond max_hold or whose holder is stalled (a part of
  // a large pool a call); includes OnTimer. If no step that looks at deadlines (Tick, OnTimer,
  // Acquire, Renew, Release) came for more than 1 s, this process was stopped or starved and nobody
  // could renew or answer: the first one that comes extends all leases and stalls by that time, at
  // most 15 s.
  void Tick(Instant now, int64_t since_last_ns, Actions& actions);
  // What is due at exact instants: waits, graces, cooling, revocations, leases, the gate.
  void OnTimer(Instant now, Actions& actions);
  // When OnTimer has something to do next; kNever if nothing. Changes with every step.
  int64_t NextDeadlineNs() const;
  // `dseq` moved: a slot may have become free. The caller loads dseq, calls this, and only then
  // sleeps on the value it loaded. Needed while wants_release_wakeups().
  void OnReleased(Instant now, Actions& actions);
  bool wants_release_wakeups() const;

  // -- operators
  Result<SlotInfo> LockSlot(Instant now, SlotIndex slot, const std::string& reason,
                            Actions& actions);
  // Also takes back a lock that has not taken effect yet. kFailedPrecondition: it is not locked.
  Result<SlotInfo> UnlockSlot(Instant now, SlotIndex slot, Actions& actions);
  // grace_ns 0: at once. Else the holder is told, and the slot is taken when the grace ends; again
  // with a shorter grace: the earlier end holds. The answer is the lease as it is afterwards.
  Result<LeaseInfo> Revoke(Instant now, const LeaseId& id, int64_t grace_ns, Actions& actions);
  Result<LeaseInfo> RevokeLocal(Instant now, SlotIndex slot, FencingToken token, int64_t grace_ns,
                                Actions& actions);
  // Drops a waiter, remote or local, at once; its call is refused kCancelled.
  Result<std::monostate> CancelWaiter(Instant now, uint64_t ticket, Actions& actions);
  // Nobody is granted a slot any more, locally or remotely, until ResumePool, over restarts too if
  // Recover is told; the caller writes it down. Requests and waiters, kept places included, are
  // refused kPoolDraining. Leases live on, are renewed and end by themselves; a request id gets the
  // lease it has. Again: another reason, kept for people.
  void DrainPool(Instant now, const std::string& reason, Actions& actions);
  void ResumePool(Instant now, Actions& actions);
  const std::optional<std::string>& drain_reason() const { return drain_reason_; }
  // No new grants from now to the end of this object, waiters are refused. `reason`: kDraining (the
  // daemon stops) or kNotFound (the pool goes; remote waiters hear kCancelled). Leases live on. The
  // gate stays closed.
  void BeginDrain(Instant now, Reason reason, Actions& actions);
  // Ends every lease, local and remote, as revoked without grace. After BeginDrain.
  void RevokeAll(Instant now, Actions& actions);
  // Other rules for what happens from now on; what was granted stays. REQUIRES the same id,
  // capacity, max_capacity, fairness, durability and resources, delays of slots (reuse_delay,
  // lock_delay) where there were some and only there, and no limit per client where there was none.
  void ChangeRules(Instant now, PoolOptions options, Actions& actions);
  // Memory of the segment was lost, and this side sees zeroes in its place. No new grants for the
  // life of this object; waiters are refused kDataLoss. Remote leases, whose truth is the ledger,
  // go on, are renewed, released and expire. state() is kDamaged from now on.
  void DeclareDamaged(Instant now, Actions& actions);
  // Slots whose generations are used up and that are FREE begin again at 0, under `epoch`. REQUIRES
  // that it is above the present one and durable. Wanted while wants_renumbering(), which costs
  // O(capacity) while there are such slots. Nobody else notices: other slots keep their numbering.
  void Renumber(Instant now, Epoch epoch, Actions& actions);
  bool wants_renumbering() const { return !is_damaged_ && authority_.CanRenumber(); }
  // The pool moves to other segments (`words`: fresh, of the same capacity), under `epoch`, whose
  // generations start at `first_gen`. Remote leases keep slot and token. Local ones are held on by
  // who declares them (Claim) before EndRecovery: claims that contradict what was believed of the
  // old words are refused. Until then kRecovering. Local waiters have to register again.
  // REQUIRES what Renumber does, and kActive. Writes kPoolMoved's action.
  void Rotate(Instant now, const PoolWords<RealMemory>& words, Epoch epoch, Generation first_gen,
              Actions& actions);
  // Somebody goes on writing what no honest client writes.
  bool wants_rotation() const {
    return !is_damaged_ && state_ == PoolState::kActive && damage_.is_over();
  }
  // true: no client takes a slot itself; everybody queues, and the daemon grants.
  void SetBrokered(Instant now, bool is_brokered, Actions& actions);
  // The store cannot take grants: remote requests and remote waiters are refused with `reason`
  // until it is called with kNone. Local ones go on: they need no store.
  void SetRemoteRefusal(Instant now, Reason reason, Actions& actions);

  // -- views
  Result<LeaseInfo> GetLease(Instant now, const LeaseId& id) const;
  Result<LeaseInfo> GetLocalLease(Instant now, SlotIndex slot, FencingToken token) const;
  // Live leases in order of slot from `first_slot`, at most `count_max`. O(capacity) at worst.
  std::vector<LeaseInfo> ListLeases(Instant now, SlotIndex first_slot, uint32_t count_max) const;
  Result<TokenCheck> CheckToken(SlotIndex slot, FencingToken token) const;
  std::vector<SlotInfo> ListSlots(Instant now, SlotIndex first_slot, uint32_t count_max) const;
  Result<SlotInfo> GetSlot(Instant now, SlotIndex slot) const;
  std::vector<WaiterInfo> ListWaiters(Instant now) const;  // by position, then the absent ones
  PoolCounts Counts() const;                               // O(capacity)
  const PoolStats& stats() const { return stats_; }
  // kDraining: by an operator, or because the daemon stops or the pool goes.
  PoolState state() const {
    if (is_damaged_) return PoolState::kDamaged;
    return state_ == PoolState::kActive && drain_reason_ ? PoolState::kDraining : state_;
  }
  const PoolOptions& options() const { return options_; }

 private:
  // -- granting.cc: who gets the next slot, and the gate
  bool MayGrantDirectly() const;
  Granted MakeRemoteLease(Instant now, int64_t received_at_ns, AcquireRequest request,
                          const SlotGrant& grant);
  void GrantWaiter(Instant now, uint64_t ticket, const SlotGrant& grant, Actions& actions);
  void Serve(Instant now, Actions& actions);       // free slots to waiters, in order
  void AdjustGate(Instant now, Actions& actions);  // as the policy wants it; serves on a change
  void Settle(Instant now, Actions& actions);      // Serve, then AdjustGate
  shm::Gate WantedGate(int64_t now_ns);
  QueueFacts Facts() const;
  bool WaitsForDisk(int64_t ttl_ns, int64_t durable_ttl_ns) const;

  // -- acquire.cc: requests and waiters
  Refusal CheckAcquire(const AcquireRequest& request) const;
  bool AnswerKnownRequest(Instant now, int64_t received_at_ns, AcquireRequest& request,
                          Actions& actions, AcquireAnswer& answer);
  AcquireAnswer TakeUpPlace(Instant now, int64_t received_at_ns, int64_t max_wait_ns,
                            Waiter& waiter, Actions& actions);
  AcquireAnswer JoinQueue(Instant now, int64_t received_at_ns, AcquireRequest request,
                          Actions& actions);
  AcquireAnswer SettleOwnTicket(Instant now, uint64_t ticket, bool has_looked, Actions& actions);
  Refusal QueueLimit(const std::string& client) const;
  std::unique_ptr<Waiter> RemoveWaiter(uint64_t ticket);
  void SetWaitTimer(Waiter& waiter, TimerKind kind, int64_t at_ns);
  void EndCall(Instant now, Waiter& waiter, bool keep_place);
  void RefuseWaiter(uint64_t ticket, Reason reason, Actions& actions);
  int64_t RetryHintNs() const;

  // -- lease_ends.cc: out of BUSY, and what a slot goes through before it is free again
  uint64_t EndRemoteLease(Instant now, SlotIndex slot, LeaseState ended_as, Actions& actions);
  void FreeDaemonWord(Instant now, SlotIndex slot, Generation gen, bool abrupt);
  void RetryFreeing(Instant now);
  void SlotLeft(Instant now, SlotIndex slot, bool abrupt);
  void CoolUntil(SlotIndex slot, int64_t until_ns);
  void OpenSlot(SlotIndex slot);
  void EndCooling(SlotIndex slot);
  bool EndLocalLease(Instant now, SessionIndex session, SlotIndex slot, FencingToken token,
                     bool abrupt, Actions& actions);
  void ExpireDue(Instant now, Actions& actions);

  // -- clockwork.cc, recovery.cc, sessions.cc
  void HandleFindings(Instant now, const std::vector<SlotEvent>& events, Actions& actions);
  void FireTimers(Instant now, Actions& actions);
  void WaitEnded(Instant now, const Timer& timer, Actions& actions);
  void RepairDamaged(Instant now, SlotIndex slot, Actions& actions);
  void AccountForAbsence(int64_t now_ns);
  void AuditHolds(Instant now, Actions& actions);
  void EndOverdueHolds(Instant now, Actions& actions);
  bool IsWanted() const;
  bool IsStalled(int64_t now_ns, SessionIndex session, SlotIndex slot, Generation gen) const;
  void DropTicketsOf(SessionIndex session, Actions& actions);
  void OpenDamageCase(Instant now, SlotIndex slot, Actions& actions);
  void HearDamageClaim(SessionIndex session, SlotIndex slot, Generation gen_held,
                       AuditBook::DamageCase& damage, Actions& actions);
  void RestoreLease(Instant now, LeaseRecord record, const RecoverOptions& how,
                    RecoverReport& report, Actions& actions);
  bool PutLeaseWord(Instant now, const LeaseRecord& record, RecoverReport& report,
                    Actions& actions);
  // Of each slot the last lease that is known to have ended, or null.
  using LastEnds = std::vector<const Tombstone*>;
  void FreeUnwrittenGrants(Instant now, const LastEnds& ends, RecoverReport& report,
                           Actions& actions);
  uint64_t WriteTerm(const LeaseRecord& record);
  void RestoreCooling(Instant now, const LastEnds& ends, bool same_boot);
  void KeepClosed(SlotIndex slot);
  void ApplyLock(SlotIndex slot);
  bool IsBelievable(SlotIndex slot, FencingToken token) const;
  bool WasBelieved(SessionIndex session, SlotIndex slot, FencingToken token) const;

  // -- views.cc
  LeaseInfo Describe(Instant now, const LiveLease& lease) const;
  LeaseInfo DescribeEnded(const Tombstone& tombstone) const;
  LeaseInfo DescribeLocal(Instant now, SlotIndex slot, SlotWord word, FencingToken token) const;
  Granted DescribeGrant(Instant now, int64_t received_at_ns, const LiveLease& lease) const;
  SlotInfo DescribeSlot(Instant now, SlotIndex slot) const;
  SlotView ViewOf(SlotIndex slot, SlotWord word) const;
  FencingToken TokenAt(SlotIndex slot, Generation gen) const;
  FencingToken LastToken(SlotIndex slot, SlotWord word) const;
  bool IsLocalToken(SlotIndex slot, SlotWord word, FencingToken token) const;

  struct UnfreedWord {  // a lease ended, but its word was damaged; freed after the next Scan
    SlotIndex slot;
    Generation gen;
    bool abrupt;
  };

  PoolOptions options_;
  Authority<RealMemory>& authority_;
  LedgerPort& ledger_;
  IdSource& ids_;
  const SessionsPort& sessions_;
  const bool release_locked_;  // what leaves BUSY comes LOCKED, and is opened here

  PoolState state_ = PoolState::kRecovering;
  bool is_damaged_ = false;
  bool is_brokered_ = false;
  Reason close_reason_ = Reason::kDraining;  // of BeginDrain
  std::optional<std::string> drain_reason_;  // of DrainPool
  Reason remote_refusal_ = Reason::kNone;
  PoolStats stats_;
  LeaseTable leases_;
  WaitQueue queue_;
  TimerSet timers_;
  SlotStates slots_;
  LocalHolds locals_;
  AuditBook audits_;
  DamageWatch damage_;
  HoldEstimate holds_;
  uint64_t next_ticket_;
  uint64_t next_arrival_ = 1;
  uint64_t last_seq_ = kInheritedSeq;    // the ledger's latest
  int64_t gate_hold_until_ns_ = 0;       // an adopted gate does not open before
  uint64_t local_grants_unscanned_ = 0;  // by the engine, since the last Scan
  int64_t heard_ns_ = 0;  // of the last step that looked at deadlines: this process was running
  SlotIndex audit_cursor_ = 0;
  SlotIndex overdue_cursor_ = 0;
  bool is_fresh_ = false;  // the segment is of this life of the daemon
  absl::flat_hash_map<SlotIndex, FencingToken> claims_;  // kRecovering
  std::vector<SlotShadow> believed_;                     // kRecovering by a rotation
  std::vector<UnfreedWord> unfreed_;
  // scratch, empty between calls
  ScanReport report_;
  std::vector<SlotIndex> due_;
  std::vector<SlotEvent> events_;
  std::vector<uint64_t> tickets_;
};

}  // namespace leaseplane::engine
