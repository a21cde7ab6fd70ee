// SPDX-License-Identifier: Apache-2.0
//
// A worker that dies at any point of a session's life, and the next one that finds what is left.
#include <signal.h>

#include "tests/unit/server/attach/attach_fixture.h"

namespace leaseplane::attach {
namespace {

using keeper::SessionStage;

TEST_F(AttachTest, SessionGoesOnOverARestartAndIsToldOfIt) {
  StartServer();
  Client client(path_);
  const Message welcome = client.Attach();
  ASSERT_EQ(welcome.kind, Kind::kWelcome);
  RestartServer();
  const Message m = client.Receive();
  ASSERT_EQ(m.kind, Kind::kWorkerRestarted);
  EXPECT_EQ(m.worker_restarted.starts, 2u);
  EXPECT_TRUE(table_->IsActive(client.session));
  Message enqueue{};
  enqueue.kind = Kind::kEnqueue;
  client.Send(enqueue);
  EXPECT_TRUE(WaitUntil([&] { return handler_.message_count() == 1; }));
  EXPECT_TRUE(server_->Send(client.session, m, Delivery::kMust));
  EXPECT_FALSE(handler_.HasEnded(client.session));
}

// The holder of a process tree may have died; who inherited the connection never reads it.
TEST_F(AttachTest, SessionThatNeverReadsLivesThroughAnyNumberOfRestarts) {
  StartServer();
  Client client(path_);
  ASSERT_EQ(client.Attach(Liveness::kTree).kind, Kind::kWelcome);
  Message filler{};
  filler.kind = Kind::kDraining;
  int restarts_beyond_room = 0;
  while (restarts_beyond_room < 20) {
    RestartServer();
    ASSERT_TRUE(table_->IsActive(client.session)) << "at start " << options_.worker_starts;
    if (!server_->Send(client.session, filler, Delivery::kMay)) ++restarts_beyond_room;
    ASSERT_LT(options_.worker_starts, 100'000u) << "a buffer without end";
  }
  EXPECT_FALSE(handler_.HasEnded(client.session));
  // As soon as it reads again it hears of the latest.
  Message m{};
  do {
    m = client.Receive();
    ASSERT_NE(m.kind, Kind::kNone) << "hung up, or silent";
  } while (m.kind != Kind::kWorkerRestarted || m.worker_restarted.starts != options_.worker_starts);
  EXPECT_TRUE(table_->IsActive(client.session));
  Message enqueue{};
  enqueue.kind = Kind::kEnqueue;
  client.Send(enqueue);
  EXPECT_TRUE(WaitUntil([&] { return handler_.message_count() == 1; })) << "still heard";
}

TEST_F(AttachTest, MessagesSentWhileNoWorkerRanAreReadByTheNext) {
  StartServer();
  Client client(path_);
  client.Attach();
  server_.reset();
  Message enqueue{};
  enqueue.kind = Kind::kEnqueue;
  client.Send(enqueue);
  StartServer();
  EXPECT_TRUE(WaitUntil([&] { return handler_.message_count() == 1; }));
}

TEST_F(AttachTest, ConnectionMadeWhileNoWorkerRanIsServedByTheNext) {
  Client client(path_);
  ASSERT_TRUE(client.connected);
  client.Send(Client::Hello());
  StartServer();
  EXPECT_EQ(client.Receive().kind, Kind::kWelcome);
}

TEST_F(AttachTest, ProcessThatDiedWhileNoWorkerRanIsEndedByTheNext) {
  StartServer();
  const pid_t child = Fork([this] {
    Client client(path_);
    client.Attach();
    pause();
  });
  ASSERT_TRUE(WaitUntil([&] { return server_->session_count() == 1; }));
  server_.reset();
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  StartServer();
  EXPECT_TRUE(WaitUntil([&] { return server_->session_count() == 0; }));
  EXPECT_TRUE(WaitUntil([&] {
    obs::MutexLock lock(&vault_.mu);
    return vault_.dropped == 1;
  })) << "and the index is free again";
}

TEST_F(AttachTest, DeathBetweenRecordAndKeeperLeavesNothing) {
  table_->Begin(2, 0, 0, 1);
  StartServer();
  EXPECT_EQ(shared_->sessions[2].stage.load(), SessionStage::kUnused);
  Client client(path_);
  EXPECT_EQ(client.Attach().kind, Kind::kWelcome);
}

TEST_F(AttachTest, DeathBetweenKeeperAndWelcomeHangsUp) {
  int pair[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
  for (bool word_published : {false, true}) {
    table_->Begin(2, 0, 0, 1);
    ASSERT_TRUE(vault_.AddSession(2, pair[1], -1).ok());
    if (word_published) table_->PublishWord(2);
    StartServer();
    EXPECT_TRUE(WaitUntil([&] { return handler_.HasEnded(2); }));
    EXPECT_FALSE(table_->IsActive(2));
    char byte;
    EXPECT_EQ(recv(pair[0], &byte, 1, 0), 0) << "hung up";
    server_.reset();
  }
  close(pair[0]);
  close(pair[1]);
}

TEST_F(AttachTest, DeathBetweenRevocationAndSweepIsSweptAgain) {
  StartServer();
  Client client(path_);
  client.Attach();
  server_.reset();
  table_->Revoke(client.session);
  StartServer();
  EXPECT_TRUE(WaitUntil([&] { return handler_.HasEnded(client.session); }));
  EXPECT_TRUE(client.IsHungUp());
}

TEST_F(AttachTest, EndedSessionOfALivingProcessKeepsItsIndexOverARestart) {
  options_.sessions_max = 1;
  StartServer();
  { Client(path_).Attach(); }
  ASSERT_TRUE(WaitUntil([&] { return server_->session_count() == 0; }));
  RestartServer();
  Client client(path_);
  EXPECT_EQ(client.Attach().kind, Kind::kRefused);
}

}  // namespace
}  // namespace leaseplane::attach
