// SPDX-License-Identifier: Apache-2.0
#include "clients/cli/arguments.h"

#include <gtest/gtest.h>

namespace leaseplane::cli {
namespace {

TEST(Arguments, DurationsAreReadWithTheirUnit) {
  EXPECT_EQ(*ParseDuration("5s", false), absl::Seconds(5));
  EXPECT_EQ(*ParseDuration("1m30s", false), absl::Seconds(90));
  EXPECT_EQ(*ParseDuration("250ms", false), absl::Milliseconds(250));
  EXPECT_EQ(*ParseDuration("0", false), absl::ZeroDuration());
  EXPECT_EQ(*ParseDuration("inf", true), absl::InfiniteDuration());
}

TEST(Arguments, OtherTextIsNoDuration) {
  for (const char* text : {"", "5", "s", "5 apples", "-1s", "inf", "-inf", "nan", "5s "}) {
    EXPECT_FALSE(ParseDuration(text, false).ok()) << text;
  }
  EXPECT_FALSE(ParseDuration("-inf", true).ok());
}

TEST(Arguments, NamesAreTakenShortAndInFull) {
  EXPECT_EQ(*PoolName("gpu"), "pools/gpu");
  EXPECT_EQ(*PoolName("pools/gpu"), "pools/gpu");
  EXPECT_EQ(*SlotName("gpu/3"), "pools/gpu/slots/3");
  EXPECT_EQ(*SlotName("pools/gpu/slots/3"), "pools/gpu/slots/3");
  EXPECT_EQ(*LeaseName("gpu/local-3-99"), "pools/gpu/leases/local-3-99");
  EXPECT_EQ(*LeaseName("pools/gpu/leases/abc"), "pools/gpu/leases/abc");
}

TEST(Arguments, OtherShapesAreNoNames) {
  for (const char* text : {"", "/", "a/b", "pools/", "pools/a/slots"}) {
    EXPECT_FALSE(PoolName(text).ok()) << text;
  }
  for (const char* text :
       {"", "gpu", "gpu/", "/3", "pools/gpu/leases/3", "a/b/c", "pools//slots/3"}) {
    EXPECT_FALSE(SlotName(text).ok()) << text;
  }
  EXPECT_FALSE(LeaseName("pools/gpu/slots/3").ok());
}

TEST(Arguments, ShortNamesAreWhatTheFullOnesWereMadeFrom) {
  EXPECT_EQ(ShortName("pools/gpu"), "gpu");
  EXPECT_EQ(ShortName("pools/gpu/slots/3"), "gpu/3");
  EXPECT_EQ(ShortName(""), "");
  EXPECT_EQ(LastPart("pools/gpu/leases/abc"), "abc");
}

}  // namespace
}  // namespace leaseplane::cli
