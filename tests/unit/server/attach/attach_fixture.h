// SPDX-License-Identifier: Apache-2.0
//
// An attach server over real sockets, with a vault and a handler that write down what they are
// told, and a client that speaks the protocol by hand.
#pragma once

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <functional>
#include <memory>
#include <new>
#include <set>
#include <string>
#include <vector>

#include "core/shm/segment.h"
#include "server/attach/attach_server.h"
#include "server/keeper/listener.h"
#include "server/obs/mutex.h"

namespace leaseplane::attach {

inline bool WaitUntil(const std::function<bool()>& condition) {
  for (int i = 0; i < 20'000; ++i) {
    if (condition()) return true;
    usleep(1'000);
  }
  return false;
}

// Holds what the keeper would.
class TestVault : public keeper::Vault {
 public:
  absl::Status AddSess(int, uint64_t, uint64_t) override { return absl::OkStatus(); }
  absl::Status AddPool(const keeper::PoolOffer&) override { return absl::OkStatus(); }
  absl::Status ReplacePool(const keeper::PoolOffer&) override { return absl::OkStatus(); }
  absl::Status DropPool(uint32_t) override { return absl::OkStatus(); }
  absl::Status AddSession(SessionIndex index, int connection, int pidfd) override {
    obs::MutexLock lock(&mu);
    if (refuse) return absl::InternalError("told to refuse");
    held[index].connection.reset(dup(connection));
    held[index].pidfd.reset(pidfd < 0 ? -1 : dup(pidfd));
    return absl::OkStatus();
  }
  absl::Status DropConnection(SessionIndex index) override {
    obs::MutexLock lock(&mu);
    held[index].connection.reset();
    return absl::OkStatus();
  }
  absl::Status DropSession(SessionIndex index) override {
    obs::MutexLock lock(&mu);
    held[index] = {};
    ++dropped;
    return absl::OkStatus();
  }
  // What a worker forked now would find.
  std::vector<keeper::HeldSession> Copy() {
    obs::MutexLock lock(&mu);
    std::vector<keeper::HeldSession> copy(kOwnerCount);
    for (SessionIndex i = 0; i < kOwnerCount; ++i) {
      if (held[i].connection) copy[i].connection.reset(dup(held[i].connection.get()));
      if (held[i].pidfd) copy[i].pidfd.reset(dup(held[i].pidfd.get()));
    }
    return copy;
  }

  obs::Mutex mu;
  bool refuse = false;
  int dropped = 0;
  std::vector<keeper::HeldSession> held = std::vector<keeper::HeldSession>(kOwnerCount);
};

class TestHandler : public SessionHandler {
 public:
  std::variant<OpenedPool, Refusal> OpenPool(SessionIndex, const Peer& peer,
                                             std::string_view pool) override {
    ++open_count;
    if (pool == "forbidden") return Refusal::kNotAllowed;
    if (pool != "gpu") return Refusal::kUnknownPool;
    EXPECT_EQ(peer.uid, getuid());
    OpenedPool opened;
    opened.answer.pool = 7;
    opened.answer.capacity = 3;
    for (int i = 0; i < 3; ++i) opened.fds[i] = segment.get();
    return opened;
  }
  Verdict HandleMessage(SessionIndex session, const Message& message) override {
    if (message.kind != Kind::kEnqueue && message.kind != Kind::kAuditAnswer) {
      return Verdict::kRubbish;
    }
    if (on_message) on_message();
    obs::MutexLock lock(&mu);
    messages.push_back({session, message});
    return Verdict::kDone;
  }
  void SessionsEnded(std::span<const SessionIndex> sessions) override {
    obs::MutexLock lock(&mu);
    batches.push_back({sessions.begin(), sessions.end()});
    for (SessionIndex s : sessions) ended.insert(s);
  }
  bool HasEnded(SessionIndex session) {
    obs::MutexLock lock(&mu);
    return ended.contains(session);
  }
  size_t message_count() {
    obs::MutexLock lock(&mu);
    return messages.size();
  }

  std::atomic<int> open_count{0};
  std::function<void()> on_message;  // set before the server starts
  UniqueFd segment = *shm::CreateSegment("data", 4096);
  obs::Mutex mu;
  std::vector<std::pair<SessionIndex, Message>> messages;
  std::vector<std::vector<SessionIndex>> batches;
  std::multiset<SessionIndex> ended;
};

class Client {
 public:
  explicit Client(const std::string& path) {
    fd.reset(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof(address.sun_path) - 1);
    const void* name = &address;
    connected = connect(fd.get(), static_cast<const sockaddr*>(name), sizeof(address)) == 0;
    timeval timeout{20, 0};
    setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
  }
  static Message Hello(Liveness liveness = Liveness::kProcess) {
    Message m{};
    m.kind = Kind::kHello;
    m.hello.magic = kProtocolMagic;
    m.hello.abi_major = shm::kAbiMajor;
    m.hello.abi_minor = shm::kAbiMinor;
    m.hello.liveness = static_cast<uint32_t>(liveness);
    return m;
  }
  bool SendBytes(const void* bytes, size_t count) {
    return send(fd.get(), bytes, count, MSG_NOSIGNAL) == static_cast<ssize_t>(count);
  }
  bool Send(const Message& m) { return SendBytes(&m, sizeof(m)); }
  // Kind::kNone: hung up.
  Message Receive() {
    Message m{};
    iovec data{&m, sizeof(m)};
    char control[256];
    msghdr header{};
    header.msg_iov = &data;
    header.msg_iovlen = 1;
    header.msg_control = control;
    header.msg_controllen = sizeof(control);
    if (recvmsg(fd.get(), &header, MSG_CMSG_CLOEXEC) != sizeof(m)) return Message{};
    fds.clear();
    for (cmsghdr* c = CMSG_FIRSTHDR(&header); c != nullptr; c = CMSG_NXTHDR(&header, c)) {
      const size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
      for (size_t i = 0; i < count; ++i) {
        int got;
        std::memcpy(&got, CMSG_DATA(c) + i * sizeof(int), sizeof(got));
        fds.emplace_back(got);
      }
    }
    return m;
  }
  Message Attach(Liveness liveness = Liveness::kProcess) {
    Send(Hello(liveness));
    Message m = Receive();
    if (m.kind == Kind::kWelcome) session = m.welcome.session;
    return m;
  }
  static Message Open(uint32_t tag) {
    Message m{};
    m.kind = Kind::kOpenPool;
    m.open_pool.tag = tag;
    std::strcpy(m.open_pool.pool, "gpu");
    return m;
  }
  bool IsHungUp() {
    pollfd state{fd.get(), POLLIN, 0};
    return poll(&state, 1, 20'000) == 1 && Receive().kind == Kind::kNone;
  }

  UniqueFd fd;
  bool connected = false;
  SessionIndex session = 0;
  std::vector<UniqueFd> fds;
};

class AttachTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "leaseplane.XXXXXX";
    path_ = std::string(mkdtemp(pattern.data())) + "/attach.sock";
    listener_ = *keeper::ListenOn(path_);
    sess_fd_ = *shm::CreateSegment("sess", shm::kSessBytes);
    sess_ = *shm::Mapping::Map(sess_fd_.get(), shm::kSessBytes, shm::Access::kReadWrite,
                               shm::InFork::kInherited);
    shm::FormatSess(sess_.base(), 5);
    shm::Publish(sess_.base());
    ASSERT_TRUE(shm::SealReadOnly(sess_fd_.get()).ok());
    void* block = mmap(nullptr, sizeof(keeper::SharedBlock), PROT_READ | PROT_WRITE,
                       MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    shared_ = static_cast<keeper::SharedBlock*>(block);
    table_ = std::make_unique<SessionTable>(shared_, sess_.base());
    int ends[2];
    ASSERT_EQ(pipe(ends), 0);
    lifeline_reader_.reset(ends[0]);
    lifeline_writer_.reset(ends[1]);
  }
  void TearDown() override {
    server_.reset();
    munmap(shared_, sizeof(keeper::SharedBlock));
  }

  void StartServer() {
    options_.listener_fd = listener_.get();
    options_.lifeline_fd = lifeline_reader_.get();
    options_.sess_fd = sess_fd_.get();
    options_.instance_id = "instance";
    options_.segment_uid = 5;
    server_ = std::make_unique<AttachServer>(options_, vault_, *table_, handler_);
    auto held = vault_.Copy();
    ASSERT_TRUE(server_->Adopt(held).ok());
    server_->Start();
  }
  // As after the death of a worker: only the vault and the shared memory are left.
  void RestartServer() {
    server_.reset();
    ++options_.worker_starts;
    StartServer();
  }
  // Runs `body` as a process of its own.
  static pid_t Fork(const std::function<void()>& body) {
    const pid_t pid = fork();
    if (pid == 0) {
      body();
      _exit(0);
    }
    return pid;
  }

  std::string path_;
  UniqueFd listener_, sess_fd_, lifeline_reader_, lifeline_writer_;
  shm::Mapping sess_;
  keeper::SharedBlock* shared_ = nullptr;
  std::unique_ptr<SessionTable> table_;
  TestVault vault_;
  TestHandler handler_;
  AttachOptions options_;
  std::unique_ptr<AttachServer> server_;
};

}  // namespace leaseplane::attach
