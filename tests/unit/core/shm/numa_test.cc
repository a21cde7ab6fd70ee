// SPDX-License-Identifier: Apache-2.0
#include "core/shm/numa.h"

#include <gtest/gtest.h>

#include "core/shm/mapping.h"
#include "core/shm/segment.h"

namespace leaseplane::shm {
namespace {

using Nodes = std::vector<uint32_t>;

TEST(NumaTest, NodeListsAreReadAsTheKernelWritesThem) {
  EXPECT_EQ(ParseNodeList("0\n"), Nodes({0}));
  EXPECT_EQ(ParseNodeList("0-2,5,8-9\n"), Nodes({0, 1, 2, 5, 8, 9}));
  for (const char* wrong : {"", "\n", "a", "1-", "-1", "2-1", "0,", "0 1", "0-1x", "1024"}) {
    EXPECT_EQ(ParseNodeList(wrong), std::nullopt) << wrong;
  }
}

TEST(NumaTest, AKernelThatSaysNothingHasOneNode) {
  EXPECT_EQ(OnlineNodes("/nonexistent"), Nodes({0}));
  EXPECT_FALSE(OnlineNodes().empty());
}

struct Moves {
  std::vector<uint32_t> nodes;
  absl::Status answer;
  NumaMachine Machine(Nodes online) {
    return {std::move(online), [this](std::byte*, uint64_t bytes, uint32_t node) {
              EXPECT_EQ(bytes, 4096u);
              nodes.push_back(node);
              return answer;
            }};
  }
};

TEST(NumaTest, MemoryIsMovedWhereThereIsAChoice) {
  Moves moves;
  std::byte base{};
  EXPECT_TRUE(PlaceOnNode(moves.Machine({0, 1}), &base, 4096, 1).ok());
  EXPECT_EQ(moves.nodes, Nodes({1}));
}

TEST(NumaTest, WhyItIsNotMovedIsSaid) {
  Moves moves;
  std::byte base{};
  EXPECT_EQ(PlaceOnNode(moves.Machine({0}), &base, 4096, 0).message(),
            "this machine has one NUMA node");
  EXPECT_EQ(PlaceOnNode(moves.Machine({0, 1}), &base, 4096, 2).message(),
            "this machine has no such NUMA node");
  EXPECT_TRUE(moves.nodes.empty());
  moves.answer = absl::PermissionDeniedError("no");
  const absl::Status refused = PlaceOnNode(moves.Machine({0, 1}), &base, 4096, 1);
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(refused.message(), "PERMISSION_DENIED: no");
}

// The system call itself, on the one node that every machine has.
TEST(NumaTest, TheKernelTakesTheCallForASegment) {
  constexpr uint64_t kBytes = 16 * kPageBytes;
  const auto fd = CreateSegment("numa-test", kBytes);
  ASSERT_TRUE(fd.ok()) << fd.status();
  const auto map = Mapping::Map(fd->get(), kBytes, Access::kReadWrite, InFork::kInherited);
  ASSERT_TRUE(map.ok()) << map.status();
  const NumaMachine machine = NumaMachine::This();
  const absl::Status moved = machine.move(map->base(), kBytes, machine.nodes.front());
  if (moved.code() == absl::StatusCode::kPermissionDenied ||
      moved.code() == absl::StatusCode::kUnimplemented) {
    GTEST_SKIP() << moved;
  }
  EXPECT_TRUE(moved.ok()) << moved;
  EXPECT_FALSE(machine.move(map->base(), kBytes, kNumaNodeMax).ok());
}

}  // namespace
}  // namespace leaseplane::shm
