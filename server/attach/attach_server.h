// SPDX-License-Identifier: Apache-2.0
//
// AttachServer: the daemon's end of the attach socket. Accepts co-located processes, gives each a
// session, passes segments, notices the end of every session, and carries messages both ways.
//
// Ownership: owns the connections and pidfds; borrows vault, table, handler, and the descriptors in
// Options, which outlive it. Threads: one of its own; Send, EndSession, Broadcast and the counters
// from any thread, also from inside the handler's calls.
// Errors: a peer that breaks the protocol is hung up and counted; nothing a peer does ends or
// blocks the server. Cost: one epoll wait for any number of sessions.
//
// A session ends by hang-up, or (Liveness::kProcess) by the end of its process, whichever is seen
// first, or by EndSession. Its index is given out again only after its process is known to have
// ended, and, for kTree, the connection hung up. Without a pidfd it is not given out again.
#pragma once

#include <sys/epoll.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "server/attach/connection.h"
#include "server/attach/greetings.h"
#include "server/attach/index_use.h"
#include "server/attach/session_handler.h"
#include "server/attach/session_table.h"
#include "server/keeper/channel.h"
#include "server/keeper/holdings.h"
#include "server/obs/mutex.h"

namespace leaseplane::attach {

enum class Delivery {
  kMust,  // a peer that does not take it has ended
  kMay,   // dropped when the peer is behind; for what is asked or said again
};

// Why a peer was turned away. Labels of a metric: few, fixed.
enum class Rejection : uint8_t {
  kRubbish,
  kAbi,
  kNotAllowed,
  kTooMany,
  kProcessQuota,
  kUidQuota,
  kTimeout,
  kInternal,
};
inline constexpr int kRejectionCount = 8;
const char* RejectionName(Rejection rejection);

struct AttachOptions {
  uint32_t sessions_max = 1'024;
  // Of these, indexes that one process and one user may take; 0: no limit. See IndexUse.
  uint32_t sessions_per_process_max = 0;
  uint32_t sessions_per_uid_max = 0;
  std::string instance_id;
  uint64_t segment_uid = 0;
  int64_t heartbeat_period_ns = 100'000'000;
  int listener_fd = -1, lifeline_fd = -1, sess_fd = -1;
  uint64_t worker_starts = 1;
  int64_t hello_timeout_ns = 5'000'000'000;
};

class AttachServer {
 public:
  AttachServer(AttachOptions options, keeper::Vault& vault, SessionTable& table,
               SessionHandler& handler);
  ~AttachServer();  // stops; sessions stay attached, the keeper has their connections
  AttachServer(const AttachServer&) = delete;
  AttachServer& operator=(const AttachServer&) = delete;

  // Sets up, takes over the sessions of the worker before (moved out of `held`, by index), revokes
  // those that cannot go on, and tells the others kWorkerRestarted: a peer without room for it is
  // told the latest as soon as it reads again, and goes on until then. Before Start. The handler
  // is not called before Start; what it has to hear comes first then.
  absl::Status Adopt(std::vector<keeper::HeldSession>& held);
  void Start();
  void Stop();

  // False: not delivered; with kMust the session is being ended. In order per calling thread.
  bool Send(SessionIndex session, const Message& message, Delivery delivery);
  // The sessions that have opened the pool, which do not count as such from here on.
  std::vector<SessionIndex> TakeOpened(uint32_t pool_handle);
  // To every session that has opened the pool.
  void SendToPool(uint32_t pool_handle, const Message& message, Delivery delivery);
  // To every session, dropped where the peer is behind.
  void Broadcast(const Message& message);
  // Limits from now on; sessions that are there stay.
  void SetSessionLimits(uint32_t per_process_max, uint32_t per_uid_max) {
    per_process_max_.store(per_process_max, std::memory_order_relaxed);
    per_uid_max_.store(per_uid_max, std::memory_order_relaxed);
  }
  // Ends the session soon, on the server's thread. `why` is static text, for the log.
  void EndSession(SessionIndex session, const char* why);

  uint32_t session_count() const { return session_count_.load(std::memory_order_relaxed); }
  // Indexes whose session has ended and whose process is not known to have.
  uint32_t lingering_count() const {
    const uint32_t in_use = indexes_in_use_.load(std::memory_order_relaxed);
    const uint32_t attached = session_count();
    return in_use > attached ? in_use - attached : 0;
  }
  uint64_t rejected(Rejection r) const {
    return rejected_[static_cast<size_t>(r)].load(std::memory_order_relaxed);
  }
  uint64_t sessions_ended() const { return sessions_ended_.load(std::memory_order_relaxed); }

 private:
  enum class Source : uint8_t { kListener, kWake, kGreeting, kConnection, kProcess };
  // Event key: source:8 | index or id:32 | serial:24.
  static uint64_t MakeKey(Source source, uint32_t id, uint32_t serial) {
    return uint64_t{static_cast<uint8_t>(source)} << 56 | uint64_t{id} << 24 | (serial & 0xffffff);
  }
  struct Session {
    obs::Mutex mu;
    UniqueFd connection ABSL_GUARDED_BY(mu);
    bool is_restart_untold ABSL_GUARDED_BY(mu) = false;  // waits for room in the peer's buffer
    // Attach thread only.
    UniqueFd pidfd;
    uint32_t serial = 0;  // 24 bits; tells events of an earlier user of the index apart
    bool is_ended = false;
    uint32_t opened_unread = 0;            // kPoolOpened sent since the peer had read all
    std::optional<OpenPool> waiting_open;  // until it has again; nothing else is read before that
    // Questions without an answer: bounded, so that a stopped peer's buffer keeps room.
    std::atomic<int32_t> audits_open{0};
  };

  // attach_server.cc: the loop
  void Run();
  void HandleEvent(uint64_t key);
  void HandleWake();
  void Accept();
  void MakeRoomFor(uint32_t uid);
  void DropLateGreetings();
  void ReadGreeting(uint32_t id);
  void ReadConnection(SessionIndex index);
  void ProcessEnded(SessionIndex index);
  static constexpr uint32_t kWatchedEvents = EPOLLIN | EPOLLRDHUP;
  // Each message that the peer takes is an event.
  static constexpr uint32_t kTakingEvents = EPOLLOUT | EPOLLET;
  bool IsStopping();
  bool Watch(int fd, uint64_t key);
  void Unwatch(int fd);
  void Reject(Rejection rejection);

  struct SessionOwner {
    uint32_t uid;
    uint64_t process_key;
  };

  // session_life.cc: sessions begin and end
  absl::Status AdoptOne(SessionIndex index, keeper::HeldSession held);
  bool WatchSession(SessionIndex index);
  void TellOfRestart(SessionIndex index);
  bool IsRestartUntold(SessionIndex index) {
    obs::MutexLock lock(&SessionAt(index).mu);
    return SessionAt(index).is_restart_untold;
  }
  void BeginSession(UniqueFd connection, const Hello& hello);
  bool CheckHello(int connection, const Hello& hello, Peer& peer);
  bool CheckQuota(int connection, uint32_t uid, uint64_t process_key);
  bool KeepSession(SessionIndex index, UniqueFd connection, UniqueFd pidfd, const Hello& hello,
                   const SessionOwner& owner);
  bool SendWelcome(SessionIndex index);
  void MarkEnded(SessionIndex index);
  void FinishEnded();
  void Recycle(SessionIndex index);
  void Rewatch(SessionIndex index, Session& session) ABSL_EXCLUSIVE_LOCKS_REQUIRED(session.mu);
  void Refuse(int connection, uint32_t tag, Refusal reason, const std::string& text);

  // session_open.cc: segments for a session
  void OpenPoolFor(SessionIndex index, const OpenPool& request);
  bool MayOpen(SessionIndex index, int fd, const OpenPool& request);
  bool GoOnOpening(SessionIndex index, int fd);

  Session& SessionAt(SessionIndex index) { return *sessions_[index]; }

  const AttachOptions options_;
  keeper::Vault& vault_;
  SessionTable& table_;
  SessionHandler& handler_;

  UniqueFd epoll_, wake_;
  std::vector<std::unique_ptr<Session>> sessions_;  // by index; made once
  // Attach thread only, and Adopt.
  Greetings greetings_;
  uint32_t next_serial_ = 0;
  std::deque<SessionIndex> free_;        // least recently used first
  std::vector<SessionIndex> ended_now_;  // ended in this pass, not told to the handler yet
  IndexUse index_use_;
  std::atomic<uint32_t> indexes_in_use_{0};  // changed by the attach thread

  obs::Mutex mu_;
  struct EndRequest {
    SessionIndex index;
    uint64_t word;  // of the session that is meant
    const char* why;
  };
  std::vector<EndRequest> to_end_ ABSL_GUARDED_BY(mu_);
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;

  std::atomic<uint32_t> per_process_max_, per_uid_max_;
  std::atomic<uint32_t> session_count_{0};
  std::atomic<uint64_t> sessions_ended_{0};
  std::array<std::atomic<uint64_t>, kRejectionCount> rejected_{};
  std::thread thread_;
};

}  // namespace leaseplane::attach
