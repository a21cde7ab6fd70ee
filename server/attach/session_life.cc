// SPDX-License-Identifier: Apache-2.0
//
// How a session begins and ends. Beginning: record, keeper, word, welcome. Ending: word, handler,
// record, keeper; then the index waits until its process is known to be dead. A worker may die
// between any two of these; Adopt finds the record in one of three stages and goes on from there.
#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "server/attach/attach_server.h"
#include "server/obs/clock.h"
#include "server/obs/log.h"

namespace leaseplane::attach {
namespace {

using keeper::SessionStage;

template <size_t N>
bool IsTerminated(const char (&text)[N]) {
  return std::memchr(text, '\0', N) != nullptr;
}

}  // namespace

absl::Status AttachServer::Adopt(std::vector<keeper::HeldSession>& held) {
  epoll_.reset(::epoll_create1(EPOLL_CLOEXEC));
  wake_.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!epoll_ || !wake_) return absl::ErrnoToStatus(errno, "cannot set up the attach server");
  if (!Watch(options_.listener_fd, MakeKey(Source::kListener, 0, 0)) ||
      !Watch(wake_.get(), MakeKey(Source::kWake, 0, 0))) {
    return absl::ErrnoToStatus(errno, "cannot watch the attach socket");
  }
  held.resize(kOwnerCount);
  for (SessionIndex index = kOwnerSessionFirst; index < kOwnerCount; ++index) {
    absl::Status status = AdoptOne(index, std::move(held[index]));
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status AttachServer::AdoptOne(SessionIndex index, keeper::HeldSession held) {
  const SessionStage stage = table_.record(index).stage.load();
  // A worker that died before the keeper had the connection had told the client nothing.
  const bool was_told = stage != SessionStage::kAttaching || held.connection;
  if (stage == SessionStage::kUnused || !was_told) {
    table_.SetStage(index, SessionStage::kUnused);
    free_.push_back(index);
    return absl::OkStatus();
  }
  Session& session = SessionAt(index);
  ++indexes_in_use_;
  index_use_.Take(table_.UidOf(index), table_.record(index).process_key);
  table_.NoteHeard(index, obs::BootNowNs());  // nobody listened in between
  session_count_.fetch_add(1);
  session.serial = ++next_serial_ & 0xffffff;
  session.pidfd = std::move(held.pidfd);
  session.opened_unread = kOpenedUnreadMax;  // what the worker before sent may not have been read
  const bool goes_on =
      stage == SessionStage::kAttached && held.connection && table_.IsActive(index);
  {
    obs::MutexLock lock(&session.mu);
    session.connection = std::move(held.connection);
  }
  if (!goes_on) {
    MarkEnded(index);
    return absl::OkStatus();
  }
  if (!WatchSession(index)) return absl::ErrnoToStatus(errno, "cannot watch a session");
  TellOfRestart(index);
  return absl::OkStatus();
}

// The process of a tree is of no interest while the connection stands.
bool AttachServer::WatchSession(SessionIndex index) {
  Session& session = SessionAt(index);
  const bool is_tree = table_.IsTree(index);
  if (session.pidfd && !is_tree &&
      !Watch(session.pidfd.get(), MakeKey(Source::kProcess, index, session.serial))) {
    return false;
  }
  obs::MutexLock lock(&session.mu);
  return Watch(session.connection.get(), MakeKey(Source::kConnection, index, session.serial));
}

bool AttachServer::CheckHello(int connection, const Hello& hello, Peer& peer) {
  if (!IsTerminated(hello.client_name) || hello.liveness > static_cast<uint32_t>(Liveness::kTree)) {
    Reject(Rejection::kRubbish);
    return false;
  }
  if (hello.abi_major != shm::kAbiMajor || hello.abi_minor > shm::kAbiMinor) {
    Reject(Rejection::kAbi);
    Refuse(connection, 0, Refusal::kAbiMismatch, "the daemon's shared-memory ABI is 1.0");
    return false;
  }
  if (!ReadPeer(connection, peer)) {
    Reject(Rejection::kInternal);
    Refuse(connection, 0, Refusal::kInternal, "the kernel does not say who you are");
    return false;
  }
  if (indexes_in_use_ >= options_.sessions_max || free_.empty()) {
    Reject(Rejection::kTooMany);
    Refuse(connection, 0, Refusal::kTooManySessions, "no session is left");
    return false;
  }
  return true;
}

bool AttachServer::CheckQuota(int connection, uint32_t uid, uint64_t process_key) {
  const uint32_t per_process = per_process_max_.load(std::memory_order_relaxed);
  if (per_process != 0 && process_key != 0 && index_use_.OfProcess(process_key) >= per_process) {
    Reject(Rejection::kProcessQuota);
    Refuse(connection, 0, Refusal::kTooManySessions,
           absl::StrCat("a process gets ", per_process,
                        " sessions until it ends; keep one, or raise max_sessions_per_process"));
    return false;
  }
  const uint32_t per_uid = per_uid_max_.load(std::memory_order_relaxed);
  if (per_uid != 0 && index_use_.OfUid(uid) >= per_uid) {
    Reject(Rejection::kUidQuota);
    Refuse(connection, 0, Refusal::kTooManySessions,
           absl::StrCat("processes of user ", uid, " have all of their ", per_uid,
                        " sessions; see max_sessions_per_uid"));
    return false;
  }
  return true;
}

// Record, then keeper. False: neither has the session.
bool AttachServer::KeepSession(SessionIndex index, UniqueFd connection, UniqueFd pidfd,
                               const Hello& hello, const SessionOwner& owner) {
  Session& session = SessionAt(index);
  table_.Begin(index, owner.uid, hello.liveness, obs::BootNowNs());
  table_.record(index).process_key = owner.process_key;
  std::memcpy(table_.record(index).client_name, hello.client_name, sizeof(hello.client_name));
  absl::Status kept = vault_.AddSession(index, connection.get(), pidfd.get());
  if (!kept.ok()) {
    table_.SetStage(index, SessionStage::kUnused);
    Reject(Rejection::kInternal);
    obs::Log(obs::Level::kError, "session refused", {{"error", kept.ToString()}});
    Refuse(connection.get(), 0, Refusal::kInternal, "the keeper refused the session");
    return false;
  }
  session.is_ended = false;
  session.opened_unread = 0;
  session.audits_open = 0;
  session.serial = ++next_serial_ & 0xffffff;
  session.pidfd = std::move(pidfd);
  obs::MutexLock lock(&session.mu);
  session.connection = std::move(connection);
  return true;
}

void AttachServer::BeginSession(UniqueFd connection, const Hello& hello) {
  Peer peer;
  if (!CheckHello(connection.get(), hello, peer)) return;
  UniqueFd pidfd = PeerPidfd(connection.get());
  const SessionOwner owner = {peer.uid, ProcessKey(connection.get(), pidfd.get())};
  if (!CheckQuota(connection.get(), owner.uid, owner.process_key)) return;
  const SessionIndex index = free_.front();
  if (!KeepSession(index, std::move(connection), std::move(pidfd), hello, owner)) return;
  free_.pop_front();
  ++indexes_in_use_;
  index_use_.Take(owner.uid, owner.process_key);
  session_count_.fetch_add(1);
  table_.PublishWord(index);
  if (!WatchSession(index) || !SendWelcome(index)) return MarkEnded(index);
  table_.SetStage(index, SessionStage::kAttached);
}

bool AttachServer::SendWelcome(SessionIndex index) {
  Message message{};
  message.kind = Kind::kWelcome;
  Welcome& welcome = message.welcome;
  welcome.session = index;
  welcome.abi_major = shm::kAbiMajor;
  welcome.abi_minor = shm::kAbiMinor;
  welcome.session_word = table_.record(index).word;
  std::strncpy(welcome.instance_id, options_.instance_id.c_str(), sizeof(welcome.instance_id) - 1);
  welcome.segment_uid = options_.segment_uid;
  welcome.heartbeat_period_ns = options_.heartbeat_period_ns;
  const int fds[] = {options_.sess_fd, options_.lifeline_fd};
  Session& session = SessionAt(index);
  obs::MutexLock lock(&session.mu);
  return SendMessage(session.connection.get(), message, fds) == SendResult::kSent;
}

// First half of an end: from here on no grant of the session stands, and nothing is sent to it.
void AttachServer::MarkEnded(SessionIndex index) {
  Session& session = SessionAt(index);
  if (session.is_ended) return;
  session.is_ended = true;
  session_count_.fetch_sub(1);
  sessions_ended_.fetch_add(1, std::memory_order_relaxed);
  table_.Revoke(index);
  session.waiting_open.reset();
  {
    obs::MutexLock lock(&session.mu);
    if (session.connection) {
      Unwatch(session.connection.get());
      ::shutdown(session.connection.get(), SHUT_RDWR);  // the keeper has a copy
      session.connection.reset();
    }
  }
  ended_now_.push_back(index);
}

// Second half, for all that ended in this pass: one sweep over the pools.
void AttachServer::FinishEnded() {
  if (ended_now_.empty()) return;
  std::vector<SessionIndex> ended;
  ended.swap(ended_now_);
  std::sort(ended.begin(), ended.end());
  ended.erase(std::unique(ended.begin(), ended.end()), ended.end());
  // Looked at before the sweep: a process that dies after it may have won a slot in between.
  std::vector<SessionIndex> dead;
  for (SessionIndex index : ended) {
    const int pidfd = SessionAt(index).pidfd.get();
    if (pidfd >= 0 && HasEnded(pidfd)) dead.push_back(index);
  }
  handler_.SessionsEnded(ended);
  for (SessionIndex index : ended) {
    Session& session = SessionAt(index);
    table_.SetStage(index, SessionStage::kEnded);
    vault_.DropConnection(index).IgnoreError();
    if (!session.pidfd) continue;
    Unwatch(session.pidfd.get());
    if (std::binary_search(dead.begin(), dead.end(), index)) {
      Recycle(index);
    } else {
      // Level-triggered: a death since is reported in the next pass.
      Watch(session.pidfd.get(), MakeKey(Source::kProcess, index, session.serial));
    }
  }
}

void AttachServer::Recycle(SessionIndex index) {
  Session& session = SessionAt(index);
  session.pidfd.reset();
  session.serial = 0;
  vault_.DropSession(index).IgnoreError();
  table_.SetStage(index, SessionStage::kUnused);
  free_.push_back(index);
  --indexes_in_use_;
  index_use_.GiveBack(table_.UidOf(index), table_.record(index).process_key);
}

}  // namespace leaseplane::attach
