// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/config/parse.h"

namespace leaseplane::config {
namespace {

using ::testing::HasSubstr;

ParseResult ParseOn(std::vector<uint32_t> nodes, const std::string& numa_node) {
  const char* const argv[] = {"leaseplaned"};
  ParseContext context;
  context.default_config_file = "/nonexistent";
  context.file_text =
      "pools:\n- {id: a, capacity: 1}\n- {id: b, capacity: 1, numa_node: " + numa_node + "}\n";
  context.numa_nodes = std::move(nodes);
  return ParseCommandLine(1, argv, context);
}

TEST(NumaNodeTest, OfSeveralNodesItHasToBeOne) {
  const ParseResult good = ParseOn({0, 1}, "1");
  EXPECT_TRUE(good.errors.empty()) << good.text;
  EXPECT_EQ(good.options.pools[0].numa_node, std::nullopt);
  EXPECT_EQ(good.options.pools[1].numa_node, 1u);
  const ParseResult bad = ParseOn({0, 1}, "2");
  ASSERT_EQ(bad.errors.size(), 1u) << bad.text;
  EXPECT_THAT(bad.errors[0].ToString(), HasSubstr(":3: field `pools[1].numa_node`: got 2; valid: "
                                                  "any, or a node of this machine: 0, 1"));
}

TEST(NumaNodeTest, WithoutAChoiceAnyNodeIsTaken) {
  EXPECT_TRUE(ParseOn({0}, "2").errors.empty());
  EXPECT_EQ(ParseOn({0}, "any").options.pools[1].numa_node, std::nullopt);
}

TEST(NumaNodeTest, WhatIsNoNodeIsTold) {
  for (const char* wrong : {"near", "-1", "1024", "''"}) {
    const ParseResult result = ParseOn({0}, wrong);
    ASSERT_EQ(result.errors.size(), 1u) << wrong;
    EXPECT_THAT(result.errors[0].ToString(),
                HasSubstr("valid: any, or a NUMA node of this machine: 0..1023"));
  }
}

}  // namespace
}  // namespace leaseplane::config
