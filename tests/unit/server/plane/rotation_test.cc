// SPDX-License-Identifier: Apache-2.0
//
// Epochs that a running pool spends: slots that are renumbered, and a pool that moves to new memory
// because somebody writes to the old one.
#include <atomic>
#include <thread>

#include "tests/unit/server/plane/plane_fixture.h"

namespace leaseplane::plane {
namespace {

using attach::Kind;
using attach::Message;

class RotationTest : public PlaneTest {
 protected:
  bool IsValid(SlotIndex slot, FencingToken token) {
    return std::get<engine::TokenCheck>(plane_->CheckToken("gpu", slot, token)).valid;
  }
  engine::PoolStats Stats() { return std::get<PoolInfo>(plane_->GetPool("gpu")).stats; }
  // Reads what is said until the pool moves, then opens it again.
  static bool Follow(LocalClient& client) {
    for (;;) {
      const Message message = client.socket.Receive();
      if (message.kind == Kind::kNone) return false;
      if (message.kind == Kind::kPoolMoved) break;
    }
    client.opened = client.Open("gpu");
    if (client.opened.kind != Kind::kPoolOpened) return false;
    client.mapped = {};
    if (shm::AttachPool(client.socket.fds[0].get(), client.socket.fds[1].get(),
                        client.socket.fds[2].get(), client.mapped) != shm::AttachError::kNone) {
      return false;
    }
    client.words = WordsOf(client.mapped.base(), client.sess.base());
    return true;
  }
  static bool Claim(LocalClient& client, SlotIndex slot, FencingToken token) {
    Message claim{};
    claim.kind = Kind::kClaim;
    claim.claim = {client.handle(), slot, token};
    client.socket.Send(claim);
    const Message result = client.socket.Receive();
    return result.kind == Kind::kClaimResult && result.claim_result.accepted == 1;
  }
  static void SayDone(LocalClient& client) {
    Message done{};
    done.kind = Kind::kClaimsDone;
    done.claims_done.pool = client.handle();
    client.socket.Send(done);
  }
};

// Writes over every slot word of its mapping from `first` on, until it goes.
class HostileWriter {
 public:
  explicit HostileWriter(PoolWords<RealMemory> words, SlotIndex first = 0)
      : thread_([this, words, first] {
          while (!stop_.load()) {
            for (SlotIndex i = first; i < words.max_capacity; ++i)
              RealMemory::Store(words.Slot(i), 0);
            usleep(1'000);
          }
        }) {}
  ~HostileWriter() {
    stop_ = true;
    thread_.join();
  }

 private:
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

TEST_F(RotationTest, AHostileWriterIsLeftBehindAndNobodyElseLosesAnything) {
  options_.pools[0].capacity = 4;
  options_.pools[0].default_ttl_ns = engine::kMinute;
  StartWorker();
  LocalClient honest(attach_path(), "gpu"), hostile(attach_path(), "gpu");
  const engine::Grant remote = Lease();
  const SlotIndex mine = remote.lease.slot == 0 ? 1 : 0;
  const Generation gen = honest.Take(mine);
  ASSERT_NE(gen, 0u);
  const FencingToken token = honest.TokenOf(gen);
  ASSERT_TRUE(WaitUntil([&] { return Counts().busy_local == 1; }));
  const uint64_t old_uid = honest.opened.pool_opened.pool_uid;
  HostileWriter writer(hostile.words);
  ASSERT_TRUE(Follow(honest));
  EXPECT_EQ(honest.opened.pool_opened.recovering, 1u);
  EXPECT_NE(honest.opened.pool_opened.pool_uid, old_uid);
  EXPECT_FALSE(Claim(hostile, mine, token + 1)) << "it has not opened the new segments";
  EXPECT_FALSE(Claim(honest, remote.lease.slot, remote.lease.token + 1)) << "the ledger decides";
  EXPECT_TRUE(Claim(honest, mine, token));
  SayDone(honest);
  ASSERT_TRUE(WaitUntil([&] { return plane_->readiness() == Readiness::kServing; }));
  EXPECT_EQ(Stats().rotations, 1u);
  const uint64_t violations = Stats().integrity_violations;
  EXPECT_GT(violations, 0u);
  EXPECT_TRUE(honest.Holds(mine, gen));
  EXPECT_TRUE(IsValid(mine, token));
  EXPECT_TRUE(IsValid(remote.lease.slot, remote.lease.token));
  EXPECT_EQ(hostile.Take(2), 0u) << "the old segments grant nothing";
  const engine::Grant second = Lease();
  EXPECT_GT(second.lease.token, token);
  EXPECT_EQ(Release(remote), Reason::kNone);
  EXPECT_GT(Lease().lease.token, remote.lease.token);
  EXPECT_TRUE(honest.Release(mine, gen));
  EXPECT_NE(honest.Take(mine), 0u);
  usleep(200'000);
  EXPECT_EQ(Stats().integrity_violations, violations) << "it still writes, where nobody looks";
}

// From then on a successor knows the new memory only, and could not stop who has not heard of it.
TEST_F(RotationTest, WhenTheKeeperGetsTheNewMemoryTheOldGrantsNothing) {
  options_.pools[0].capacity = 4;
  std::atomic<LocalClient*> client{nullptr};
  std::atomic<int> moves{0};
  std::atomic<bool> grants{false};
  keeper_->on_replace = [&] {
    for (SlotIndex slot = 0; slot < 4; ++slot) {
      if (client.load()->words.IsGranted(slot)) grants = true;
    }
    ++moves;
  };
  StartWorker();
  LocalClient honest(attach_path(), "gpu"), hostile(attach_path(), "gpu");
  client = &honest;
  ASSERT_NE(honest.Take(0), 0u) << "until then it does";
  HostileWriter writer(hostile.words, /*first=*/2);
  ASSERT_TRUE(Follow(honest));
  SayDone(honest);
  EXPECT_EQ(moves, 1);
  EXPECT_FALSE(grants);
  ASSERT_TRUE(WaitUntil([&] { return plane_->readiness() == Readiness::kServing; }));
  EXPECT_TRUE(WaitUntil([&] { return honest.Take(1) != 0; })) << "the new memory does again";
}

TEST_F(RotationTest, AWorkerThatDiesInTheMiddleStartsItAllAnew) {
  options_.pools[0].capacity = 4;
  options_.redeclare_grace_ns = 2 * engine::kSecond;
  AddPool("other", 2);
  StartWorker();
  LocalClient honest(attach_path(), "gpu"), hostile(attach_path(), "gpu");
  LocalClient other(attach_path(), "other");
  const Generation held = other.Take(0);
  ASSERT_NE(held, 0u);
  const engine::Grant remote = Lease();
  const SlotIndex mine = remote.lease.slot == 0 ? 1 : 0;
  const FencingToken token = honest.TokenOf(honest.Take(mine));
  const uint64_t word = RealMemory::Load(honest.words.sessions[honest.socket.session]);
  {
    HostileWriter writer(hostile.words);
    ASSERT_TRUE(Follow(honest));
  }
  StartWorker();
  EXPECT_EQ(other.Take(1), 0u) << "given up, though it had nothing to do with it";
  EXPECT_TRUE(other.Holds(0, held)) << "to be declared again";
  EXPECT_TRUE(honest.socket.IsHungUp());
  EXPECT_EQ(RealMemory::Load(honest.words.sessions[honest.socket.session]), word)
      << "it would take this for the end of its leases";
  EXPECT_EQ(plane_->readiness(), Readiness::kRecovering);
  LocalClient again(attach_path(), "gpu");
  ASSERT_TRUE(again.is_open());
  EXPECT_TRUE(Claim(again, mine, token));
  ASSERT_TRUE(WaitUntil([&] { return plane_->readiness() == Readiness::kServing; }));
  EXPECT_TRUE(again.Holds(mine, GenerationOf(token)));
  EXPECT_TRUE(IsValid(remote.lease.slot, remote.lease.token));
}

TEST_F(RotationTest, SpentSlotsAreRenumberedAndThenBrokered) {
  options_.pools[0].capacity = 1;
  options_.renumber_at = 1;  // every generation is the last one
  options_.epoch_stock = 3;
  StartWorker();
  LocalClient client(attach_path(), "gpu");
  FencingToken last = 0;
  // Three times after a renumbering, and perhaps once before the first tick.
  for (int i = 0; i < 4; ++i) {
    Generation gen = 0;
    ASSERT_TRUE(
        WaitUntil([&] { return (gen = client.Take(0)) != 0 || client.words.GateClosed(); }));
    if (gen == 0) break;
    EXPECT_GT(client.TokenOf(gen), last);
    last = client.TokenOf(gen);
    ASSERT_TRUE(WaitUntil([&] { return IsValid(0, last); }));
    const uint64_t before = Stats().renumberings;  // none while it is held
    ASSERT_TRUE(client.Release(0, gen));
    ASSERT_TRUE(
        WaitUntil([&] { return Stats().renumberings > before || client.words.GateClosed(); }));
  }
  ASSERT_TRUE(WaitUntil([&] { return client.words.GateClosed(); })) << "the ration is used up";
  EXPECT_EQ(client.Take(0), 0u);
  const engine::Grant remote = Lease();
  EXPECT_GT(remote.lease.token, last);
  EXPECT_EQ(Release(remote), Reason::kNone);
  EXPECT_GT(Lease().lease.token, remote.lease.token);
}

}  // namespace
}  // namespace leaseplane::plane
