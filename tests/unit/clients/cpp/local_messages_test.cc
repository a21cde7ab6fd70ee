// SPDX-License-Identifier: Apache-2.0
// What the daemon says of pools that this process has not opened: it counts a pool as opened before
// it answers, and the answer may have come too late.
#include <string.h>

#include <optional>

#include "tests/unit/clients/cpp/local_fixture.h"

namespace leaseplane {
namespace {

using attach::Kind;
using attach::Message;

constexpr uint32_t kGpu = 0, kLine = 1, kNoPool = 77;  // handles

Message Make(Kind kind) {
  Message message;
  ::memset(&message, 0, sizeof(message));
  message.kind = kind;
  return message;
}

class LocalMessagesTest : public LocalTest {
 protected:
  LocalMessagesTest() {
    StartDaemon();
    client_.emplace(Connect(heard_.Options()));
    lease_ = Open(*client_).TryAcquire();
    EXPECT_TRUE(lease_);
  }

  // Asks for the generation held. Nothing: the question was not answered.
  std::optional<Generation> Ask(uint32_t pool, SlotIndex slot) {
    Message audit = Make(Kind::kAudit);
    audit.audit = {pool, slot, /*gen=*/0, ++last_question_};
    daemon_->SendToAll(audit);
    const bool goes_on = Eventually([this] {
      return daemon_->AnswerTo(last_question_).has_value() || daemon_->sessions_begun() != 1;
    });
    EXPECT_TRUE(goes_on);
    return daemon_->AnswerTo(last_question_);
  }
  // The lease is what it was, in the session that it was granted to.
  void ExpectUndisturbed() {
    EXPECT_EQ(Ask(kGpu, lease_.slot()), GenerationOf(lease_.token()));
    EXPECT_TRUE(lease_.still_held());
    EXPECT_EQ(daemon_->sessions_begun(), 1u);
    EXPECT_TRUE(heard_.lost().empty());
  }

  Heard heard_;
  std::optional<Client> client_;
  Lease lease_;
  uint64_t last_question_ = 1'000'000;
};

TEST_F(LocalMessagesTest, AnAuditOfAPoolThatIsNotOpenIsAnsweredWithNo) {
  // More than a daemon has open at a time: one that is not answered would be one less for good.
  for (int i = 0; i < 100; ++i) ASSERT_EQ(Ask(kLine, 0), 0u);
  EXPECT_EQ(Ask(kNoPool, 5), 0u);
  ExpectUndisturbed();
}

TEST_F(LocalMessagesTest, AGrantOfAPoolThatIsNotOpenIsAcknowledgedForTheAuditToFind) {
  Message grant = Make(Kind::kGrant);
  grant.grant = {kLine, 0, /*ticket=*/99, MakeToken(7, 1001)};
  daemon_->SendToAll(grant);
  ASSERT_TRUE(Eventually([this] { return daemon_->acks() == 1 || !heard_.lost().empty(); }));
  EXPECT_EQ(Ask(kLine, 0), 0u);
  ExpectUndisturbed();
}

TEST_F(LocalMessagesTest, NothingThatIsSaidOfAPoolThatIsNotOpenEndsTheSession) {
  for (const uint32_t pool : {kLine, kNoPool}) {
    Message message = Make(Kind::kTicketRefused);
    message.ticket_refused = {pool, static_cast<uint32_t>(attach::Refusal::kPoolDeleted), 99};
    daemon_->SendToAll(message);
    message = Make(Kind::kRevokeRequested);
    message.revoke_requested = {pool, lease_.slot(), lease_.token(), 0};
    daemon_->SendToAll(message);
    message = Make(Kind::kLeaseEnded);
    message.lease_ended = {pool, lease_.slot(), lease_.token()};
    daemon_->SendToAll(message);
    message = Make(Kind::kClaimResult);
    message.claim_result = {pool, lease_.slot(), lease_.token(), 0};
    daemon_->SendToAll(message);
    message = Make(Kind::kPoolMoved);
    message.pool_moved.pool = pool;
    daemon_->SendToAll(message);
    ExpectUndisturbed();
  }
  EXPECT_TRUE(heard_.revokes().empty());
}

// The pool was being opened when it moved, and whoever opened it has given up.
TEST_F(LocalMessagesTest, AMoveOfAPoolThatIsNotOpenDoesNotConcernWhoOpensItLater) {
  Message message = Make(Kind::kPoolMoved);
  message.pool_moved.pool = kLine;
  daemon_->SendToAll(message);
  ExpectUndisturbed();
  const Pool line = Open(*client_, "line");
  const Lease lease = line.TryAcquire();
  EXPECT_TRUE(lease);
  ExpectUndisturbed();  // and so the library's thread has gone on
  EXPECT_TRUE(lease.still_held());
  EXPECT_EQ(daemon_->pools_opened(), 2) << "nothing was to be opened again";
}

// A waiter that stood still while its session was renewed may have asked under the number that
// another pool has now.
TEST_F(LocalMessagesTest, AGrantOfAnotherPoolThanTheWaitersIsGivenBack) {
  daemon_->SetServing(false);
  const Pool line = Open(*client_, "line");
  Lease held = line.TryAcquire();
  ASSERT_TRUE(held);
  absl::StatusOr<Lease> result;
  std::thread waiter([&] { result = line.Acquire({.max_wait = absl::Seconds(60)}); });
  EXPECT_TRUE(Eventually([this] { return daemon_->QueueLength() == 1; }));
  const SlotIndex other_slot = 1 - lease_.slot();
  const Generation gen = daemon_->GrantSilently("gpu", other_slot);
  EXPECT_NE(gen, 0u);
  Message grant = Make(Kind::kGrant);
  grant.grant = {kGpu, other_slot, /*ticket=*/1, MakeToken(7, gen)};
  daemon_->SendToAll(grant);
  EXPECT_TRUE(Eventually([this] { return daemon_->acks() == 1; }));
  ExpectUndisturbed();
  EXPECT_EQ(daemon_->BusyCount("gpu"), 1u);
  EXPECT_EQ(daemon_->QueueLength(), 1u) << "it goes on waiting";
  EXPECT_TRUE(std::move(held).Release().ok());
  daemon_->SetServing(true);
  waiter.join();
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_TRUE(result->still_held());
  EXPECT_EQ(daemon_->BusyCount("line"), 1u);
}

}  // namespace
}  // namespace leaseplane
