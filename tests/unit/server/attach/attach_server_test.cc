// SPDX-License-Identifier: Apache-2.0
#include "server/attach/attach_server.h"

#include <fcntl.h>
#include <signal.h>

#include "tests/unit/server/attach/attach_fixture.h"

namespace leaseplane::attach {
namespace {

TEST_F(AttachTest, WelcomeCarriesASessionItsWordAndTwoDescriptors) {
  StartServer();
  Client client(path_);
  const Message m = client.Attach();
  ASSERT_EQ(m.kind, Kind::kWelcome);
  EXPECT_GE(m.welcome.session, kOwnerSessionFirst);
  EXPECT_STREQ(m.welcome.instance_id, "instance");
  EXPECT_EQ(m.welcome.segment_uid, 5u);
  ASSERT_EQ(client.fds.size(), 2u);
  shm::Mapping sess;
  ASSERT_EQ(shm::AttachSess(client.fds[0].get(), sess), shm::AttachError::kNone);
  const auto* words = shm::At<uint64_t>(sess.base(), shm::kPageBytes);
  EXPECT_EQ(words[m.welcome.session], m.welcome.session_word);
  EXPECT_TRUE(table_->IsActive(m.welcome.session));
  EXPECT_EQ(table_->UidOf(m.welcome.session), getuid());
  lifeline_writer_.reset();
  pollfd lifeline{client.fds[1].get(), POLLIN, 0};
  EXPECT_EQ(poll(&lifeline, 1, 20'000), 1) << "the lifeline tells of the writer's end";
}

TEST_F(AttachTest, HangUpEndsTheSessionAndItsWord) {
  StartServer();
  auto client = std::make_unique<Client>(path_);
  ASSERT_EQ(client->Attach().kind, Kind::kWelcome);
  const SessionIndex session = client->session;
  client.reset();
  EXPECT_TRUE(WaitUntil([&] { return handler_.HasEnded(session); }));
  EXPECT_FALSE(table_->IsActive(session));
  EXPECT_EQ(server_->session_count(), 0u);
}

TEST_F(AttachTest, OpensAPoolWithItsDescriptorsAndRefusesOthersByName) {
  StartServer();
  Client client(path_);
  client.Attach();
  Message open = Client::Open(11);
  ASSERT_TRUE(client.Send(open));
  Message m = client.Receive();
  ASSERT_EQ(m.kind, Kind::kPoolOpened);
  EXPECT_EQ(m.pool_opened.tag, 11u);
  EXPECT_EQ(client.fds.size(), 3u);
  EXPECT_TRUE(table_->HasOpened(client.session, 7));
  EXPECT_FALSE(table_->HasOpened(client.session, 8));

  open.open_pool.tag = 12;
  std::strcpy(open.open_pool.pool, "forbidden");
  ASSERT_TRUE(client.Send(open));
  m = client.Receive();
  ASSERT_EQ(m.kind, Kind::kRefused);
  EXPECT_EQ(m.refused.tag, 12u);
  EXPECT_EQ(m.refused.reason, static_cast<uint32_t>(Refusal::kNotAllowed));
  EXPECT_TRUE(client.fds.empty());
  EXPECT_EQ(server_->rejected(Rejection::kNotAllowed), 1u);
}

TEST_F(AttachTest, RubbishIsHungUpAndCountedWhateverItLooksLike) {
  StartServer();
  const std::vector<std::function<void(Client&)>> kinds = {
      [](Client& c) { c.SendBytes("short", 5); },
      [](Client& c) {
        char long_message[sizeof(Message) + 1] = {};
        c.SendBytes(long_message, sizeof(long_message));
      },
      [](Client& c) { c.SendBytes("", 0); },
      [](Client& c) {
        Message m = Client::Hello();
        m.hello.magic = 1;
        c.Send(m);
      },
      [](Client& c) {
        Message m = Client::Hello();
        m.hello.liveness = 9;
        c.Send(m);
      },
      [](Client& c) {
        Message m = Client::Hello();
        std::memset(m.hello.client_name, 'x', sizeof(m.hello.client_name));
        c.Send(m);
      },
      [](Client& c) {  // welcomed, then a second Hello
        c.Attach();
        c.Send(Client::Hello());
      },
      [](Client& c) {  // a message of the daemon's
        c.Attach();
        Message m{};
        m.kind = Kind::kGrant;
        c.Send(m);
      },
      [](Client& c) {
        c.Attach();
        Message m{};
        m.kind = static_cast<Kind>(0x7fffffff);
        c.Send(m);
      },
      [](Client& c) {
        c.Attach();
        Message m{};
        m.kind = Kind::kOpenPool;
        std::memset(m.open_pool.pool, 'x', sizeof(m.open_pool.pool));
        c.Send(m);
      },
  };
  for (size_t i = 0; i < kinds.size(); ++i) {
    Client client(path_);
    kinds[i](client);
    EXPECT_TRUE(client.IsHungUp()) << "kind " << i;
    EXPECT_TRUE(WaitUntil([&] { return server_->rejected(Rejection::kRubbish) == i + 1; }));
  }
  Client client(path_);
  EXPECT_EQ(client.Attach().kind, Kind::kWelcome) << "others are served on";
}

size_t OpenDescriptorCount() {
  size_t count = 0;
  for (int fd = 0; fd < 1'000; ++fd) count += fcntl(fd, F_GETFD) >= 0;
  return count;
}

TEST_F(AttachTest, DescriptorsThatAPeerSendsAreDropped) {
  StartServer();
  Client client(path_);
  client.Attach();
  client.fds.clear();
  const size_t before = OpenDescriptorCount();
  Message m{};
  m.kind = Kind::kEnqueue;
  const int stray[] = {0, 1, 2};
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(keeper::SendWithDescriptors(client.fd.get(), &m, sizeof(m), stray, 0));
  }
  EXPECT_TRUE(WaitUntil([&] { return handler_.message_count() == 20; }));
  EXPECT_EQ(OpenDescriptorCount(), before);
}

TEST_F(AttachTest, OtherAbiIsRefusedWithItsReason) {
  StartServer();
  Client client(path_);
  Message hello = Client::Hello();
  ++hello.hello.abi_major;
  client.Send(hello);
  const Message m = client.Receive();
  EXPECT_EQ(m.kind, Kind::kRefused);
  EXPECT_EQ(m.refused.reason, static_cast<uint32_t>(Refusal::kAbiMismatch));
  EXPECT_TRUE(client.IsHungUp());
}

TEST_F(AttachTest, SessionsBeyondTheLimitAreRefusedUntilOneIsConfirmedDead) {
  options_.sessions_max = 2;
  StartServer();
  Client first(path_);
  ASSERT_EQ(first.Attach().kind, Kind::kWelcome);
  const pid_t child = Fork([this] {
    Client second(path_);
    second.Attach();
    pause();
  });
  ASSERT_TRUE(WaitUntil([&] { return server_->session_count() == 2; }));
  Client third(path_);
  const Message m = third.Attach();
  EXPECT_EQ(m.kind, Kind::kRefused);
  EXPECT_EQ(m.refused.reason, static_cast<uint32_t>(Refusal::kTooManySessions));
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  EXPECT_TRUE(WaitUntil([&] {
    Client again(path_);
    return again.Attach().kind == Kind::kWelcome;
  }));
}

TEST_F(AttachTest, IndexOfALivingProcessIsNotGivenOutAgain) {
  options_.sessions_max = 3;
  StartServer();
  // This process attaches and hangs up; it lives on, so both indexes stay taken.
  for (int i = 0; i < 2; ++i) {
    Client client(path_);
    ASSERT_EQ(client.Attach().kind, Kind::kWelcome);
  }
  ASSERT_TRUE(WaitUntil([&] { return server_->session_count() == 0; }));
  Client third(path_);
  ASSERT_EQ(third.Attach().kind, Kind::kWelcome);
  Client fourth(path_);
  EXPECT_EQ(fourth.Attach().kind, Kind::kRefused);
}

TEST_F(AttachTest, ProcessThatComesAndGoesIsRefusedBeforeItHasAllIndexes) {
  options_.sessions_per_process_max = 3;
  StartServer();
  for (int i = 0; i < 3; ++i) {
    Client client(path_);
    ASSERT_EQ(client.Attach().kind, Kind::kWelcome);
  }
  ASSERT_TRUE(WaitUntil([&] { return server_->session_count() == 0; }));
  EXPECT_EQ(server_->lingering_count(), 3u);
  for (const bool is_restarted : {false, true}) {
    if (is_restarted) RestartServer();
    Client fourth(path_);
    const Message m = fourth.Attach();
    ASSERT_EQ(m.kind, Kind::kRefused);
    EXPECT_EQ(m.refused.reason, static_cast<uint32_t>(Refusal::kTooManySessions));
    EXPECT_NE(std::string(m.refused.text).find("max_sessions_per_process"), std::string::npos);
    EXPECT_EQ(server_->rejected(Rejection::kProcessQuota), 1u);
  }
  // Another process is not concerned, and takes its own share with it when it ends.
  for (int round = 0; round < 2; ++round) {
    const pid_t child = Fork([this] {
      for (int i = 0; i < 3; ++i) {
        if (Client(path_).Attach().kind != Kind::kWelcome) _exit(1);
      }
    });
    int status = 0;
    waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
  }
  EXPECT_TRUE(WaitUntil([&] { return server_->lingering_count() == 3; }));
}

TEST_F(AttachTest, ProcessesOfOneUserAreRefusedTogether) {
  options_.sessions_per_uid_max = 2;
  StartServer();
  Client first(path_);
  ASSERT_EQ(first.Attach().kind, Kind::kWelcome);
  const pid_t child = Fork([this] {
    Client second(path_);
    second.Attach();
    pause();
  });
  ASSERT_TRUE(WaitUntil([&] { return server_->session_count() == 2; }));
  Client third(path_);
  const Message m = third.Attach();
  ASSERT_EQ(m.kind, Kind::kRefused);
  EXPECT_NE(std::string(m.refused.text).find("max_sessions_per_uid"), std::string::npos);
  EXPECT_EQ(server_->rejected(Rejection::kUidQuota), 1u);
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  EXPECT_TRUE(WaitUntil([&] { return Client(path_).Attach().kind == Kind::kWelcome; }));
}

TEST_F(AttachTest, DeathOfTheProcessEndsTheSessionThoughAChildKeepsTheSocket) {
  StartServer();
  int report[2];
  ASSERT_EQ(pipe(report), 0);
  const pid_t child = Fork([&] {
    Client client(path_);
    client.Attach();
    const pid_t grandchild = Fork([] { pause(); });
    const pid_t message[2] = {static_cast<pid_t>(client.session), grandchild};
    if (write(report[1], message, sizeof(message)) < 0) _exit(1);
    pause();
  });
  pid_t message[2];
  ASSERT_EQ(read(report[0], message, sizeof(message)), ssize_t{sizeof(message)});
  const auto session = static_cast<SessionIndex>(message[0]);
  EXPECT_TRUE(table_->IsActive(session));
  kill(child, SIGKILL);
  EXPECT_TRUE(WaitUntil([&] { return handler_.HasEnded(session); }));
  kill(message[1], SIGKILL);
  waitpid(child, nullptr, 0);
}

TEST_F(AttachTest, TreeSessionLivesWhileAChildKeepsTheSocket) {
  StartServer();
  int report[2];
  ASSERT_EQ(pipe(report), 0);
  const pid_t child = Fork([&] {
    Client client(path_);
    client.Attach(Liveness::kTree);
    const pid_t grandchild = Fork([] { pause(); });
    const pid_t message[2] = {static_cast<pid_t>(client.session), grandchild};
    if (write(report[1], message, sizeof(message)) < 0) _exit(1);
    pause();
  });
  pid_t message[2];
  ASSERT_EQ(read(report[0], message, sizeof(message)), ssize_t{sizeof(message)});
  const auto session = static_cast<SessionIndex>(message[0]);
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  // A whole attach and end of another session comes after the death and still finds it active.
  const pid_t other = Fork([this] { Client(path_).Attach(); });
  waitpid(other, nullptr, 0);
  ASSERT_TRUE(WaitUntil([&] { return server_->sessions_ended() == 1; }));
  EXPECT_TRUE(table_->IsActive(session));
  RestartServer();
  EXPECT_TRUE(table_->IsActive(session)) << "and over a restart";
  kill(message[1], SIGKILL);
  EXPECT_TRUE(WaitUntil([&] { return handler_.HasEnded(session); }));
}

TEST_F(AttachTest, PeerThatDoesNotReadIsEndedByMessagesThatMustArrive) {
  StartServer();
  Client client(path_);
  client.Attach();
  Message m{};
  m.kind = Kind::kLeaseEnded;
  int sent = 0;
  while (server_->Send(client.session, m, Delivery::kMust)) ASSERT_LT(++sent, 100'000);
  EXPECT_GT(sent, 64);
  EXPECT_TRUE(WaitUntil([&] { return handler_.HasEnded(client.session); }));
}

TEST_F(AttachTest, UnansweredAuditsAreBoundedAndEndNobody) {
  StartServer();
  Client client(path_);
  client.Attach();
  Message audit{};
  audit.kind = Kind::kAudit;
  int sent = 0;
  for (int i = 0; i < 1'000; ++i) sent += server_->Send(client.session, audit, Delivery::kMay);
  EXPECT_EQ(sent, 64);
  EXPECT_EQ(client.Receive().kind, Kind::kAudit);
  Message answer{};
  answer.kind = Kind::kAuditAnswer;
  client.Send(answer);
  EXPECT_TRUE(WaitUntil([&] { return server_->Send(client.session, audit, Delivery::kMay); }));
  EXPECT_TRUE(table_->IsActive(client.session));
}

TEST_F(AttachTest, GreetingThatNeverComesIsHungUp) {
  options_.hello_timeout_ns = 10'000'000;
  StartServer();
  Client silent(path_);
  EXPECT_TRUE(silent.IsHungUp());
  EXPECT_EQ(server_->rejected(Rejection::kTimeout), 1u);
}

TEST_F(AttachTest, SessionThatTheKeeperRefusesIsNotWelcomed) {
  StartServer();
  vault_.refuse = true;
  Client client(path_);
  EXPECT_EQ(client.Attach().kind, Kind::kRefused);
  vault_.refuse = false;
  Client other(path_);
  EXPECT_EQ(other.Attach().kind, Kind::kWelcome);
}

}  // namespace
}  // namespace leaseplane::attach
