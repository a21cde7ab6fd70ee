// SPDX-License-Identifier: Apache-2.0
//
// The checker accepts what a pool would answer, and rejects ten kinds of histories that no pool
// may answer, for many seeds.
#include "tests/stress/history/history.h"

#include <gtest/gtest.h>

#include <functional>
#include <optional>
#include <random>

namespace leaseplane::history {
namespace {

constexpr int64_t kGraceNs = 1000;
constexpr uint32_t kSlots = 3;

// A pool that is played at one instant after the other; calls begin a little before that instant
// and return a little after it, so they overlap in the log.
class PlayedPool {
 public:
  explicit PlayedPool(uint64_t seed) : random_(seed) {
    window_.slot_count = kSlots;
    window_.began_ns = 1'000'000;
    window_.processes.resize(4);
  }

  Window Play(int steps) {
    int64_t now_ns = window_.began_ns;
    for (int i = 0; i < steps; ++i) {
      now_ns += 100;
      Act(random_() % window_.processes.size(), now_ns);
    }
    for (size_t process = 0; process < window_.processes.size(); ++process) {
      now_ns += 100;
      if (holds_[process].has_value()) Release(process, now_ns);
    }
    return window_;
  }

 private:
  void Act(size_t process, int64_t now_ns) {
    if (holds_[process].has_value()) return Release(process, now_ns);
    for (uint32_t slot = 0; slot < kSlots; ++slot) {
      if (taken_[slot]) continue;
      taken_[slot] = true;
      const Operation op = Make(now_ns, ++token_[slot], slot, Kind::kAcquired);
      holds_[process] = op;
      Log(process, op);
      return;
    }
    Log(process, Make(now_ns, 0, 0, Kind::kFailedTry));
  }
  void Release(size_t process, int64_t now_ns) {
    const Operation held = *holds_[process];
    holds_[process].reset();
    taken_[held.slot] = false;
    Log(process, Make(now_ns, held.token, held.slot, Kind::kReleased));
  }
  Operation Make(int64_t now_ns, int64_t token, uint32_t slot, Kind kind) {
    const auto jitter = static_cast<int64_t>(random_() % 49);
    return {now_ns - jitter, now_ns + jitter, token, slot, kind};
  }
  void Log(size_t process, const Operation& op) {
    window_.processes[process].operations.push_back(op);
  }

  std::mt19937_64 random_;
  Window window_;
  std::optional<Operation> holds_[4];
  bool taken_[kSlots] = {};
  int64_t token_[kSlots] = {1000, 1000, 1000};
};

class HistoryTest : public ::testing::TestWithParam<uint64_t> {
 protected:
  // Any operation of that kind for which `fits`.
  Operation* Find(Kind kind, const std::function<bool(const Operation&)>& fits = nullptr) {
    std::vector<Operation*> all;
    for (ProcessLog& log : window_.processes) {
      for (Operation& op : log.operations) {
        if (op.kind == kind && (!fits || fits(op))) all.push_back(&op);
      }
    }
    EXPECT_FALSE(all.empty());
    return all[random_() % all.size()];
  }
  Operation* Partner(const Operation& op, Kind kind) {
    return Find(kind, [&](const Operation& other) {
      return other.slot == op.slot && other.token == op.token;
    });
  }
  // Both ends of the hold after this one, of the same slot; null if it was the last.
  Operation* Next(const Operation& op, Kind kind) {
    for (ProcessLog& log : window_.processes) {
      for (Operation& other : log.operations) {
        if (other.kind == kind && other.slot == op.slot && other.token == op.token + 1) {
          return &other;
        }
      }
    }
    return nullptr;
  }
  size_t ProcessOf(const Operation* op) const {
    for (size_t i = 0; i < window_.processes.size(); ++i) {
      const auto& all = window_.processes[i].operations;
      if (op >= all.data() && op < all.data() + all.size()) return i;
    }
    return window_.processes.size();
  }
  // A hold after which another process was granted the slot.
  Operation* WithNext() {
    return Find(Kind::kAcquired, [this](const Operation& op) {
      const Operation* next = Next(op, Kind::kAcquired);
      return next != nullptr && ProcessOf(next) != ProcessOf(&op);
    });
  }
  void ExpectRejected(const std::string& reason) {
    const Verdict verdict = checker_.Check(window_);
    ASSERT_FALSE(verdict.ok());
    EXPECT_NE(verdict.anomalies[0].find(reason), std::string::npos) << verdict.anomalies[0];
  }

  std::mt19937_64 random_{GetParam() * 977};
  Window window_ = PlayedPool(GetParam()).Play(400);
  Checker checker_{kGraceNs};
};

TEST_P(HistoryTest, AcceptsAPoolsAnswers) {
  const Verdict verdict = checker_.Check(window_);
  EXPECT_TRUE(verdict.ok()) << verdict.anomalies[0];
  EXPECT_GT(verdict.holds, 100u);
  EXPECT_GT(verdict.failed_tries, 10u);
}

TEST_P(HistoryTest, RejectsATokenGivenOutTwice) {
  Operation* op = WithNext();
  Operation* next = Next(*op, Kind::kAcquired);
  Next(*op, Kind::kReleased)->token = op->token;
  next->token = op->token;
  ExpectRejected("twice");
}

TEST_P(HistoryTest, RejectsTokensInTheWrongOrder) {
  Operation* op = WithNext();
  Operation* next = Next(*op, Kind::kAcquired);
  Operation* released = Partner(*op, Kind::kReleased);
  Operation* next_released = Next(*op, Kind::kReleased);
  std::swap(op->token, next->token);
  std::swap(released->token, next_released->token);
  ExpectRejected("granted ");
}

TEST_P(HistoryTest, RejectsTwoHoldersAtATime) {
  Operation* op = WithNext();
  Operation* released = Partner(*op, Kind::kReleased);
  const Operation* next = Next(*op, Kind::kAcquired);
  released->called_ns = next->returned_ns + 1;
  released->returned_ns = released->called_ns;
  for (ProcessLog& log : window_.processes) {  // keep the log of that process in order
    bool after = false;
    for (Operation& other : log.operations) {
      if (after) {
        other.called_ns += 100'000;
        other.returned_ns += 100'000;
      }
      after |= &other == released;
    }
  }
  ExpectRejected("");
}

TEST_P(HistoryTest, RejectsATokenOfAnEarlierWindow) {
  EXPECT_TRUE(checker_.Check(window_).ok());
  ExpectRejected("the token");
}

TEST_P(HistoryTest, RejectsAHolderThatWasRobbed) {
  Find(Kind::kReleased)->kind = Kind::kStale;
  ExpectRejected("robbed");
}

TEST_P(HistoryTest, RejectsAFailedTryBesideASlotThatIsLongFree) {
  const int64_t late_ns = window_.began_ns + 10'000'000;
  window_.processes[0].operations.push_back({late_ns, late_ns + 5, 0, 0, Kind::kFailedTry});
  ExpectRejected("free for long");
}

TEST_P(HistoryTest, RejectsAGrantBeforeTheHoldersDeath) {
  // The process with the last hold of a slot but one dies instead of releasing.
  Operation* op = WithNext();
  for (ProcessLog& log : window_.processes) {
    for (size_t i = 0; i < log.operations.size(); ++i) {
      if (&log.operations[i] != op) continue;
      const int64_t next_ns = Next(*op, Kind::kAcquired)->returned_ns;
      log.operations.resize(i + 1);
      log.killed_ns = next_ns + 1;
      ExpectRejected("while another held");
      return;
    }
  }
}

TEST_P(HistoryTest, RejectsAReleaseOfWhatIsNotHeld) {
  Operation* op = Find(Kind::kReleased);
  op->token += 1'000'000;
  ExpectRejected("");
}

TEST_P(HistoryTest, RejectsTokensAndSlotsOutOfRange) {
  Operation* op = Find(Kind::kAcquired);
  op->token = GetParam() % 2 == 0 ? 0 : int64_t{1} << 53;
  ExpectRejected("out of range");
  window_ = PlayedPool(GetParam()).Play(400);
  Find(Kind::kAcquired)->slot = kSlots;
  ExpectRejected("out of range");
}

TEST_P(HistoryTest, RejectsAReturnBeforeItsCall) {
  Operation* op = Find(Kind::kAcquired);
  op->returned_ns = op->called_ns - 1;
  ExpectRejected("out of order");
}

TEST_P(HistoryTest, AcceptsAKilledHolderWhoseSlotGoesOnAfterIt) {
  Operation* op = WithNext();
  for (ProcessLog& log : window_.processes) {
    for (size_t i = 0; i < log.operations.size(); ++i) {
      if (&log.operations[i] != op) continue;
      log.killed_ns = op->returned_ns;
      log.operations.resize(i + 1);
      const Verdict verdict = checker_.Check(window_);
      EXPECT_TRUE(verdict.ok()) << verdict.anomalies[0];
      return;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, HistoryTest, ::testing::Range<uint64_t>(1, 11));

}  // namespace
}  // namespace leaseplane::history
