// SPDX-License-Identifier: Apache-2.0
//
// A session gets the segments of a pool. Descriptors that were sent and not read yet count against
// the daemon's user, and at the limit of open files the kernel sends no more of them to anybody. So
// a peer that does not read gets those of kOpenedUnreadMax answers; its next request is kept, and
// what it has sent behind that stays in the socket, until it has read all.
#include <sys/epoll.h>

#include <cstring>

#include "server/attach/attach_server.h"

namespace leaseplane::attach {

void AttachServer::OpenPoolFor(SessionIndex index, const OpenPool& request) {
  Session& session = SessionAt(index);
  int fd;
  {
    obs::MutexLock lock(&session.mu);
    fd = session.connection.get();
  }
  if (std::memchr(request.pool, '\0', sizeof(request.pool)) == nullptr) {
    Reject(Rejection::kRubbish);
    return MarkEnded(index);
  }
  if (!MayOpen(index, fd, request)) return;
  Peer peer;
  if (!ReadPeer(fd, peer)) return MarkEnded(index);
  auto result = handler_.OpenPool(index, peer, request.pool);
  if (const Refusal* refusal = std::get_if<Refusal>(&result)) {
    if (*refusal == Refusal::kNotAllowed) Reject(Rejection::kNotAllowed);
    return Refuse(fd, request.tag, *refusal, "");
  }
  OpenedPool& opened = std::get<OpenedPool>(result);
  table_.SetOpened(index, opened.answer.pool);
  Message message{};
  message.kind = Kind::kPoolOpened;
  message.pool_opened = opened.answer;
  message.pool_opened.tag = request.tag;
  bool sent;
  {
    obs::MutexLock lock(&session.mu);
    sent = SendMessage(fd, message, opened.fds) == SendResult::kSent;
  }
  if (!sent) return MarkEnded(index);
  ++session.opened_unread;
}

// False: the peer has to read first. The request waits.
bool AttachServer::MayOpen(SessionIndex index, int fd, const OpenPool& request) {
  Session& session = SessionAt(index);
  if (session.opened_unread < kOpenedUnreadMax) return true;
  if (HasReadAll(fd)) {
    session.opened_unread = 0;
    return true;
  }
  session.waiting_open = request;
  obs::MutexLock lock(&session.mu);
  Rewatch(index, session);
  return false;
}

// The peer has read, or hung up. False: it has not read all.
bool AttachServer::GoOnOpening(SessionIndex index, int fd) {
  Session& session = SessionAt(index);
  if (IsHungUp(fd)) {
    MarkEnded(index);
    return false;
  }
  if (!HasReadAll(fd)) return false;
  const OpenPool request = *session.waiting_open;
  session.waiting_open.reset();
  {
    obs::MutexLock lock(&session.mu);
    Rewatch(index, session);
  }
  OpenPoolFor(index, request);
  return true;
}

}  // namespace leaseplane::attach
