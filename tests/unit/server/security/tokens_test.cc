// SPDX-License-Identifier: Apache-2.0
#include "server/security/tokens.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/security/principal.h"

namespace leaseplane::security {
namespace {

using testing::HasSubstr;

std::string Entry(const std::string& principal, const std::string& sha256) {
  return "  - principal: " + principal + "\n    sha256: \"" + sha256 + "\"\n";
}

TEST(TokenTableTest, ATokenIsItsOwners) {
  std::vector<FileError> errors;
  const TokenTable table = TokenTable::Parse(
      "tokens:\n" + Entry("ci", Sha256Hex("secret-1")) +
          Entry("\"build bot\"",
                "BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD"),
      &errors);
  EXPECT_TRUE(errors.empty());
  EXPECT_EQ(table.size(), 2u);
  EXPECT_EQ(table.Find("secret-1"), "ci");
  EXPECT_EQ(table.Find("abc"), "build bot") << "digits of either case";
  EXPECT_EQ(table.Find("secret-2"), std::nullopt);
  EXPECT_EQ(table.Find(""), std::nullopt);
  EXPECT_EQ(table.Find(Sha256Hex("secret-1")), std::nullopt) << "the hash is no token";
}

TEST(TokenTableTest, NoTokensIsATable) {
  std::vector<FileError> errors;
  EXPECT_EQ(TokenTable::Parse("tokens: []", &errors).size(), 0u);
  EXPECT_TRUE(errors.empty());
}

TEST(TokenTableTest, EveryMistakeIsNamedAndNothingIsTaken) {
  const std::string good = Entry("ci", Sha256Hex("t"));
  const struct {
    std::string text, got;
  } cases[] = {
      {"", "something else"},
      {"- a", "something else"},
      {"tokens: yes", "something else"},
      {"tokens: []\nother: 1", "something else"},
      {"tokens: [", "line"},
      {"tokens:\n" + good + "  - principal: x\n", "tokens[1]: other keys"},
      {"tokens:\n" + good + "  - ci\n", "tokens[1]: other keys"},
      {"tokens:\n" + good + Entry("uid:0", Sha256Hex("u")), "tokens[1].principal: uid:0"},
      {"tokens:\n" + good + Entry("anonymous", Sha256Hex("u")), "tokens[1].principal"},
      {"tokens:\n" + good + Entry("\"\"", Sha256Hex("u")), "tokens[1].principal: nothing"},
      {"tokens:\n" + good + Entry("x", "12ab"), "tokens[1].sha256: 4 characters"},
      {"tokens:\n" + good + Entry("x", std::string(64, 'g')), "tokens[1].sha256"},
      {"tokens:\n" + good + Entry("x", Sha256Hex("t")), "tokens[1].sha256: the same"},
  };
  for (const auto& c : cases) {
    std::vector<FileError> errors;
    EXPECT_EQ(TokenTable::Parse(c.text, &errors).size(), 0u) << c.text;
    ASSERT_FALSE(errors.empty()) << c.text;
    EXPECT_EQ(errors[0].field, "tokens_file");
    EXPECT_THAT(errors[0].got, HasSubstr(c.got));
    EXPECT_FALSE(errors[0].valid.empty());
  }
}

TEST(TokenTableTest, AFileThatCannotBeReadIsNamed) {
  std::vector<FileError> errors;
  ReadTokenFile("/nonexistent/tokens.yaml", &errors);
  ASSERT_EQ(errors.size(), 1u);
  EXPECT_THAT(errors[0].got, HasSubstr("/nonexistent/tokens.yaml: No such file"));
}

}  // namespace
}  // namespace leaseplane::security
