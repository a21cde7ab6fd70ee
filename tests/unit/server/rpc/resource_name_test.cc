// SPDX-License-Identifier: Apache-2.0
#include "server/rpc/resource_name.h"

#include <gtest/gtest.h>

namespace leaseplane::rpc {
namespace {

TEST(ResourceNameTest, PoolIdsFollowTheirPattern) {
  for (const char* good : {"a", "gpu", "gpu-7", "a0", "a--b"}) EXPECT_TRUE(IsPoolId(good)) << good;
  EXPECT_TRUE(IsPoolId(std::string(63, 'a')));
  for (const char* bad : {"", "7", "-a", "a-", "A", "a_b", "a/b", "gp\xc3\xbc", "a b"}) {
    EXPECT_FALSE(IsPoolId(bad)) << bad;
  }
  EXPECT_FALSE(IsPoolId(std::string(64, 'a')));
}

TEST(ResourceNameTest, NamesThatParseFormatBackToTheSameText) {
  const auto slot = ParseSlotName("pools/gpu/slots/1048575");
  ASSERT_TRUE(slot);
  EXPECT_EQ(SlotName(slot->pool, slot->slot), "pools/gpu/slots/1048575");

  const std::string name = "pools/gpu/leases/0f22334455667788090abbccddeeff00";
  const auto lease = ParseLeaseName(name);
  ASSERT_TRUE(lease);
  EXPECT_FALSE(lease->is_local);
  EXPECT_EQ(LeaseName(lease->pool, lease->id), name);

  const auto local = ParseLeaseName("pools/gpu/leases/local-3-9007199254740991");
  ASSERT_TRUE(local);
  EXPECT_TRUE(local->is_local);
  EXPECT_EQ(local->slot, 3u);
  EXPECT_EQ(local->token, kFencingTokenMax);
  engine::LeaseInfo info;
  info.slot = local->slot;
  info.token = local->token;
  EXPECT_EQ(LeaseName("gpu", info), "pools/gpu/leases/local-3-9007199254740991");

  const auto waiter = ParseWaiterName("pools/gpu/waiters/18446744073709551615");
  ASSERT_TRUE(waiter);
  EXPECT_EQ(WaiterName(waiter->pool, waiter->ticket), "pools/gpu/waiters/18446744073709551615");
}

TEST(ResourceNameTest, OtherTextIsNoName) {
  for (const char* bad :
       {"", "gpu", "pools/", "pools/gpu/", "pools/GPU", "/pools/gpu", "pools/gpu/slots/1"}) {
    EXPECT_FALSE(ParsePoolName(bad)) << bad;
  }
  for (const char* bad :
       {"pools/gpu/slots/", "pools/gpu/slots/01", "pools/gpu/slots/-1", "pools/gpu/slots/1048576",
        "pools/gpu/slots/1 ", "pools/gpu/slots/1/x", "pools//slots/1", "pools/gpu/slot/1",
        "pools/gpu/slots/99999999999999999999"}) {
    EXPECT_FALSE(ParseSlotName(bad)) << bad;
  }
  for (const char* bad :
       {"pools/gpu/leases/0F22334455667788090abbccddeeff00",
        "pools/gpu/leases/0f22334455667788090abbccddeeff0",
        "pools/gpu/leases/00000000000000000000000000000000",
        "pools/gpu/leases/0f223344 5667788090abbccddeeff00", "pools/gpu/leases/local-3",
        "pools/gpu/leases/local-3-0", "pools/gpu/leases/local-03-1",
        "pools/gpu/leases/local-3-9007199254740992", "pools/gpu/leases/local--3-1"}) {
    EXPECT_FALSE(ParseLeaseName(bad)) << bad;
  }
  for (const char* bad : {"pools/gpu/waiters/0", "pools/gpu/waiters/18446744073709551616"}) {
    EXPECT_FALSE(ParseWaiterName(bad)) << bad;
  }
}

}  // namespace
}  // namespace leaseplane::rpc
