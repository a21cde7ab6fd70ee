// SPDX-License-Identifier: Apache-2.0
#include "server/ledger/uuid.h"

#include <gtest/gtest.h>

#include "server/ledger/metadata_codec.h"

namespace leaseplane::ledger {
namespace {

TEST(UuidTest, TextGoesBothWays) {
  const Uuid uuid{0x0123'4567'89AB'CDEFULL, 0xFEDC'BA98'7654'3210ULL};
  EXPECT_EQ(FormatUuid(uuid), "01234567-89ab-cdef-fedc-ba9876543210");
  EXPECT_EQ(*ParseUuid(FormatUuid(uuid)), uuid);
  EXPECT_EQ(*ParseUuid("0123456789ABCDEFfedcba9876543210"), uuid);
}

TEST(UuidTest, OtherTextsAreRefused) {
  for (const char* text :
       {"", "0123", "0123456789abcdeffedcba987654321", "01234567-89ab",
        "0123456789abcdeffedcba98765432100", "g1234567-89ab-cdef-fedc-ba9876543210",
        "01234567-89ab-cdef-fedc-ba9876543-10", "0123456-789ab-cdef-fedc-ba9876543210"}) {
    EXPECT_FALSE(ParseUuid(text).ok()) << text;
  }
}

TEST(UuidTest, RandomOnesDifferAndTheBootIdStays) {
  EXPECT_FALSE(RandomUuid() == RandomUuid());
  ASSERT_TRUE(ReadBootId().ok());
  EXPECT_EQ(*ReadBootId(), *ReadBootId());
  EXPECT_FALSE(ReadBootId()->empty());
}

TEST(MetadataCodecTest, EntriesGoBothWays) {
  const engine::Metadata metadata{{"", "empty key"}, {"a", ""}, {"b", std::string(400, '\0')}};
  EXPECT_EQ(DecodeMetadata(EncodeMetadata(metadata)), metadata);
  EXPECT_EQ(EncodeMetadata({}), "");
}

TEST(MetadataCodecTest, CutOffOrDoubledBytesAreRefused) {
  const std::string bytes = EncodeMetadata({{"key", "value"}});
  for (size_t count = 1; count < bytes.size(); ++count) {
    EXPECT_FALSE(DecodeMetadata(std::string_view(bytes).substr(0, count)).has_value()) << count;
  }
  EXPECT_FALSE(DecodeMetadata(bytes + bytes).has_value());
}

}  // namespace
}  // namespace leaseplane::ledger
