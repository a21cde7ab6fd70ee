// SPDX-License-Identifier: Apache-2.0
#include "clients/cpp/renewal/renewer.h"

#include <gtest/gtest.h>

#include <map>
#include <mutex>
#include <thread>
#include <vector>

#include "clients/cpp/boot_clock.h"
#include "tests/unit/clients/cpp/eventually.h"

namespace leaseplane::internal {
namespace {

// Answers renewals as told, from a thread of its own like gRPC does.
class FakePort final : public RenewalPort {
 public:
  enum class Answer { kRenewed, kFailed, kRefused, kNothing };

  // Ends all answers. REQUIRES that the renewer is still there, which they go to.
  void Quit() {
    std::vector<std::thread> threads;
    {
      const std::lock_guard<std::mutex> lock(mu_);
      has_quit_ = true;
      threads.swap(threads_);
    }
    for (std::thread& thread : threads) thread.join();
  }
  void StartRenewal(RenewalSchedule::Key key, int64_t) override {
    const std::lock_guard<std::mutex> lock(mu_);
    if (has_quit_) return;
    ++renewals_[key];
    threads_.emplace_back([this, key, answer = answer_] {
      if (answer == Answer::kRenewed) renewer->Renewed(key, Soon());
      if (answer == Answer::kFailed) renewer->Failed(key);
      if (answer == Answer::kRefused) renewer->Refused(key, Reason::kLeaseRevoked);
    });
  }
  void OnLost(RenewalSchedule::Key key, Reason reason) override {
    const std::lock_guard<std::mutex> lock(mu_);
    lost_.emplace_back(key, reason);
  }
  void OnAlarm() override {
    const std::lock_guard<std::mutex> lock(mu_);
    alarms_.push_back(BootNowNs());
  }

  static Renewer::Times Soon() { return {BootNowNs() + 300 * kMillisecondNs, 20 * kMillisecondNs}; }
  void AnswerWith(Answer answer) {
    const std::lock_guard<std::mutex> lock(mu_);
    answer_ = answer;
  }
  int renewals(RenewalSchedule::Key key) {
    const std::lock_guard<std::mutex> lock(mu_);
    return renewals_[key];
  }
  std::vector<std::pair<RenewalSchedule::Key, Reason>> lost() {
    const std::lock_guard<std::mutex> lock(mu_);
    return lost_;
  }

  std::vector<int64_t> alarms() {
    const std::lock_guard<std::mutex> lock(mu_);
    return alarms_;
  }

  Renewer* renewer = nullptr;

 private:
  std::mutex mu_;
  bool has_quit_ = false;
  Answer answer_ = Answer::kRenewed;
  std::map<RenewalSchedule::Key, int> renewals_;
  std::vector<std::pair<RenewalSchedule::Key, Reason>> lost_;
  std::vector<int64_t> alarms_;
  std::vector<std::thread> threads_;
};

class RenewerTest : public ::testing::Test {
 protected:
  RenewerTest() { port_.renewer = &renewer_; }
  ~RenewerTest() override { port_.Quit(); }

  Renewer::Times Far() { return {BootNowNs() + 3600 * kSecondNs, 20 * kMillisecondNs}; }

  FakePort port_;
  Renewer renewer_{port_, 1};
};

TEST_F(RenewerTest, ATrackedLeaseIsRenewedAgainAndAgain) {
  renewer_.Track(1, Far());
  EXPECT_TRUE(Eventually([this] { return port_.renewals(1) >= 3; }));
  EXPECT_TRUE(renewer_.Untrack(1));
  EXPECT_FALSE(renewer_.Untrack(1));
  EXPECT_TRUE(port_.lost().empty());
}

TEST_F(RenewerTest, WithoutAnswersALeaseIsLostOnceAtItsDeadline) {
  port_.AnswerWith(FakePort::Answer::kNothing);
  const int64_t deadline_ns = BootNowNs() + 200 * kMillisecondNs;
  renewer_.Track(1, {deadline_ns, 20 * kMillisecondNs});
  ASSERT_TRUE(Eventually([this] { return !port_.lost().empty(); }));
  EXPECT_GE(BootNowNs(), deadline_ns);
  EXPECT_EQ(port_.lost().size(), 1u);
  EXPECT_EQ(port_.lost()[0].second, Reason::kLeaseExpired);
  EXPECT_FALSE(renewer_.Untrack(1));
}

TEST_F(RenewerTest, ARefusalIsReportedWithItsReason) {
  port_.AnswerWith(FakePort::Answer::kRefused);
  renewer_.Track(1, Far());
  ASSERT_TRUE(Eventually([this] { return !port_.lost().empty(); }));
  EXPECT_EQ(port_.lost()[0].second, Reason::kLeaseRevoked);
}

TEST_F(RenewerTest, AFailureIsRepeatedUntilItWorks) {
  port_.AnswerWith(FakePort::Answer::kFailed);
  renewer_.Track(1, Far());
  ASSERT_TRUE(Eventually([this] { return port_.renewals(1) >= 2; }));
  port_.AnswerWith(FakePort::Answer::kRenewed);
  const int before = port_.renewals(1);
  EXPECT_TRUE(Eventually([this, before] { return port_.renewals(1) >= before + 3; }));
  EXPECT_TRUE(port_.lost().empty());
}

TEST_F(RenewerTest, OfSeveralAlarmsTheFirstCountsAndComesOnce) {
  const int64_t first_ns = BootNowNs() + 30 * kMillisecondNs;
  renewer_.CallAt(first_ns + 3600 * kSecondNs);
  renewer_.CallAt(first_ns);
  renewer_.CallAt(first_ns + kSecondNs);
  ASSERT_TRUE(Eventually([this] { return !port_.alarms().empty(); }));
  EXPECT_GE(port_.alarms()[0], first_ns);
  renewer_.CallAt(first_ns);
  EXPECT_TRUE(Eventually([this] { return port_.alarms().size() == 2; }));
}

TEST_F(RenewerTest, PostedTasksRunInOrderOnTheThreadOfTheRenewer) {
  std::mutex mu;
  std::vector<std::pair<int, std::thread::id>> ran;
  for (int i = 0; i < 3; ++i) {
    renewer_.Post([&, i] {
      const std::lock_guard<std::mutex> lock(mu);
      ran.emplace_back(i, std::this_thread::get_id());
    });
  }
  ASSERT_TRUE(Eventually([&] {
    const std::lock_guard<std::mutex> lock(mu);
    return ran.size() == 3;
  }));
  for (int i = 0; i < 3; ++i) EXPECT_EQ(ran[static_cast<size_t>(i)].first, i);
  EXPECT_NE(ran[0].second, std::this_thread::get_id());
}

TEST_F(RenewerTest, ManyLeasesComeAndGoWhileTheThreadWorks) {
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < 4; ++t) {
    threads.emplace_back([this, t] {
      for (uint64_t i = 0; i < 50; ++i) {
        const uint64_t key = t * 1000 + i;
        renewer_.Track(key, Far());
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
        EXPECT_TRUE(renewer_.Untrack(key));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(port_.lost().empty());
}

}  // namespace
}  // namespace leaseplane::internal
