// SPDX-License-Identifier: Apache-2.0
#include "tests/support/fake_daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

namespace leaseplane::testing {
namespace {

using attach::Kind;
using attach::Message;

constexpr int kTickMs = 10;

void Must(bool holds) {
  if (!holds) std::abort();
}

int64_t NowNs() {
  timespec now{};
  ::clock_gettime(CLOCK_BOOTTIME, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

Message Make(Kind kind) {
  Message message;
  ::memset(&message, 0, sizeof(message));
  message.kind = kind;
  return message;
}

UniqueFd Listen(const std::string& path) {
  ::unlink(path.c_str());
  UniqueFd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  Must(path.size() < sizeof(address.sun_path));
  std::copy(path.begin(), path.end(), address.sun_path);
  const void* untyped = &address;
  Must(::bind(fd.get(), static_cast<const sockaddr*>(untyped), sizeof(address)) == 0);
  Must(::listen(fd.get(), 64) == 0);
  return fd;
}

}  // namespace

FakeDaemon::FakeDaemon(FakeDaemonOptions options)
    : options_(std::move(options)),
      listener_(Listen(options_.folder + "/attach.sock")),
      wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      recovering_(options_.recovering),
      holds_claim_results_(options_.holds_claim_results) {
  int ends[2];
  Must(::pipe2(ends, O_CLOEXEC) == 0);
  lifeline_read_.reset(ends[0]);
  lifeline_write_.reset(ends[1]);
  MakeSess();
  for (const FakePool& pool : options_.pools) MakePool(pool);
  thread_ = std::thread([this] { Run(); });
}

FakeDaemon::~FakeDaemon() {
  stop_ = true;
  const uint64_t one = 1;
  Must(::write(wake_.get(), &one, sizeof(one)) == sizeof(one));
  thread_.join();
}

void FakeDaemon::Run() {
  while (!stop_) {
    std::vector<pollfd> items{{listener_.get(), POLLIN, 0}, {wake_.get(), POLLIN, 0}};
    std::vector<Peer*> polled;
    {
      const std::lock_guard<std::mutex> lock(mu_);
      for (const auto& peer : peers_) {
        items.push_back({peer->fd.get(), POLLIN, 0});
        polled.push_back(peer.get());
      }
    }
    ::poll(items.data(), items.size(), kTickMs);
    const std::lock_guard<std::mutex> lock(mu_);
    if ((items[0].revents & POLLIN) != 0) Accept();
    for (size_t i = 0; i < polled.size(); ++i) {
      if (items[i + 2].revents != 0) ReadPeer(*polled[i]);
    }
    peers_.erase(std::remove_if(peers_.begin(), peers_.end(), [](const auto& p) { return !p->fd; }),
                 peers_.end());
    if (beats_) {
      for (Pool& pool : pools_) pool.authority->Beat();
    }
    if (serves_) ServeQueue();
  }
  peers_.clear();
}

void FakeDaemon::Accept() {
  UniqueFd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!fd) return;
  auto peer = std::make_unique<Peer>();
  peer->fd = std::move(fd);
  peers_.push_back(std::move(peer));
}

void FakeDaemon::ReadPeer(Peer& peer) {
  Message message;
  for (;;) {
    const ssize_t n = ::recv(peer.fd.get(), &message, sizeof(message), MSG_DONTWAIT);
    if (n == static_cast<ssize_t>(sizeof(message))) {
      Handle(peer, message);
      if (!peer.fd) return;
      continue;
    }
    if (n < 0 && errno == EAGAIN) return;
    EndPeer(peer);
    return;
  }
}

void FakeDaemon::StoreSession(SessionIndex index, shm::SessionState state) {
  auto* words = shm::At<RealMemory::U64>(sess_.base(), shm::kPageBytes);
  RealMemory::Store(words[index], shm::MakeSessionWord(state, 1000 + index));
}

void FakeDaemon::EndPeer(Peer& peer) {
  peer.fd.reset();
  if (peer.index == 0) return;
  StoreSession(peer.index, shm::SessionState::kRevoked);
  queue_.erase(std::remove_if(queue_.begin(), queue_.end(),
                              [&](const Waiter& w) { return w.session == peer.index; }),
               queue_.end());
  std::vector<SlotEvent> taken;
  for (Pool& pool : pools_) pool.authority->EndSessions({&peer.index, 1}, taken);
}

void FakeDaemon::Handle(Peer& peer, const Message& message) {
  switch (message.kind) {
    case Kind::kHello:
      return OnHello(peer, message.hello);
    case Kind::kOpenPool:
      return OnOpenPool(peer, message.open_pool);
    case Kind::kEnqueue:
      if (restarted_) ++enqueues_after_restart_;
      if (pools_[message.enqueue.pool].authority->words().Drained()) {
        return RefuseTicket({peer.index, message.enqueue.pool, message.enqueue.ticket});
      }
      queue_.push_back({peer.index, message.enqueue.pool, message.enqueue.ticket});
      if (pools_[message.enqueue.pool].options.fifo) {
        pools_[message.enqueue.pool].authority->SetGate(shm::Gate::kClosed);
      }
      return;
    case Kind::kLeave:
      queue_.erase(std::remove_if(queue_.begin(), queue_.end(),
                                  [&](const Waiter& w) {
                                    return w.session == peer.index &&
                                           w.ticket == message.leave.ticket;
                                  }),
                   queue_.end());
      return;
    case Kind::kAuditAnswer:
      answers_[message.audit_answer.question] = message.audit_answer.gen;
      return;
    case Kind::kClaim:
      return OnClaim(peer, message.claim);
    case Kind::kGrantAck:
      ++acks_;
      return;
    case Kind::kClaimsDone:
      ++claims_done_;
      return;
    default:
      EndPeer(peer);
  }
}

void FakeDaemon::OnHello(Peer& peer, const attach::Hello& hello) {
  Must(hello.magic == attach::kProtocolMagic);
  if (options_.other_abi) return Refuse(peer, 0, attach::Refusal::kAbiMismatch);
  peer.index = ++last_session_;
  StoreSession(peer.index, shm::SessionState::kActive);
  Message message = Make(Kind::kWelcome);
  message.welcome.session = peer.index;
  message.welcome.abi_major = shm::kAbiMajor;
  message.welcome.session_word =
      shm::MakeSessionWord(shm::SessionState::kActive, 1000 + peer.index);
  ::memcpy(message.welcome.instance_id, options_.instance_id.c_str(), options_.instance_id.size());
  message.welcome.segment_uid = sess_uid_;
  Send(peer, message, {sess_fd_.get(), lifeline_read_.get()});
}

void FakeDaemon::OnOpenPool(Peer& peer, const attach::OpenPool& open) {
  for (uint32_t handle = 0; handle < pools_.size(); ++handle) {
    Pool& pool = pools_[handle];
    if (pool.options.name != open.pool) continue;
    if (pool.options.refuse != attach::Refusal::kNone) {
      return Refuse(peer, open.tag, pool.options.refuse);
    }
    ++pools_opened_;
    Message message = Make(Kind::kPoolOpened);
    message.pool_opened.tag = open.tag;
    message.pool_opened.pool = handle;
    message.pool_opened.pool_uid = pool.uid;
    message.pool_opened.capacity = pool.options.capacity;
    message.pool_opened.max_capacity = pool.options.capacity;
    message.pool_opened.fairness = pool.options.fifo ? 1 : 0;
    message.pool_opened.max_overtake_ns = pool.options.max_overtake_ns;
    message.pool_opened.recovering = recovering_ ? 1 : 0;
    return Send(peer, message, {pool.data_fd.get(), pool.ctl_fd.get(), pool.meta_fd.get()});
  }
  Refuse(peer, open.tag, attach::Refusal::kUnknownPool);
}

void FakeDaemon::OnClaim(Peer& peer, const attach::Claim& claim) {
  Must(recovering_);
  Message message = Make(Kind::kClaimResult);
  message.claim_result.pool = claim.pool;
  message.claim_result.slot = claim.slot;
  message.claim_result.token = claim.token;
  message.claim_result.accepted =
      pools_[claim.pool].authority->Restore(claim.slot, peer.index, claim.token, NowNs()) ? 1 : 0;
  accepted_claims_ += static_cast<int>(message.claim_result.accepted);
  if (holds_claim_results_) {
    held_claim_results_.push_back({peer.index, message});
  } else {
    Send(peer, message);
  }
}

void FakeDaemon::ServeQueue() {
  for (auto w = queue_.begin(); w != queue_.end();) {
    Authority<RealMemory>& authority = *pools_[w->pool].authority;
    const auto grant = authority.Grant(w->session, NowNs());
    Peer* peer = PeerOf(w->session);
    if (!grant.has_value() || peer == nullptr) {
      ++w;
      continue;
    }
    Message message = Make(Kind::kGrant);
    message.grant.pool = w->pool;
    message.grant.slot = grant->slot;
    message.grant.ticket = w->ticket;
    message.grant.token = MakeToken(authority.epoch(), grant->gen);
    Send(*peer, message);
    w = queue_.erase(w);
  }
  for (uint32_t handle = 0; handle < pools_.size(); ++handle) {
    if (!pools_[handle].options.fifo) continue;
    const bool waits = std::any_of(queue_.begin(), queue_.end(),
                                   [handle](const Waiter& w) { return w.pool == handle; });
    const bool closes = waits || pools_[handle].authority->words().Drained();
    pools_[handle].authority->SetGate(closes ? shm::Gate::kClosed : shm::Gate::kOpen);
  }
}

void FakeDaemon::Refuse(Peer& peer, uint32_t tag, attach::Refusal reason) {
  Message message = Make(Kind::kRefused);
  message.refused.tag = tag;
  message.refused.reason = static_cast<uint32_t>(reason);
  ::strcpy(message.refused.text, "because the test says so");
  Send(peer, message);
}

FakeDaemon::Peer* FakeDaemon::PeerOf(SessionIndex index) {
  for (const auto& peer : peers_) {
    if (peer->index == index && peer->fd) return peer.get();
  }
  return nullptr;
}

void FakeDaemon::Send(const Peer& peer, const Message& message, std::vector<int> fds) {
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * 4)] = {};
  Message copy = message;
  iovec data{&copy, sizeof(copy)};
  msghdr header{};
  header.msg_iov = &data;
  header.msg_iovlen = 1;
  if (!fds.empty()) {
    header.msg_control = control;
    header.msg_controllen = CMSG_SPACE(sizeof(int) * fds.size());
    cmsghdr* c = CMSG_FIRSTHDR(&header);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int) * fds.size());
    ::memcpy(CMSG_DATA(c), fds.data(), sizeof(int) * fds.size());
  }
  ::sendmsg(peer.fd.get(), &header, MSG_NOSIGNAL);
}

}  // namespace leaseplane::testing
