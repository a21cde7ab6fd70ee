// SPDX-License-Identifier: Apache-2.0
#include "server/rpc/validate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <limits>

namespace leaseplane::rpc {
namespace {

google::protobuf::Duration MakeDuration(int64_t seconds, int32_t nanos) {
  google::protobuf::Duration duration;
  duration.set_seconds(seconds);
  duration.set_nanos(nanos);
  return duration;
}

TEST(FieldChecksTest, DurationsOutsideTheirRangeOrIllFormedAreNamed) {
  FieldChecks checks;
  const int64_t huge = std::numeric_limits<int64_t>::max();
  const int64_t tiny = std::numeric_limits<int64_t>::min();
  for (const auto& bad :
       {MakeDuration(0, 999'999'999), MakeDuration(86'400, 1), MakeDuration(-5, 0),
        MakeDuration(huge, 0), MakeDuration(tiny, 0), MakeDuration(5, -1),
        MakeDuration(5, 1'000'000'000), MakeDuration(0, INT32_MIN)}) {
    FieldChecks one;
    one.TtlNs("ttl", true, bad);
    ASSERT_FALSE(one.ok()) << bad.ShortDebugString();
    EXPECT_EQ(one.violations()[0].field, "ttl");
    EXPECT_EQ(one.violations()[0].description, "must be a duration from 1s to 24h");
  }
  EXPECT_EQ(checks.TtlNs("ttl", true, MakeDuration(1, 0)), engine::kSecond);
  EXPECT_EQ(checks.TtlNs("ttl", true, MakeDuration(86'400, 0)), 24 * engine::kHour);
  EXPECT_EQ(checks.TtlNs("ttl", true, MakeDuration(1, 500'000'000)), 1'500'000'000);
  EXPECT_EQ(checks.TtlNs("ttl", false, MakeDuration(0, 0)), 0) << "unset: as the pool has it";
  EXPECT_TRUE(checks.ok());
}

TEST(FieldChecksTest, RequestIdsAreUuids) {
  FieldChecks checks;
  const auto id = checks.RequestId("request_id", "00112233-4455-6677-8899-AABBccddeeff");
  EXPECT_EQ(id.hi, 0x0011223344556677u);
  EXPECT_EQ(id.lo, 0x8899aabbccddeeffu);
  EXPECT_TRUE(checks.RequestId("request_id", "").empty());
  EXPECT_TRUE(checks.ok());
  for (const char* bad :
       {"x", "00112233-4455-6677-8899-aabbccddeef", "00112233445566778899aabbccddeeff",
        "00000000-0000-0000-0000-000000000000", "00112233-4455-6677-8899-aabbccddeefg",
        "{0112233-4455-6677-8899-aabbccddeeff", "00112233-4455-6677-8899-aabbccddeeff0"}) {
    FieldChecks one;
    one.RequestId("request_id", bad);
    EXPECT_FALSE(one.ok()) << bad;
  }
}

TEST(FieldChecksTest, ClientIdsArePrintableAsciiAndShort) {
  FieldChecks checks;
  checks.ClientId("client_id", "");
  checks.ClientId("client_id", std::string(63, '~'));
  EXPECT_TRUE(checks.ok());
  for (const std::string& bad : {std::string(64, 'a'), std::string("a\n"), std::string("\x7f"),
                                 std::string("\xc3\xbc"), std::string(1, '\0')}) {
    FieldChecks one;
    one.ClientId("client_id", bad);
    EXPECT_FALSE(one.ok());
  }
}

TEST(FieldChecksTest, MetadataIsBoundedInEntriesAndBytes) {
  google::protobuf::Map<std::string, std::string> map;
  map["k"] = std::string(engine::kMetadataBytesMax - 3, 'v');
  FieldChecks fits;
  EXPECT_EQ(fits.Metadata("metadata", map).size(), 1u);
  EXPECT_TRUE(fits.ok());

  map["k"] += "v";
  FieldChecks too_long;
  too_long.Metadata("metadata", map);
  EXPECT_FALSE(too_long.ok());

  map.clear();
  for (size_t i = 0; i <= engine::kMetadataEntriesMax; ++i) map[std::to_string(i)] = "";
  FieldChecks too_many;
  too_many.Metadata("metadata", map);
  EXPECT_FALSE(too_many.ok());

  map.clear();
  map[""] = "v";
  FieldChecks no_key;
  no_key.Metadata("metadata", map);
  EXPECT_FALSE(no_key.ok());
}

TEST(FieldChecksTest, TokensArePositiveAndBelowTwoToThe53) {
  for (const int64_t bad : {int64_t{0}, int64_t{-1}, kFencingTokenMax + 1, INT64_MAX, INT64_MIN}) {
    FieldChecks one;
    one.Token("fencing_token", bad);
    EXPECT_FALSE(one.ok()) << bad;
  }
  FieldChecks checks;
  EXPECT_EQ(checks.Token("fencing_token", kFencingTokenMax), kFencingTokenMax);
  EXPECT_TRUE(checks.ok());
}

TEST(FieldChecksTest, PageSizesHaveADefaultAndAMaximum) {
  FieldChecks checks;
  EXPECT_EQ(checks.PageSize("page_size", 0), kPageSizeDefault);
  EXPECT_EQ(checks.PageSize("page_size", INT32_MAX), kPageSizeMax);
  EXPECT_EQ(checks.PageSize("page_size", 7), 7u);
  EXPECT_TRUE(checks.ok());
  checks.PageSize("page_size", -1);
  EXPECT_FALSE(checks.ok());
}

TEST(FieldChecksTest, EveryBadFieldIsNamedNotOnlyTheFirst) {
  FieldChecks checks;
  checks.Pool("parent", "gpu");
  checks.Token("fencing_token", 0);
  const auto& violations = checks.violations();
  ASSERT_EQ(violations.size(), 2u);
  EXPECT_EQ(violations[0].field, "parent");
  EXPECT_EQ(violations[1].field, "fencing_token");
}

}  // namespace
}  // namespace leaseplane::rpc
