// SPDX-License-Identifier: Apache-2.0
//
// Messages to sessions, from any thread. Never waits: a peer whose buffer is full has not read for
// hundreds of messages, and is ended unless the message may be lost.
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <cstring>

#include "server/attach/attach_server.h"

namespace leaseplane::attach {
namespace {

constexpr int32_t kAuditsOpenMax = 64;

}  // namespace

void AttachServer::Refuse(int connection, uint32_t tag, Refusal reason, const std::string& text) {
  Message message{};
  message.kind = Kind::kRefused;
  message.refused.tag = tag;
  message.refused.reason = static_cast<uint32_t>(reason);
  text.copy(message.refused.text, sizeof(message.refused.text) - 1);
  SendMessage(connection, message);
}

bool AttachServer::Send(SessionIndex index, const Message& message, Delivery delivery) {
  if (index < kOwnerSessionFirst || index >= kOwnerCount) return false;
  Session& session = SessionAt(index);
  if (message.kind == Kind::kAudit && session.audits_open.load() >= kAuditsOpenMax) return false;
  SendResult result = SendResult::kGone;
  {
    obs::MutexLock lock(&session.mu);
    if (!session.connection) return false;
    result = SendMessage(session.connection.get(), message);
  }
  if (result == SendResult::kSent) {
    if (message.kind == Kind::kAudit) session.audits_open.fetch_add(1);
    return true;
  }
  if (delivery == Delivery::kMust) EndSession(index, "does not take messages");
  return false;
}

// Never a reason to end a session: the next worker's notice says the same. A peer that does not
// read (the root of a process tree may have died) keeps what it has read last, and is told when it
// can take it.
void AttachServer::TellOfRestart(SessionIndex index) {
  Message message{};
  message.kind = Kind::kWorkerRestarted;
  message.worker_restarted.starts = options_.worker_starts;
  Session& session = SessionAt(index);
  obs::MutexLock lock(&session.mu);
  if (!session.connection) return;
  const bool is_full = SendMessage(session.connection.get(), message) == SendResult::kFull;
  if (is_full == session.is_restart_untold) return;
  session.is_restart_untold = is_full;
  Rewatch(index, session);
}

// After a change of what the peer is waited for.
void AttachServer::Rewatch(SessionIndex index, Session& session) {
  epoll_event event{};
  event.events = session.waiting_open ? kTakingEvents : kWatchedEvents;
  if (session.is_restart_untold) event.events |= EPOLLOUT;
  event.data.u64 = MakeKey(Source::kConnection, index, session.serial);
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, session.connection.get(), &event);
}

std::vector<SessionIndex> AttachServer::TakeOpened(uint32_t pool_handle) {
  std::vector<SessionIndex> sessions;
  for (SessionIndex index = kOwnerSessionFirst; index < kOwnerCount; ++index) {
    if (table_.TakeOpened(index, pool_handle) && table_.IsActive(index)) sessions.push_back(index);
  }
  return sessions;
}

void AttachServer::SendToPool(uint32_t pool_handle, const Message& message, Delivery delivery) {
  for (SessionIndex index = kOwnerSessionFirst; index < kOwnerCount; ++index) {
    if (table_.IsActive(index) && table_.HasOpened(index, pool_handle)) {
      Send(index, message, delivery);
    }
  }
}

void AttachServer::Broadcast(const Message& message) {
  for (SessionIndex index = kOwnerSessionFirst; index < kOwnerCount; ++index) {
    if (table_.IsActive(index)) Send(index, message, Delivery::kMay);
  }
}

void AttachServer::EndSession(SessionIndex index, const char* why) {
  {
    obs::MutexLock lock(&mu_);
    to_end_.push_back({index, table_.WordOf(index), why});
  }
  if (wake_) ::eventfd_write(wake_.get(), 1);
}

}  // namespace leaseplane::attach
