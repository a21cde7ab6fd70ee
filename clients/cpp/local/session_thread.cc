// SPDX-License-Identifier: Apache-2.0
// The library's thread of a session, and the daemon's heart. What the daemon says is handled in
// session_messages.cc.
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "clients/cpp/boot_clock.h"
#include "clients/cpp/local/session.h"

namespace leaseplane::internal {

void* Session::ThreadMain(void* session) {
  ::pthread_setname_np(::pthread_self(), "leaseplane");
  static_cast<Session*>(session)->Run();
  return nullptr;
}

void Session::Run() {
  for (;;) {
    {
      const MutexLock lock(&mu_);
      if (stopping_) return;
    }
    if (PollOnce()) continue;
    DaemonGone();
    Reattach();
  }
}

// False: the daemon is gone.
bool Session::PollOnce() {
  pollfd items[3] = {
      {socket_fd(), POLLIN, 0}, {lifeline_.get(), 0, 0}, {wake_fd_.get(), POLLIN, 0}};
  const int64_t rest_ns = std::max<int64_t>(next_heartbeat_check_ns_ - BootNowNs(), 0);
  const int timeout_ms = by_handle_.empty() ? -1 : static_cast<int>(rest_ns / kMillisecondNs) + 1;
  ::poll(items, 3, timeout_ms);
  if ((items[2].revents & POLLIN) != 0) {
    uint64_t count = 0;
    [[maybe_unused]] const ssize_t n = ::read(wake_fd_.get(), &count, sizeof(count));
  }
  // Whatever the daemon said before it went is read first: it may have granted slots.
  if (items[0].revents != 0 && !ReadAll()) return false;
  if (items[1].revents != 0) {
    ReadAll();
    return false;
  }
  CheckHeartbeat();
  return moved_.empty() || FollowMoves();
}

void Session::CheckHeartbeat() {
  const int64_t now_ns = BootNowNs();
  if (now_ns < next_heartbeat_check_ns_) return;
  next_heartbeat_check_ns_ = now_ns + HeartbeatWatch::kCheckPeriodNs;
  if (by_handle_.empty()) return;
  uint64_t beats = 0;  // one timer of the daemon beats for all pools
  for (const auto& [handle, record] : by_handle_) {
    beats += RealMemory::Load(*record->pool.state()->attachment.words.heartbeat);
  }
  const bool is_void = heartbeat_.StandsStill(beats, now_ns);
  if (flags_.Has(Flags::kGateVoid) == is_void) return;
  flags_.Set(Flags::kGateVoid, is_void);
  if (is_void) tickets_.NudgeAll();  // the daemon does not serve its queue now
}

// Handles every message that is there. False: the connection is over, or not to be believed.
bool Session::ReadAll() {
  std::shared_ptr<AttachSocket> socket;
  {
    const MutexLock lock(&mu_);
    socket = socket_;
  }
  Incoming incoming;
  for (;;) {
    switch (socket->Receive(incoming)) {
      case AttachSocket::Got::kNothing:
        return true;
      case AttachSocket::Got::kClosed:
        return false;
      case AttachSocket::Got::kMessage:
        if (!Handle(incoming)) return false;
    }
  }
}

}  // namespace leaseplane::internal
