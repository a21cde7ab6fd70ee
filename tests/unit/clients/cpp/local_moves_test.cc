// SPDX-License-Identifier: Apache-2.0
// A pool goes to other memory while the session goes on.
#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "tests/unit/clients/cpp/local_fixture.h"

namespace leaseplane {
namespace {

class LocalMovesTest : public LocalTest {
 protected:
  void Start(uint32_t capacity) {
    daemon_options_.pools[0].capacity = capacity;
    StartDaemon();
    client_.emplace(Connect(heard_.Options()));
    pool_.emplace(Open(*client_));
    other_ = Open(*client_, "line").TryAcquire();
    for (uint32_t i = 0; i < capacity; ++i) leases_.push_back(pool_->TryAcquire());
  }
  // Everything that was held is held, in the same session.
  void ExpectAllHeld() {
    EXPECT_EQ(daemon_->sessions_begun(), 1u);
    EXPECT_TRUE(heard_.lost().empty());
    EXPECT_TRUE(other_.still_held());
    EXPECT_TRUE(std::all_of(leases_.begin(), leases_.end(),
                            [](const Lease& lease) { return lease.still_held(); }));
    EXPECT_EQ(daemon_->BusyCount("gpu"), leases_.size());
  }
  // The new memory works.
  void ExpectTurnover() {
    daemon_->EndRecovery();
    EXPECT_FALSE(pool_->TryAcquire());
    for (Lease& lease : leases_) EXPECT_TRUE(std::move(lease).Release().ok());
    EXPECT_TRUE(Eventually([this] { return static_cast<bool>(pool_->TryAcquire()); }));
    EXPECT_TRUE(Eventually([this] { return daemon_->BusyCount("gpu") == 0; }));
  }

  Heard heard_;
  std::optional<Client> client_;
  std::optional<Pool> pool_;
  Lease other_;
  std::vector<Lease> leases_;
};

TEST_F(LocalMovesTest, LeasesFollowTheirPool) {
  Start(2);
  daemon_->MovePool("gpu");
  ASSERT_TRUE(Eventually([this] { return daemon_->claims_done() == 1; }));
  ASSERT_TRUE(Eventually([this] { return leases_[0].still_held() && leases_[1].still_held(); }));
  EXPECT_EQ(daemon_->accepted_claims(), 2);
  ExpectAllHeld();
  ExpectTurnover();
}

// The answer to a second opening comes while claims are under way, of which as many are sent at a
// time as the socket has room for: some are not sent yet.
TEST_F(LocalMovesTest, OpeningAPoolThatMovesLeavesItsDeclarationAlone) {
  constexpr uint32_t kSlots = 100;
  Start(kSlots);
  daemon_->HoldClaimResults(true);
  daemon_->MovePool("gpu");
  ASSERT_TRUE(Eventually([this] { return daemon_->held_claim_results() >= 2; }));
  EXPECT_EQ(Open(*client_).name(), "gpu");
  EXPECT_TRUE(leases_[0].still_held() && leases_[1].still_held());
  daemon_->HoldClaimResults(false);
  ASSERT_TRUE(
      Eventually([this] { return daemon_->claims_done() == 1 || daemon_->sessions_begun() != 1; }));
  EXPECT_EQ(daemon_->claims_done(), 1);
  EXPECT_EQ(daemon_->accepted_claims(), static_cast<int>(kSlots));
  ExpectAllHeld();
  ExpectTurnover();
}

}  // namespace
}  // namespace leaseplane
