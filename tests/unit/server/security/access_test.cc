// SPDX-License-Identifier: Apache-2.0
#include "server/security/access.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <string>

#include "server/security/principal.h"

namespace leaseplane::security {
namespace {

TEST(MatchesTest, AStarIsAnyNumberOfCharacters) {
  struct Case {
    const char* pattern;
    const char* text;
    bool matches;
  };
  constexpr Case kCases[] = {
      {"gpu", "gpu", true},
      {"gpu", "gpus", false},
      {"gpus", "gpu", false},
      {"*", "", true},
      {"*", "anything/at:all", true},
      {"", "", true},
      {"", "x", false},
      {"gpu*", "gpu", true},
      {"gpu*", "gpu-a100", true},
      {"*gpu", "my-gpu", true},
      {"*gpu", "gpu-my", false},
      {"a*b*c", "axxbyyc", true},
      {"a*b*c", "axxbyy", false},
      {"a*ab", "aaab", true},
      {"**", "x", true},
      {"spiffe://example.org/*", "spiffe://example.org/ns/app", true},
      {"spiffe://example.org/*", "spiffe://example.com/ns/app", false},
      {"a?c", "abc", false},
      {"GPU", "gpu", false},
  };
  for (const Case& c : kCases) {
    EXPECT_EQ(Matches(c.pattern, c.text), c.matches) << c.pattern << " on " << c.text;
  }
}

TEST(AccessPolicyTest, WithoutRulesTheDoorDecides) {
  const AccessPolicy policy;
  EXPECT_FALSE(policy.has_rules());
  EXPECT_EQ(policy.RightsIn("gpu", "uid:12345", Door::kUnixSocket), kAllRights);
  EXPECT_EQ(policy.RightsIn("gpu", kAnonymous, Door::kAdminTcp), kAllRights);
  EXPECT_EQ(policy.RightsIn("gpu", kAnonymous, Door::kTcp), kAcquire | kReadLeases);
  EXPECT_EQ(policy.RightsIn("gpu", "app", Door::kTcp), Rights{kAcquire});
}

AccessRule Rule(const char* principal, const char* pools, Role role) {
  return {principal, pools, role, true};
}

TEST(AccessPolicyTest, RulesAddUpAndNothingElseIsAllowed) {
  const AccessPolicy policy({Rule("app", "gpu*", Role::kHolder), Rule("app", "db", Role::kViewer),
                             Rule("*", "open", Role::kHolder), Rule("app", "open", Role::kCleaner),
                             Rule("boss", "*", Role::kAdmin)});
  EXPECT_EQ(policy.RightsIn("gpu-1", "app", Door::kTcp), RightsOf(Role::kHolder));
  EXPECT_EQ(policy.RightsIn("db", "app", Door::kTcp), RightsOf(Role::kViewer));
  EXPECT_EQ(policy.RightsIn("open", "app", Door::kTcp),
            RightsOf(Role::kHolder) | RightsOf(Role::kCleaner));
  EXPECT_EQ(policy.RightsIn("other", "app", Door::kTcp), 0u);
  EXPECT_EQ(policy.RightsIn("gpu-1", "stranger", Door::kTcp), 0u);
  EXPECT_EQ(policy.RightsIn("anything", "boss", Door::kTcp), kAllRights);
}

TEST(AccessPolicyTest, RulesHoldAtEveryDoor) {
  const AccessPolicy policy({Rule("app", "gpu", Role::kHolder)});
  EXPECT_EQ(policy.RightsIn("gpu", "uid:12345", Door::kUnixSocket), 0u);
  EXPECT_EQ(policy.RightsIn("gpu", kAnonymous, Door::kAdminTcp), 0u);
}

TEST(AccessPolicyTest, RootAndTheDaemonsUserAreNeverLockedOutOfTheSocket) {
  const AccessPolicy policy{std::vector<AccessRule>()};
  EXPECT_TRUE(policy.has_rules());
  EXPECT_EQ(policy.RightsIn("gpu", "uid:0", Door::kUnixSocket), kAllRights);
  EXPECT_EQ(policy.RightsIn("gpu", UidPrincipal(geteuid()), Door::kUnixSocket), kAllRights);
  EXPECT_EQ(policy.RightsIn("gpu", "uid:0", Door::kTcp), 0u) << "only there it is proved";
}

TEST(AccessPolicyTest, RolesAreWhatTheDocumentSays) {
  EXPECT_EQ(RightsOf(Role::kViewer), kReadLeases | kInspect);
  EXPECT_EQ(RightsOf(Role::kHolder), Rights{kAcquire});
  EXPECT_EQ(RightsOf(Role::kCleaner), kClean | kInspect);
  EXPECT_EQ(RightsOf(Role::kAdmin), kAllRights);
}

}  // namespace
}  // namespace leaseplane::security
