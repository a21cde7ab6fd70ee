// SPDX-License-Identifier: Apache-2.0
#include "server/keeper/listener.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>

namespace leaseplane::keeper {
namespace {

std::string TempPath(const std::string& name) {
  std::string pattern = testing::TempDir() + "leaseplane.XXXXXX";
  return std::string(mkdtemp(pattern.data())) + "/" + name;
}

TEST(LockFile, SecondHolderIsRefusedUntilTheFirstLetsGo) {
  const std::string path = TempPath("lock");
  auto first = LockFile(path);
  ASSERT_TRUE(first.ok());
  EXPECT_EQ(LockFile(path).status().code(), absl::StatusCode::kAlreadyExists);
  first->reset();
  EXPECT_TRUE(LockFile(path).ok());
}

TEST(ListenOn, ReplacesASocketThatADeadDaemonLeft) {
  const std::string path = TempPath("attach.sock");
  auto first = ListenOn(path);
  ASSERT_TRUE(first.ok());
  first->reset();
  auto second = ListenOn(path);
  ASSERT_TRUE(second.ok()) << second.status();
  struct stat info {};
  ASSERT_EQ(stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0660u);
}

TEST(ListenOn, LeavesAFileThatIsNoSocketAlone) {
  const std::string path = TempPath("attach.sock");
  UniqueFd file(open(path.c_str(), O_CREAT | O_RDWR, 0600));
  EXPECT_EQ(ListenOn(path).status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(access(path.c_str(), F_OK), 0);
}

TEST(ListenOn, RefusesAPathThatDoesNotFit) {
  EXPECT_EQ(ListenOn("/" + std::string(108, 'x')).status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace leaseplane::keeper
