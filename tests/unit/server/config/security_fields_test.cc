// SPDX-License-Identifier: Apache-2.0
//
// The fields of TLS, tokens, addresses and access in the file.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "server/config/parse.h"

namespace leaseplane::config {
namespace {

using ::testing::UnorderedElementsAre;

// The mistakes of a file, one text each, with "FILE" for its path.
std::vector<std::string> Mistakes(const std::string& text) {
  std::vector<ConfigError> errors;
  DaemonOptions options;
  ParseConfigText(text, "FILE", &options, &errors);
  std::vector<std::string> texts;
  for (const ConfigError& error : errors) texts.push_back(error.ToString());
  return texts;
}

TEST(SecurityFieldsTest, AccessRulesAreReadInOrder) {
  DaemonOptions options;
  std::vector<ConfigError> errors;
  ParseConfigText(
      "access:\n- {principal: \"uid:5\", pools: \"gpu-*\", role: holder}\n"
      "- principal: a b\n  pools: db\n  role: admin\n",
      "FILE", &options, &errors);
  EXPECT_TRUE(errors.empty());
  EXPECT_TRUE(options.security.has_access);
  ASSERT_EQ(options.security.access.size(), 2u);
  EXPECT_EQ(options.security.access[0].principal, "uid:5");
  EXPECT_EQ(options.security.access[0].pools, "gpu-*");
  EXPECT_EQ(options.security.access[0].role, security::Role::kHolder);
  EXPECT_EQ(options.security.access[1].role, security::Role::kAdmin);
  DaemonOptions none;
  ParseConfigText("access: []\n", "FILE", &none, &errors);
  EXPECT_TRUE(none.security.has_access) << "nothing is allowed, which is not nothing said";
  EXPECT_FALSE(DaemonOptions().security.has_access);
}

TEST(SecurityFieldsTest, MistakesInSecurityAreTold) {
  EXPECT_THAT(
      Mistakes("listen: 0.0.0.0:7070\n"
               "admin_listen: 0.0.0.0:7070\n"
               "access:\n"
               "- {principal: x, pools: y, role: boss}\n"
               "- {principal: \"\", pools: y, role: viewer}\n"
               "- {pools: y, who: z, role: viewer}\n"),
      UnorderedElementsAre(
          "FILE:1: field `listen`: got 0.0.0.0:7070; valid: an address of loopback (127.0.0.1, "
          "[::1], localhost), or one with --tls-cert and --tls-key, or --insecure to take "
          "unencrypted calls from the network",
          "FILE:2: field `admin_listen`: got 0.0.0.0:7070; valid: an address of loopback "
          "(127.0.0.1, [::1], localhost), or one with --tls-cert and --tls-key, or --insecure to "
          "take unencrypted calls from the network",
          "FILE:2: field `admin_listen`: got 0.0.0.0:7070; valid: another address than `listen`",
          "FILE:4: field `access[0].role`: got boss; valid: viewer, holder, cleaner or admin",
          "FILE:5: field `access[1].principal`: got nothing; valid: 1..255 bytes of printable "
          "ASCII; * stands for any characters",
          "FILE:6: field `access[2].who`: got an unknown key; valid: principal, pools, role",
          "FILE:6: field `access[2].principal`: got nothing; valid: principal, pools and role are "
          "all needed"));
  EXPECT_THAT(Mistakes("access: {principal: x}\n"),
              UnorderedElementsAre("FILE:1: field `access`: got a map; valid: a list of rules"));
}

}  // namespace
}  // namespace leaseplane::config
