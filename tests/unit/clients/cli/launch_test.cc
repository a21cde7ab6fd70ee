// SPDX-License-Identifier: Apache-2.0
#include "clients/cli/launch.h"

#include <errno.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <string>

#include "clients/cli/process_tree.h"

namespace leaseplane::cli {
namespace {

int WaitFor(pid_t pid) {
  int status = 0;
  EXPECT_EQ(::waitpid(pid, &status, 0), pid);
  return status;
}

TEST(LaunchTest, TheCommandGetsTheEnvironmentOfTheLease) {
  auto launch = Launch::Prepare({"sh", "-c", "test \"$LEASEPLANE_SLOT\" = 3 && exit 7"},
                                Launch::OnParentDeath::kLiveOn);
  ASSERT_TRUE(launch.ok());
  EXPECT_EQ(
      *launch->Start({"LEASEPLANE_POOL=gpu", "LEASEPLANE_SLOT=3", "LEASEPLANE_RESOURCE="}, -1), 0);
  EXPECT_EQ(WEXITSTATUS(WaitFor(launch->pid())), 7);
}

TEST(LaunchTest, ADescriptorThatIsHandedOverStaysOpenInTheCommandAndInWhatItStarts) {
  int ends[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
  UniqueFd ours(ends[0]);
  UniqueFd theirs(ends[1]);
  auto launch = Launch::Prepare({"sh", "-c", "sleep 0.2 & exit 0"}, Launch::OnParentDeath::kLiveOn);
  ASSERT_TRUE(launch.ok());
  EXPECT_EQ(*launch->Start({"A=B"}, theirs.get()), 0);
  theirs.reset();
  WaitFor(launch->pid());
  char byte;
  EXPECT_EQ(::recv(ours.get(), &byte, 1, MSG_DONTWAIT), -1) << "sleep has it open";
  EXPECT_EQ(errno, EAGAIN);
  EXPECT_EQ(::recv(ours.get(), &byte, 1, 0), 0) << "hangs up when sleep has ended";
}

TEST(LaunchTest, AFailedExecIsToldWithItsErrno) {
  auto missing = Launch::Prepare({"/nonexistent/program"}, Launch::OnParentDeath::kLiveOn);
  ASSERT_TRUE(missing.ok());
  EXPECT_EQ(*missing->Start({"A=B"}, -1), ENOENT);
  EXPECT_EQ(WEXITSTATUS(WaitFor(missing->pid())), 127);

  auto folder = Launch::Prepare({"/tmp"}, Launch::OnParentDeath::kLiveOn);
  ASSERT_TRUE(folder.ok());
  EXPECT_EQ(*folder->Start({"A=B"}, -1), EACCES);
  EXPECT_EQ(WEXITSTATUS(WaitFor(folder->pid())), 126);
}

TEST(LaunchTest, ACommandThatIsCancelledWasNeverExecuted) {
  auto launch = Launch::Prepare({"sh", "-c", "kill -9 $PPID"}, Launch::OnParentDeath::kKill);
  ASSERT_TRUE(launch.ok());
  launch->Cancel();
  EXPECT_EQ(::waitpid(launch->pid(), nullptr, WNOHANG), -1);
}

TEST(ProcessTree, OrphansAreFoundAndSignalledInWhateverSessionTheyAre) {
  const std::vector<pid_t> before = ChildrenOf(::getpid());
  AdoptOrphans();
  auto launch = Launch::Prepare(
      {"sh", "-c", "setsid sh -c 'sleep 1000 & echo ready; wait' | { read x; exit 0; }"},
      Launch::OnParentDeath::kLiveOn);
  ASSERT_TRUE(launch.ok());
  ASSERT_EQ(*launch->Start({"A=B"}, -1), 0);
  while (Descendants(::getpid(), before).size() < 2) ::usleep(1000);
  while (!Descendants(::getpid(), before).empty()) {
    SignalDescendants(::getpid(), before, SIGKILL);
    while (::waitpid(-1, nullptr, WNOHANG) > 0) {
    }
    ::usleep(1000);
  }
  EXPECT_TRUE(Descendants(::getpid(), before).empty());
}

TEST(ProcessTree, ChildrenFromBeforeAreLeftAlone) {
  const pid_t bystander = ::fork();
  if (bystander == 0) {
    ::pause();
    ::_exit(0);
  }
  const std::vector<pid_t> before = ChildrenOf(::getpid());
  EXPECT_NE(std::find(before.begin(), before.end(), bystander), before.end());
  SignalDescendants(::getpid(), before, SIGKILL);
  EXPECT_TRUE(Descendants(::getpid(), before).empty());
  EXPECT_EQ(::waitpid(bystander, nullptr, WNOHANG), 0) << "lives";
  ::kill(bystander, SIGKILL);
  WaitFor(bystander);
}

}  // namespace
}  // namespace leaseplane::cli
