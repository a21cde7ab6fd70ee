// SPDX-License-Identifier: Apache-2.0
//
// The loop: one epoll over listener, greetings, connections, pidfds and the wake descriptor. Ends
// of sessions seen in one pass are collected and told to the handler together.
#include "server/attach/attach_server.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/obs/clock.h"
#include "server/obs/log.h"

namespace leaseplane::attach {
namespace {

constexpr int kEventsPerPass = 256;
constexpr int kMessagesPerPass = 16;  // of one connection, so that a talkative one starves nobody
constexpr int kAcceptsPerPass = 64;
constexpr int kGreetingCheckMs = 1'000;

}  // namespace

const char* RejectionName(Rejection rejection) {
  switch (rejection) {
    case Rejection::kRubbish:
      return "rubbish";
    case Rejection::kAbi:
      return "abi";
    case Rejection::kNotAllowed:
      return "not_allowed";
    case Rejection::kTooMany:
      return "too_many";
    case Rejection::kProcessQuota:
      return "process_quota";
    case Rejection::kUidQuota:
      return "uid_quota";
    case Rejection::kTimeout:
      return "timeout";
    case Rejection::kInternal:
      return "internal";
  }
  return "internal";
}

AttachServer::AttachServer(AttachOptions options, keeper::Vault& vault, SessionTable& table,
                           SessionHandler& handler)
    : options_(std::move(options)),
      vault_(vault),
      table_(table),
      handler_(handler),
      per_process_max_(options_.sessions_per_process_max),
      per_uid_max_(options_.sessions_per_uid_max) {
  sessions_.resize(kOwnerCount);
  for (auto& session : sessions_) session = std::make_unique<Session>();
}

AttachServer::~AttachServer() { Stop(); }

void AttachServer::Start() {
  thread_ = std::thread([this] { Run(); });
}

void AttachServer::Stop() {
  {
    obs::MutexLock lock(&mu_);
    stopping_ = true;
  }
  if (wake_) ::eventfd_write(wake_.get(), 1);
  if (thread_.joinable()) thread_.join();
}

bool AttachServer::IsStopping() {
  obs::MutexLock lock(&mu_);
  return stopping_;
}

bool AttachServer::Watch(int fd, uint64_t key) {
  epoll_event event{};
  event.events = kWatchedEvents;
  event.data.u64 = key;
  return ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0;
}

// Needed before every close: the keeper's copy keeps the description, and with it the watch, alive.
void AttachServer::Unwatch(int fd) { ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr); }

void AttachServer::Reject(Rejection rejection) {
  rejected_[static_cast<size_t>(rejection)].fetch_add(1, std::memory_order_relaxed);
}

void AttachServer::Run() {
  FinishEnded();  // what Adopt found
  epoll_event events[kEventsPerPass];
  // Asked before each sleep: HandleWake takes the signal of Stop together with one for an end.
  while (!IsStopping()) {
    const int timeout_ms = greetings_.is_empty() ? -1 : kGreetingCheckMs;
    const int count = ::epoll_wait(epoll_.get(), events, kEventsPerPass, timeout_ms);
    for (int i = 0; i < count; ++i) HandleEvent(events[i].data.u64);
    DropLateGreetings();
    FinishEnded();
  }
}

void AttachServer::HandleEvent(uint64_t key) {
  const auto source = static_cast<Source>(key >> 56);
  const auto id = static_cast<uint32_t>(key >> 24);
  const auto serial = static_cast<uint32_t>(key & 0xffffff);
  switch (source) {
    case Source::kListener:
      return Accept();
    case Source::kWake:
      return HandleWake();
    case Source::kGreeting:
      return ReadGreeting(id);
    case Source::kConnection:
      if (SessionAt(id).serial != serial) return;
      ReadConnection(id);
      if (IsRestartUntold(id)) TellOfRestart(id);
      return;
    case Source::kProcess:
      if (SessionAt(id).serial == serial) ProcessEnded(id);
      return;
  }
}

void AttachServer::HandleWake() {
  eventfd_t ignored;
  ::eventfd_read(wake_.get(), &ignored);
  std::vector<EndRequest> to_end;
  {
    obs::MutexLock lock(&mu_);
    to_end.swap(to_end_);
  }
  for (const EndRequest& request : to_end) {
    if (!table_.IsActive(request.index) || table_.WordOf(request.index) != request.word) continue;
    obs::Log(obs::Level::kWarning, "session ended by the daemon",
             {{"session", request.index}, {"why", request.why}});
    MarkEnded(request.index);
  }
}

void AttachServer::Accept() {
  for (int i = 0; i < kAcceptsPerPass; ++i) {
    UniqueFd connection(
        ::accept4(options_.listener_fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!connection) {
      // Out of descriptors the connection stays in the backlog; a pause keeps us from spinning.
      if (errno == EMFILE || errno == ENFILE) ::usleep(10'000);
      return;
    }
    Peer peer;
    ReadPeer(connection.get(), peer);  // those the kernel is silent about are one user
    if (greetings_.is_full_for(peer.uid)) MakeRoomFor(peer.uid);
    if (greetings_.is_full()) {
      Reject(Rejection::kTooMany);
      Refuse(connection.get(), 0, Refusal::kTooManySessions, "too many processes are connecting");
      continue;
    }
    const uint32_t id = ++next_serial_;
    if (!Watch(connection.get(), MakeKey(Source::kGreeting, id, 0))) continue;
    greetings_.Add(id, std::move(connection), peer.uid, obs::BootNowNs());
  }
}

// Whoever has said Hello by now goes on. If nobody has, the one that was silent longest gives way.
void AttachServer::MakeRoomFor(uint32_t uid) {
  const std::vector<uint32_t> ids = greetings_.Of(uid);
  for (const uint32_t id : ids) ReadGreeting(id);
  if (!greetings_.is_full_for(uid)) return;
  Reject(Rejection::kUidQuota);
  Refuse(greetings_.ConnectionOf(ids.front()), 0, Refusal::kTooManySessions,
         "too many processes of your user are connecting");
  greetings_.Take(ids.front());
}

void AttachServer::DropLateGreetings() {
  size_t late = greetings_.DropBefore(obs::BootNowNs() - options_.hello_timeout_ns);
  for (; late > 0; --late) Reject(Rejection::kTimeout);
}

void AttachServer::ReadGreeting(uint32_t id) {
  const int fd = greetings_.ConnectionOf(id);
  if (fd < 0) return;
  Message message{};
  const ReadResult result = ReadMessage(fd, message);
  if (result == ReadResult::kNothing) return;
  Unwatch(fd);
  UniqueFd connection = greetings_.Take(id);
  if (result == ReadResult::kHangUp) return;
  if (result != ReadResult::kMessage || message.kind != Kind::kHello ||
      message.hello.magic != kProtocolMagic) {
    return Reject(Rejection::kRubbish);
  }
  BeginSession(std::move(connection), message.hello);
}

void AttachServer::ReadConnection(SessionIndex index) {
  Session& session = SessionAt(index);
  int fd;
  {
    obs::MutexLock lock(&session.mu);
    fd = session.connection.get();  // closed by this thread only
  }
  if (session.waiting_open && !GoOnOpening(index, fd)) return;
  for (int i = 0; i < kMessagesPerPass && fd >= 0 && !session.is_ended; ++i) {
    if (session.waiting_open) return;
    Message message{};
    ReadResult result = ReadMessage(fd, message);
    if (result == ReadResult::kNothing) return;
    if (result == ReadResult::kHangUp) return MarkEnded(index);
    table_.NoteHeard(index, obs::BootNowNs());
    Verdict verdict = Verdict::kRubbish;
    if (result == ReadResult::kMessage && message.kind == Kind::kOpenPool) {
      OpenPoolFor(index, message.open_pool);
      verdict = Verdict::kDone;
    } else if (result == ReadResult::kMessage && message.kind != Kind::kHello) {
      if (message.kind == Kind::kAuditAnswer && session.audits_open.load() > 0) {
        session.audits_open.fetch_sub(1);
      }
      verdict = handler_.HandleMessage(index, message);
    }
    if (verdict == Verdict::kRubbish) {
      Reject(Rejection::kRubbish);
      return MarkEnded(index);
    }
  }
}

// The process has ended: a kProcess session ends with it; an index whose session had ended before
// is clean now.
void AttachServer::ProcessEnded(SessionIndex index) {
  Session& session = SessionAt(index);
  Unwatch(session.pidfd.get());
  if (!session.is_ended) return MarkEnded(index);
  // Whatever the process did between the revocation and its death is swept again.
  ended_now_.push_back(index);
}

}  // namespace leaseplane::attach
