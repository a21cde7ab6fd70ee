// SPDX-License-Identifier: Apache-2.0
//
// What one peer, or all processes of one user, may take from the others at the attach socket.
#include <sys/stat.h>

#include "tests/unit/server/attach/attach_fixture.h"

namespace leaseplane::attach {
namespace {

constexpr uid_t kNobody = 65'534;
constexpr int kUnreadMax = static_cast<int>(kOpenedUnreadMax);

class AttachBoundsTest : public AttachTest {
 protected:
  // Asks for a pool without reading an answer, until it has 300 times or no more can be sent.
  // Returns how often.
  static int AskUnread(Client& client) {
    int asked = 0;
    for (; asked < 300; ++asked) {
      const Message m = Client::Open(static_cast<uint32_t>(asked));
      if (send(client.fd.get(), &m, sizeof(m), MSG_DONTWAIT | MSG_NOSIGNAL) < 0) break;
    }
    return asked;
  }
  // How often a peer that reads, one answer for each request, is served. The server looks at all
  // others meanwhile, some messages of each every time.
  static int OpenAndRead(Client& client, int count) {
    for (int i = 0; i < count; ++i) {
      if (!client.Send(Client::Open(7)) || client.Receive().kind != Kind::kPoolOpened) return i;
    }
    return count;
  }
};

TEST_F(AttachBoundsTest, WhoDoesNotReadIsSentDescriptorsAFewTimesOnly) {
  StartServer();
  Client greedy(path_);
  Client other(path_);
  ASSERT_EQ(greedy.Attach().kind, Kind::kWelcome);
  ASSERT_EQ(other.Attach().kind, Kind::kWelcome);
  const int asked = AskUnread(greedy);
  ASSERT_GT(asked, 200);
  EXPECT_EQ(OpenAndRead(other, 100), 100) << "whoever reads opens as often as it likes";
  EXPECT_EQ(handler_.open_count, 100 + kUnreadMax);
  EXPECT_TRUE(table_->IsActive(greedy.session));

  for (int i = 0; i < asked; ++i) {
    const Message m = greedy.Receive();
    ASSERT_EQ(m.kind, Kind::kPoolOpened) << i;
    EXPECT_EQ(m.pool_opened.tag, static_cast<uint32_t>(i));
    EXPECT_EQ(greedy.fds.size(), 3u);
  }
  EXPECT_EQ(handler_.open_count, 100 + asked) << "and has lost nothing once it reads";
}

TEST_F(AttachBoundsTest, WhatWasLeftUnreadCountsOverARestartOfTheWorker) {
  StartServer();
  Client greedy(path_);
  ASSERT_EQ(greedy.Attach().kind, Kind::kWelcome);
  AskUnread(greedy);
  EXPECT_TRUE(WaitUntil([&] { return handler_.open_count == kUnreadMax; }));
  RestartServer();
  Client other(path_);
  ASSERT_EQ(other.Attach().kind, Kind::kWelcome);
  EXPECT_EQ(OpenAndRead(other, 100), 100);
  EXPECT_EQ(handler_.open_count, 100 + kUnreadMax);
  for (int i = 0; i < kUnreadMax; ++i) ASSERT_EQ(greedy.Receive().kind, Kind::kPoolOpened);
  ASSERT_EQ(greedy.Receive().kind, Kind::kWorkerRestarted);
  EXPECT_EQ(greedy.Receive().kind, Kind::kPoolOpened);
}

TEST_F(AttachBoundsTest, WhoHangsUpWithoutHavingReadHasEnded) {
  StartServer();
  for (const bool is_closed : {false, true}) {
    Client greedy(path_);
    ASSERT_EQ(greedy.Attach().kind, Kind::kWelcome);
    const int before = handler_.open_count;
    AskUnread(greedy);
    EXPECT_TRUE(WaitUntil([&] { return handler_.open_count == before + kUnreadMax; }));
    if (is_closed) {
      greedy.fd.reset();
    } else {
      shutdown(greedy.fd.get(), SHUT_RDWR);
    }
    EXPECT_TRUE(WaitUntil([&] { return handler_.HasEnded(greedy.session); }));
  }
}

TEST(GreetingsTest, AUserHasAQuarterOfThePlaces) {
  Greetings greetings;
  for (uint32_t id = 0; id < Greetings::kMax; ++id) {
    const uint32_t uid = id % 4;
    EXPECT_FALSE(greetings.is_full_for(uid));
    EXPECT_FALSE(greetings.is_full());
    greetings.Add(id, UniqueFd(), uid, id);
  }
  EXPECT_TRUE(greetings.is_full_for(2));
  EXPECT_TRUE(greetings.is_full());
  EXPECT_FALSE(greetings.is_full_for(4));
  EXPECT_EQ(greetings.Of(2).front(), 2u) << "the longest silent first";
  greetings.Take(2);
  EXPECT_FALSE(greetings.is_full_for(2));
  EXPECT_FALSE(greetings.is_full());
  EXPECT_EQ(greetings.Of(2).front(), 6u);
  EXPECT_EQ(greetings.DropBefore(6), 6u);
  EXPECT_EQ(greetings.Of(2).front(), 10u);
}

TEST_F(AttachBoundsTest, TheLongestSilentOfAUserGivesWayToAnotherOfItsProcesses) {
  options_.hello_timeout_ns = 60'000'000'000;
  StartServer();
  std::vector<std::unique_ptr<Client>> silent;
  for (size_t i = 0; i < Greetings::kPerUidMax; ++i) {
    silent.push_back(std::make_unique<Client>(path_));
  }
  Client another(path_);
  const Message m = silent[0]->Receive();
  ASSERT_EQ(m.kind, Kind::kRefused);
  EXPECT_EQ(m.refused.reason, static_cast<uint32_t>(Refusal::kTooManySessions));
  EXPECT_TRUE(silent[0]->IsHungUp());
  EXPECT_EQ(server_->rejected(Rejection::kUidQuota), 1u);
  EXPECT_EQ(silent[1]->Attach().kind, Kind::kWelcome);
  EXPECT_EQ(another.Attach().kind, Kind::kWelcome);
}

TEST_F(AttachBoundsTest, SilentConnectionsOfOneUserDoNotKeepAnotherOut) {
  if (getuid() != 0) GTEST_SKIP() << "to be another user takes root";
  options_.hello_timeout_ns = 60'000'000'000;
  StartServer();
  ASSERT_EQ(chmod(path_.substr(0, path_.rfind('/')).c_str(), 0711), 0);
  ASSERT_EQ(chmod(path_.c_str(), 0666), 0);
  int report[2];
  ASSERT_EQ(pipe(report), 0);
  const pid_t child = Fork([&] {
    if (setuid(kNobody) != 0) _exit(1);
    std::vector<std::unique_ptr<Client>> silent;
    int count = 0;
    for (int i = 0; i < 300; ++i) {
      silent.push_back(std::make_unique<Client>(path_));
      count += silent.back()->connected;
    }
    if (write(report[1], &count, sizeof(count)) < 0) _exit(1);
    pause();
  });
  int count = 0;
  ASSERT_EQ(read(report[0], &count, sizeof(count)), ssize_t{sizeof(count)});
  EXPECT_EQ(count, 300);
  EXPECT_EQ(Client(path_).Attach().kind, Kind::kWelcome);
  EXPECT_EQ(server_->rejected(Rejection::kUidQuota), 300 - Greetings::kPerUidMax);
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
}

}  // namespace
}  // namespace leaseplane::attach
