// SPDX-License-Identifier: Apache-2.0
//
// FakeDaemon: the daemon's end of the local path in one object: real segments, the real pool
// algorithms, the attach protocol, and a queue without policy. For tests of the local client, which
// can make it do at any moment what a real daemon does rarely.
//
// Destruction is the death of the whole daemon: all descriptors close, nothing is said. Threads:
// any. Errors: aborts.
#pragma once

#include <atomic>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "core/attach/messages.h"
#include "core/base/ids.h"
#include "core/base/unique_fd.h"
#include "core/pool/authority.h"
#include "core/shm/layout.h"
#include "core/shm/segment.h"

namespace leaseplane::testing {

struct FakePool {
  std::string name = {};
  uint32_t capacity = 1;
  bool fifo = false;
  int64_t max_overtake_ns = 100'000'000;
  std::vector<std::string> resources = {};
  attach::Refusal refuse = attach::Refusal::kNone;
};

struct FakeDaemonOptions {
  std::string folder;  // attach.sock is made here
  std::string instance_id = "instance-a";
  Epoch epoch = 7;
  Generation first_gen = 1000;
  bool recovering = false;           // takes claims until EndRecovery; grants nothing
  bool holds_claim_results = false;  // see HoldClaimResults
  bool other_abi = false;
  std::vector<FakePool> pools;
};

class FakeDaemon {
 public:
  explicit FakeDaemon(FakeDaemonOptions options);
  ~FakeDaemon();

  std::string target() const { return "unix://" + options_.folder + "/leaseplane.sock"; }

  void SetGate(const std::string& pool, shm::Gate gate);
  // As an operator does; whoever is queued, or comes to be, is refused.
  void SetDrained(const std::string& pool, bool is_drained);
  void SetServing(bool serves) { serves_ = serves; }  // whether the queue is served
  void SetBeating(bool beats) { beats_ = beats; }
  void RestartWorker();  // forgets the queue, says so to everybody
  void HangUp();         // ends all sessions; the daemon lives on
  void SayDraining();
  void KillKeeper();  // the lifeline ends; the worker goes on for a while
  void EndRecovery();
  // To new memory, where claims are taken until EndRecovery; says so to everybody.
  void MovePool(const std::string& pool);
  // Claims are judged and not answered, until this is taken back.
  void HoldClaimResults(bool holds);
  size_t held_claim_results();

  // To every session, as it is.
  void SendToAll(const attach::Message& message);
  // What was answered to an audit; nothing yet: nullopt.
  std::optional<Generation> AnswerTo(uint64_t question);
  // What the session that holds the slot answers; 0 is "none".
  Generation Audit(const std::string& pool, SlotIndex slot, Generation gen);
  bool Revoke(const std::string& pool, SlotIndex slot);
  bool RevokeSilently(const std::string& pool, SlotIndex slot);            // dies before it tells
  void WriteWord(const std::string& pool, SlotIndex slot, SlotWord word);  // as a neighbour may
  // Grants a slot to the session that came last, and dies before it tells. 0: it is not free.
  Generation GrantSilently(const std::string& pool, SlotIndex slot);
  void AskBack(const std::string& pool, SlotIndex slot, int64_t grace_ns);
  // Takes a slot as for a remote lease.
  std::optional<SlotIndex> TakeSlot(const std::string& pool);
  void GiveSlot(const std::string& pool, SlotIndex slot);

  uint32_t BusyCount(const std::string& pool);
  uint32_t EnlistedCount(const std::string& pool);
  size_t QueueLength();
  size_t SessionCount();
  uint32_t sessions_begun();
  int accepted_claims() const { return accepted_claims_; }
  int claims_done() const { return claims_done_; }  // pools of sessions that have declared all
  int resent_tickets() const { return enqueues_after_restart_; }
  int acks() const { return acks_; }
  int pools_opened() const { return pools_opened_; }

 private:
  struct Pool {
    FakePool options;
    UniqueFd data_fd, ctl_fd, meta_fd;
    shm::Mapping data, ctl, meta;
    uint64_t uid = 0;
    std::unique_ptr<Authority<RealMemory>> authority;
  };
  struct Peer {
    UniqueFd fd;
    SessionIndex index = 0;
  };
  struct Waiter {
    SessionIndex session = 0;
    uint32_t pool = 0;
    uint64_t ticket = 0;
  };

  void RefuseTicket(const Waiter& waiter);
  void MakeSess();
  static Pool MakeMemory(const FakePool& options, Epoch epoch);
  PoolWords<RealMemory> WordsOf(const Pool& pool) const;
  void MakePool(const FakePool& options);
  void Publish(Pool& pool);
  void Run();
  void Accept();
  void ReadPeer(Peer& peer);
  void EndPeer(Peer& peer);
  void Handle(Peer& peer, const attach::Message& message);
  void OnHello(Peer& peer, const attach::Hello& hello);
  void OnOpenPool(Peer& peer, const attach::OpenPool& open);
  void OnClaim(Peer& peer, const attach::Claim& claim);
  void ServeQueue();
  void Refuse(Peer& peer, uint32_t tag, attach::Refusal reason);
  Peer* PeerOf(SessionIndex index);
  Pool& Named(const std::string& name);
  uint32_t HandleOf(const std::string& name);
  static void Send(const Peer& peer, const attach::Message& message, std::vector<int> fds = {});
  void StoreSession(SessionIndex index, shm::SessionState state);

  const FakeDaemonOptions options_;
  UniqueFd listener_, wake_, lifeline_read_, lifeline_write_, sess_fd_;
  shm::Mapping sess_;
  uint64_t sess_uid_ = 0;
  std::atomic<bool> stop_{false}, serves_{true}, beats_{true};
  std::atomic<int> accepted_claims_{0}, claims_done_{0};
  std::atomic<int> enqueues_after_restart_{0}, acks_{0}, pools_opened_{0};

  std::mutex mu_;
  bool recovering_;
  bool restarted_ = false;
  bool holds_claim_results_;
  std::vector<std::pair<SessionIndex, attach::Message>> held_claim_results_;
  std::vector<Pool> pools_;
  std::vector<std::unique_ptr<Peer>> peers_;
  std::deque<Waiter> queue_;
  SessionIndex last_session_ = kOwnerSessionFirst - 1;
  uint64_t last_question_ = 0;
  std::map<uint64_t, Generation> answers_;
  std::thread thread_;
};

}  // namespace leaseplane::testing
