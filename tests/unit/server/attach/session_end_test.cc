// SPDX-License-Identifier: Apache-2.0
//
// Ends that the daemon brings about: of one session, of many, of the server.
#include <chrono>
#include <future>
#include <semaphore>

#include "tests/unit/server/attach/attach_fixture.h"

namespace leaseplane::attach {
namespace {

TEST_F(AttachTest, EndSessionHitsOnlyTheSessionThatWasMeant) {
  StartServer();
  Client client(path_);
  client.Attach();
  server_->EndSession(client.session, "test");
  EXPECT_TRUE(client.IsHungUp());
  EXPECT_TRUE(WaitUntil([&] { return handler_.HasEnded(client.session); }));
  server_->EndSession(client.session, "again");
  Client other(path_);
  EXPECT_EQ(other.Attach().kind, Kind::kWelcome);
}

// One pass of the loop finds a message and the wish to end a session; while it is at the message,
// Stop signals by the same descriptor.
TEST_F(AttachTest, StopIsHeardWhenItComesTogetherWithAnotherSignal) {
  std::counting_semaphore<> begun{0}, may_go_on{0};
  handler_.on_message = [&] {
    begun.release();
    may_go_on.acquire();
  };
  StartServer();
  Client first(path_), second(path_);
  first.Attach();
  second.Attach();
  Message message{};
  message.kind = Kind::kAuditAnswer;
  ASSERT_TRUE(first.Send(message));
  begun.acquire();
  ASSERT_TRUE(second.Send(message));
  server_->EndSession(second.session + 1, "nobody's");
  may_go_on.release();
  begun.acquire();
  auto stopped = std::async(std::launch::async, [this] { server_->Stop(); });
  EXPECT_EQ(stopped.wait_for(std::chrono::milliseconds(50)), std::future_status::timeout);
  may_go_on.release();
  const bool is_heard = stopped.wait_for(std::chrono::seconds(20)) == std::future_status::ready;
  if (!is_heard) server_->EndSession(second.session + 1, "so that the test ends");
  EXPECT_TRUE(is_heard);
}

TEST_F(AttachTest, ManyDeathsShareSweeps) {
  StartServer();
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < 100; ++i) {
    clients.push_back(std::make_unique<Client>(path_));
    ASSERT_EQ(clients.back()->Attach().kind, Kind::kWelcome);
  }
  clients.clear();
  EXPECT_TRUE(WaitUntil([&] {
    obs::MutexLock lock(&handler_.mu);
    return handler_.ended.size() == 100;
  }));
  EXPECT_TRUE(WaitUntil([&] { return server_->session_count() == 0; }));
}

}  // namespace
}  // namespace leaseplane::attach
