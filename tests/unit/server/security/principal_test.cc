// SPDX-License-Identifier: Apache-2.0
#include "server/security/principal.h"

#include <gtest/gtest.h>

#include "server/engine/types.h"

namespace leaseplane::security {
namespace {

TEST(PrincipalTest, NamesOfTheDaemonItselfAreNobodysToGive) {
  for (const char* name : {"app", "spiffe://example.org/app", "Ada Lovelace", "uid", "Anonymous"}) {
    EXPECT_TRUE(IsGivenPrincipal(name)) << name;
  }
  for (const std::string& name : {std::string(), std::string("anonymous"), std::string("uid:0"),
                                  std::string("uid:"), std::string("a\nb"), std::string("a\0b", 3),
                                  std::string("\xc3\xa9"), std::string(256, 'x')}) {
    EXPECT_FALSE(IsGivenPrincipal(name)) << name;
  }
  EXPECT_TRUE(IsGivenPrincipal(std::string(255, 'x')));
}

TEST(PrincipalTest, ALongNameIsStoredShortAndStillItsOwn) {
  const std::string limit(engine::kPrincipalBytesMax, 'x');
  EXPECT_EQ(HolderPrincipal(limit), limit);
  const std::string first = limit + "a";
  const std::string second = limit + "b";
  EXPECT_EQ(HolderPrincipal(first).size(), engine::kPrincipalBytesMax);
  EXPECT_EQ(HolderPrincipal(first), HolderPrincipal(first));
  EXPECT_NE(HolderPrincipal(first), HolderPrincipal(second));
  EXPECT_EQ(HolderPrincipal(first).substr(0, 31), limit.substr(0, 30) + "~");
}

// Of RFC 6234.
TEST(PrincipalTest, Sha256IsTheStandards) {
  EXPECT_EQ(Sha256Hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

}  // namespace
}  // namespace leaseplane::security
