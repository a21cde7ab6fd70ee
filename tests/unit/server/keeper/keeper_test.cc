// SPDX-License-Identifier: Apache-2.0
//
// The keeper in a process of its own with workers that are functions of the test. Test and
// processes talk through a page of shared memory.
#include "server/keeper/keeper.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <new>

#include "core/shm/segment.h"

namespace leaseplane::keeper {
namespace {

struct Board {
  std::atomic<int> starts;
  std::atomic<pid_t> worker;
  std::atomic<int> value[8];
};

bool WaitUntil(const std::function<bool()>& condition) {
  for (int i = 0; i < 20'000; ++i) {
    if (condition()) return true;
    usleep(1'000);
  }
  return false;
}

class KeeperTest : public testing::Test {
 protected:
  void SetUp() override {
    void* page =
        mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    board_ = new (page) Board{};
  }
  void TearDown() override {
    if (keeper_ > 0) {
      kill(keeper_, SIGKILL);
      waitpid(keeper_, nullptr, 0);
    }
    munmap(board_, sizeof(Board));
  }

  void Start(const WorkerMain& worker, int64_t drain_timeout_ns = 0) {
    keeper_ = fork();
    if (keeper_ != 0) return;
    BlockSignals();
    auto holdings = Holdings::Make(UniqueFd());
    if (!holdings.ok()) _exit(99);
    KeeperOptions options;
    options.drain_timeout_ns = drain_timeout_ns;
    const WorkerMain wrapped = [&](Holdings& held, Channel& channel) {
      board_->worker = getpid();
      board_->starts = static_cast<int>(held.starts);
      return worker(held, channel);
    };
    _exit(RunKeeper(*std::move(holdings), options, wrapped));
  }
  bool WaitForStart(int start) {
    return WaitUntil([&] { return board_->starts >= start; });
  }
  int WaitForEnd() {
    int status = 0;
    waitpid(keeper_, &status, 0);
    keeper_ = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }
  static int WaitForTerm() {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    int signal = 0;
    sigwait(&set, &signal);
    return 0;
  }

  Board* board_ = nullptr;
  pid_t keeper_ = 0;
};

TEST_F(KeeperTest, StartsAKilledWorkerAgain) {
  Start([](Holdings&, Channel&) { return WaitForTerm(); });
  for (int start = 1; start <= 5; ++start) {
    ASSERT_TRUE(WaitForStart(start));
    if (start < 5) kill(board_->worker, SIGKILL);
  }
  kill(keeper_, SIGTERM);
  EXPECT_EQ(WaitForEnd(), 0);
}

TEST_F(KeeperTest, HangUpIsPassedOnToTheWorkerAlsoToTheNextOne) {
  Start([this](Holdings& held, Channel&) {
    sigset_t set;
    sigemptyset(&set);
    for (const int signal : {SIGTERM, SIGHUP}) sigaddset(&set, signal);
    for (;;) {
      int signal = 0;
      sigwait(&set, &signal);
      if (signal == SIGTERM) return 0;
      held.shared->reload_asked = 0;
      ++board_->value[0];
    }
  });
  ASSERT_TRUE(WaitForStart(1));
  for (int i = 1; i <= 3; ++i) {
    kill(keeper_, SIGHUP);
    ASSERT_TRUE(WaitUntil([&] { return board_->value[0] == i; }));
  }
  // Stopped, the keeper sees the signal and the worker's death together; the worker may be dead
  // already or about to die when the signal is passed on.
  kill(keeper_, SIGSTOP);
  kill(board_->worker, SIGKILL);
  kill(keeper_, SIGHUP);
  kill(keeper_, SIGCONT);
  ASSERT_TRUE(WaitForStart(2));
  EXPECT_TRUE(WaitUntil([&] { return board_->value[0] == 4; }));
  kill(keeper_, SIGTERM);
  EXPECT_EQ(WaitForEnd(), 0);
}

TEST_F(KeeperTest, NextWorkerWritesToASegmentThatWasSealedAgainstNewWriters) {
  Start([this](Holdings& held, Channel& channel) {
    if (held.starts == 1) {
      UniqueFd fd = *shm::CreateSegment("sess", shm::kSessBytes);
      auto mapping = *shm::Mapping::Map(fd.get(), shm::kSessBytes, shm::Access::kReadWrite,
                                        shm::InFork::kInherited);
      *shm::At<int>(mapping.base(), 64) = 1;
      if (!channel.AddSess(fd.get(), shm::kSessBytes, 77).ok()) return 99;
      if (!shm::SealReadOnly(fd.get()).ok()) return 98;
      board_->value[0] = 1;
      return WaitForTerm();
    }
    board_->value[2] = shm::Mapping::Map(held.sess.fd.get(), shm::kSessBytes,
                                         shm::Access::kReadWrite, shm::InFork::kInherited)
                           .ok();
    board_->value[1] = ++*shm::At<int>(held.sess.mapping.base(), 64);
    board_->value[3] = static_cast<int>(held.sess_uid);
    return WaitForTerm();
  });
  for (int i = 2; i <= 3; ++i) {
    ASSERT_TRUE(WaitUntil([&] {
      return board_->value[0] == 1 && board_->starts == i - 1 && (i == 2 || board_->value[3] == 77);
    }));
    kill(board_->worker, SIGKILL);
    ASSERT_TRUE(WaitUntil([&] { return board_->value[1] == i; })) << "the word goes on counting";
  }
  EXPECT_EQ(board_->value[2], 0) << "a new writable mapping is refused";
  EXPECT_EQ(board_->value[3], 77);
}

TEST_F(KeeperTest, HoldsPoolsAndHandsThemToTheNextWorker) {
  Start([this](Holdings& held, Channel& channel) {
    if (held.starts > 1) {
      board_->value[1] = static_cast<int>(held.pools.size());
      auto pool = held.pools.find(9);
      board_->value[2] = pool != held.pools.end() && pool->second.id == "gpu" &&
                         pool->second.uid == 5 && pool->second.max_capacity == 3 &&
                         std::memcmp(pool->second.data.mapping.base(), "D", 1) == 0;
      return WaitForTerm();
    }
    PoolOffer offer;
    offer.id = "gpu";
    offer.handle = 9;
    offer.max_capacity = 3;
    offer.uid = 5;
    UniqueFd fds[kDescriptorsMax];
    for (int i = 0; i < kDescriptorsMax; ++i) {
      fds[i] = *shm::CreateSegment("segment", 4096);
      if (pwrite(fds[i].get(), "D", 1, 0) != 1) return 99;
      offer.fds[i] = fds[i].get();
      offer.bytes[i] = 4096;
    }
    if (!channel.AddPool(offer).ok()) return 98;
    if (channel.AddPool(offer).ok()) return 97;  // handle in use
    offer.handle = 10;
    if (!channel.AddPool(offer).ok() || !channel.DropPool(10).ok()) return 96;
    if (channel.DropPool(10).ok()) return 95;
    board_->value[0] = 1;
    return WaitForTerm();
  });
  ASSERT_TRUE(WaitUntil([&] { return board_->value[0] == 1; }));
  kill(board_->worker, SIGKILL);
  ASSERT_TRUE(WaitUntil([&] { return board_->value[1] == 1; }));
  EXPECT_TRUE(WaitUntil([&] { return board_->value[2] == 1; }));
}

TEST_F(KeeperTest, ConnectionsOfSessionsOutliveTheWorker) {
  int client[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, client), 0);
  Start([this, &client](Holdings& held, Channel& channel) {
    close(client[0]);
    if (held.starts == 1) {
      if (!channel.AddSession(2, client[1], -1).ok()) return 99;
      held.shared->sessions[2].word = 4711;
      board_->value[0] = 1;
    } else if (write(held.sessions[2].connection.get(), "2", 1) == 1) {
      board_->value[1] = static_cast<int>(held.shared->sessions[2].word);
      if (!channel.DropSession(2).ok()) return 99;
      board_->value[2] = 1;
    }
    close(client[1]);
    return WaitForTerm();
  });
  close(client[1]);
  ASSERT_TRUE(WaitUntil([&] { return board_->value[0] == 1; }));
  kill(board_->worker, SIGKILL);
  char byte = 0;
  ASSERT_EQ(read(client[0], &byte, 1), 1) << "no hang-up in between";
  EXPECT_EQ(byte, '2');
  ASSERT_TRUE(WaitUntil([&] { return board_->value[2] == 1; }));
  EXPECT_EQ(board_->value[1], 4711);
  close(client[0]);
}

TEST_F(KeeperTest, LifelineHangsUpOnlyWithTheKeeperAndTakesTheWorkerAlong) {
  int pair[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
  Start([&pair](Holdings& held, Channel&) {
    const int fd = held.lifeline_reader.get();
    if (held.starts == 1) SendWithDescriptors(pair[1], "x", 1, std::span<const int>(&fd, 1), 0);
    return WaitForTerm();
  });
  Received received;
  // The message is of another length, but its descriptor arrives.
  ASSERT_TRUE(WaitUntil([&] { return Receive(pair[0], received) == ReceiveResult::kClosed; }));
  ASSERT_TRUE(received.fds[0]);
  pollfd lifeline{received.fds[0].get(), POLLIN, 0};
  kill(board_->worker, SIGKILL);
  ASSERT_TRUE(WaitForStart(2));
  EXPECT_EQ(poll(&lifeline, 1, 0), 0);
  const pid_t worker = board_->worker;
  kill(keeper_, SIGKILL);
  EXPECT_EQ(poll(&lifeline, 1, 20'000), 1);
  WaitForEnd();
  EXPECT_TRUE(WaitUntil([&] { return kill(worker, 0) != 0; }));
}

TEST_F(KeeperTest, EndsWithTheCodeOfAWorkerThatCannotStart) {
  for (int code : {kExitConfig, kExitLocked, kExitUnavailable, kExitUsage, 0}) {
    Start([code](Holdings&, Channel&) { return code; });
    EXPECT_EQ(WaitForEnd(), code);
  }
}

TEST_F(KeeperTest, KillsAWorkerThatDoesNotEndInTime) {
  Start([this](Holdings&, Channel&) {
    board_->value[0] = 1;
    for (;;) pause();
    return 0;
  });
  ASSERT_TRUE(WaitUntil([&] { return board_->value[0] == 1; }));
  kill(keeper_, SIGTERM);
  EXPECT_EQ(WaitForEnd(), kExitInternal);
}

TEST_F(KeeperTest, StopsWhileNoWorkerRuns) {
  Start([](Holdings&, Channel&) { return 1; });
  ASSERT_TRUE(WaitForStart(4));
  kill(keeper_, SIGTERM);
  EXPECT_TRUE(WaitForEnd() >= 0);
}

}  // namespace
}  // namespace leaseplane::keeper
