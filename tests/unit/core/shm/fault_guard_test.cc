// SPDX-License-Identifier: Apache-2.0
#include "core/shm/fault_guard.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <string>

#include "core/base/unique_fd.h"
#include "core/shm/mapping.h"

namespace leaseplane::shm {
namespace {

constexpr uint64_t kPage = 4096;

// A shared mapping of a file that can shrink, as our segments cannot.
class FaultGuardTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string path = testing::TempDir() + "leaseplane.XXXXXX";
    file_.reset(mkstemp(path.data()));
    unlink(path.c_str());
    ASSERT_EQ(ftruncate(file_.get(), 3 * kPage), 0);
    mapping_ = *Mapping::Map(file_.get(), 3 * kPage, Access::kReadWrite, InFork::kInherited);
    for (uint64_t page = 0; page < 3; ++page) WordAt(page).store(7 + page);
  }
  std::atomic<uint64_t>& WordAt(uint64_t page) {
    return *At<std::atomic<uint64_t>>(mapping_.base(), page * kPage + 8);
  }
  void Shrink(uint64_t pages) {
    ASSERT_EQ(ftruncate(file_.get(), static_cast<off_t>(pages * kPage)), 0);
  }

  UniqueFd file_;
  Mapping mapping_;
};

TEST_F(FaultGuardTest, APageWithoutStorageReadsAsZeroAndIsCounted) {
  ASSERT_TRUE(FaultGuard::Install());
  const FaultGuard guard(mapping_.base(), mapping_.bytes());
  ASSERT_TRUE(guard.is_active());
  Shrink(1);
  EXPECT_EQ(WordAt(0).load(), 7u);
  EXPECT_FALSE(guard.has_faulted());
  EXPECT_EQ(WordAt(1).load(), 0u);
  EXPECT_EQ(guard.fault_count(), 1u);
  uint64_t expected = 8;
  EXPECT_FALSE(WordAt(2).compare_exchange_strong(expected, 9)) << "a write faults as well";
  EXPECT_EQ(guard.fault_count(), 2u);
  WordAt(1).store(5);
  EXPECT_EQ(WordAt(1).load(), 5u);
  EXPECT_EQ(guard.fault_count(), 2u) << "the page is replaced once";
  EXPECT_EQ(WordAt(0).load(), 7u);
}

TEST_F(FaultGuardTest, EachRangeCountsItsOwn) {
  ASSERT_TRUE(FaultGuard::Install());
  const FaultGuard first(mapping_.base(), kPage);
  const FaultGuard second(mapping_.base() + kPage, 2 * kPage);
  Shrink(0);
  EXPECT_EQ(WordAt(2).load(), 0u);
  EXPECT_FALSE(first.has_faulted());
  EXPECT_TRUE(second.has_faulted());
}

using FaultGuardDeathTest = FaultGuardTest;

// Sanitizers have a handler of their own in the default one's place, and it exits.
bool EndedByTheDefaultAction(int status) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  if (WIFEXITED(status) && WEXITSTATUS(status) != 0) return true;
#endif
  return testing::KilledBySignal(SIGBUS)(status);
}

TEST_F(FaultGuardDeathTest, OutsideOfGuardedRangesAFaultKills) {
  ASSERT_TRUE(FaultGuard::Install());
  const FaultGuard guard(mapping_.base(), kPage);
  Shrink(0);
  EXPECT_EXIT(WordAt(1).load(), EndedByTheDefaultAction, "");
}

TEST_F(FaultGuardDeathTest, ARangeThatIsNoLongerGuardedIsAsAnyOther) {
  ASSERT_TRUE(FaultGuard::Install());
  FaultGuard guard(mapping_.base(), mapping_.bytes());
  guard = FaultGuard();
  Shrink(0);
  EXPECT_EXIT(WordAt(0).load(), EndedByTheDefaultAction, "");
}

TEST_F(FaultGuardDeathTest, ASignalThatSomebodySendsIsNoFault) {
  ASSERT_TRUE(FaultGuard::Install());
  const FaultGuard guard(mapping_.base(), mapping_.bytes());
  EXPECT_EXIT(raise(SIGBUS), EndedByTheDefaultAction, "");
}

}  // namespace
}  // namespace leaseplane::shm
