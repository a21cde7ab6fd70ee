// SPDX-License-Identifier: Apache-2.0
//
// Session: this process as one daemon knows it. Holds the attach connection, the pools opened
// through it, and the library's thread, which answers the daemon and attaches anew when the daemon
// was replaced.
//
// Ownership: made by FindSession, one per socket, liveness and process; never destroyed, since
// leases point to its pools. While it has users it is attached, or tries to be; the last user's
// leave ends the session with the daemon and the thread.
// Threads: the public methods from any thread. Members of the second group belong to the library's
// thread, and to AddUser before that thread runs.
// Errors: absl::Status with a Reason.
//
// How the daemon's end is told apart: a worker that restarts keeps the connection and says so. The
// connection or the lifeline hanging up means that the session is over: `segment_dead` is set at
// once, waiters wake, and re-attachment starts (session_attach.cc).
#pragma once

#include <pthread.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "clients/cpp/local/attach_socket.h"
#include "clients/cpp/local/handshake.h"
#include "clients/cpp/local/heartbeat_watch.h"
#include "clients/cpp/local/pool_record.h"
#include "clients/cpp/local/session_listener.h"
#include "clients/cpp/local/ticket_book.h"
#include "clients/cpp/mutex.h"
#include "core/attach/messages.h"
#include "core/pool/slot_client.h"
#include "leaseplane/internal/local_pool.h"
#include "leaseplane/internal/process_mark.h"

namespace leaseplane::internal {

class Session {
 public:
  Session(SessionConfig config, ProcessMark mark);
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;
  ~Session() = delete;

  // Attaches if this is the first user. On success the listener hears of the session until
  // RemoveUser, which REQUIRES not to be called by the listener.
  absl::Status AddUser(SessionListener* listener, int64_t deadline_ns);
  void RemoveUser(SessionListener* listener);

  // The pool, attached. Lives for ever.
  absl::StatusOr<LocalPool*> OpenPool(std::string_view name, int64_t deadline_ns);

  // -- for LocalPool
  // Waits until `pool` has another state than `old` and it is current. kNone, or why not.
  Reason AwaitState(const LocalPool& pool, const LocalState* old, int64_t deadline_ns);
  // Why `pool` cannot be reached now; kSessionEnded if nothing better is known.
  Reason WhyClosed(const LocalPool& pool);
  // A release whose segment was being replaced while it happened, or did not know its holder. True:
  // it was given back in the present one.
  bool FinishMovedRelease(LocalPool& pool, const LocalState& old, SlotIndex slot,
                          FencingToken token);
  // A pool is on its way to other segments: what is held in it is being declared there.
  bool is_moving();
  bool Send(const attach::Message& message);
  TicketBook& tickets() { return tickets_; }

  const SessionConfig& config() const { return config_; }
  const ProcessMark& mark() const { return mark_; }
  std::string instance_id();
  int socket_fd();
  // Another authority serves the socket now: this session will not come back for new users.
  bool is_orphaned();

 private:
  // A call of OpenPool until it is answered.
  struct Opening {
    PoolRecord* record = nullptr;
    bool publish = true;  // false: re-attachment publishes when the claims are settled
    bool done = false;
    absl::Status status;
  };
  // A lease that may survive the daemon's replacement.
  struct Claimed {
    PoolRecord* record = nullptr;
    Claims<RealMemory>* claims = nullptr;
    SlotIndex slot = 0;
    FencingToken token = 0;
    bool declared = false, answered = false, accepted = false;
  };

  // session.cc
  absl::Status Start(int64_t deadline_ns) ABSL_EXCLUSIVE_LOCKS_REQUIRED(life_mu_);
  void Stop() ABSL_EXCLUSIVE_LOCKS_REQUIRED(life_mu_);
  void Detach();
  PoolRecord& RecordOf(std::string_view name) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool IsAttachedTo(const PoolRecord& record) const;
  void FinishOpening(uint32_t tag, absl::Status status);
  std::vector<PoolRecord*> Records();

  // session_thread.cc
  static void* ThreadMain(void* session);
  void Run();
  bool PollOnce();
  void CheckHeartbeat();
  bool ReadAll();
  // session_messages.cc
  bool Handle(Incoming& incoming);
  PoolRecord* ByHandle(uint32_t handle);
  bool IsOnItsWay(const PoolRecord& record) const;
  void OnPoolOpened(Incoming& incoming);
  void OnPoolMoved(uint32_t handle);
  void OnRefused(const attach::Refused& refused);
  bool OnGrant(const attach::GrantMsg& grant);
  void OnAudit(const attach::Audit& audit);
  void OnTicketRefused(const attach::TicketRefused& refused);
  void OnLeaseEnded(const attach::LeaseEnded& ended);
  void OnRevokeRequested(const attach::RevokeRequested& request);
  void OnClaimResult(const attach::ClaimResult& result);
  void ResendTickets();
  void SendPatiently(const attach::Message& message);
  void TellLost(PoolRecord& record, SlotIndex slot, FencingToken token, Reason reason);

  // session_attach.cc
  absl::Status Attach(int64_t deadline_ns);
  absl::Status TakeConnection(Connection connection);
  void ForgetClaims();
  void DaemonGone();
  void Reattach();
  bool ReattachOnce(uint64_t lost_gen, std::vector<Claimed>& claims);
  bool WaitBeforeRetry(int64_t delay_ns);

  // session_claims.cc
  void CollectClaims(uint64_t lost_gen, std::vector<Claimed>& claims);
  static bool IsOver(const Claimed& claim);
  bool ReopenPools(uint64_t lost_gen);
  bool Reopen(const std::vector<PoolRecord*>& records);
  bool DeclareClaims(std::vector<Claimed>& claims);
  static bool AllAnswered(const std::vector<Claimed>& claims, size_t last);
  void PublishAll(const std::vector<Claimed>& claims);
  void ReportLost(const std::vector<Claimed>& claims);
  void FindTakenBack();
  // session_moves.cc
  bool FollowMoves();
  bool Follow(const std::vector<PoolRecord*>& moved);
  // Returns when what was won in the segments of `state` before attach_gen rose has been noted, and
  // its sleepers are awake.
  static void LeaveSegments(const LocalState& state);
  void LeaveOldSegments(const std::vector<PoolRecord*>& moved);
  static void CollectMoved(const std::vector<PoolRecord*>& moved, std::vector<Claimed>& claims);
  template <class Done>
  bool Converse(const Done& done);

  using Flags = ProcessFlags<RealMemory>;

  const SessionConfig config_;
  const ProcessMark mark_;
  Flags& flags_;  // on a page of their own that is emptied in a child
  TicketBook tickets_;
  UniqueFd wake_fd_;  // eventfd: the thread looks at stopping_

  Mutex life_mu_ ABSL_ACQUIRED_BEFORE(mu_);
  int user_count_ ABSL_GUARDED_BY(life_mu_) = 0;
  pthread_t thread_ ABSL_GUARDED_BY(life_mu_){};

  Mutex listeners_mu_ ABSL_ACQUIRED_BEFORE(mu_);
  std::vector<SessionListener*> listeners_ ABSL_GUARDED_BY(listeners_mu_);

  // Never held during a system call that may block.
  Mutex mu_;
  Change changed_;  // told after the following changed in a way that somebody waits for
  bool attached_ ABSL_GUARDED_BY(mu_) = false;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  bool orphaned_ ABSL_GUARDED_BY(mu_) = false;
  bool moving_ ABSL_GUARDED_BY(mu_) = false;
  std::shared_ptr<AttachSocket> socket_ ABSL_GUARDED_BY(mu_);
  std::string instance_id_ ABSL_GUARDED_BY(mu_);
  std::map<std::string, std::unique_ptr<PoolRecord>, std::less<>> records_ ABSL_GUARDED_BY(mu_);
  absl::flat_hash_map<uint32_t, Opening*> openings_ ABSL_GUARDED_BY(mu_);
  uint32_t last_tag_ ABSL_GUARDED_BY(mu_) = 0;

  // -- the library's thread
  UniqueFd lifeline_;
  std::shared_ptr<AttachSocket> old_socket_;  // while the session is being renewed
  Attached attached_as_;
  Attached next_as_;                    // of states that are made but not published yet
  std::map<uint32_t, uint32_t> moved_;  // handles of pools that have new segments; last_tag_ then
  std::vector<std::pair<uint64_t, shm::Mapping>> sess_mappings_;  // by segment_uid; kept for ever
  absl::flat_hash_map<uint32_t, PoolRecord*> by_handle_;
  std::vector<Claimed>* claims_under_way_ = nullptr;
  HeartbeatWatch heartbeat_;
  int64_t next_heartbeat_check_ns_ = 0;
};

// The session of this process for `config`, made if there is none that can be used. Never null.
Session* FindSession(const SessionConfig& config);

}  // namespace leaseplane::internal
