// SPDX-License-Identifier: Apache-2.0
#include "server/rpc/request_parser.h"

#include <gmock/gmock.h>
#include <google/protobuf/stubs/logging.h>
#include <grpcpp/support/slice.h>
#include <gtest/gtest.h>

#include "leaseplane/v1/admin_service.pb.h"
#include "leaseplane/v1/lease_service.pb.h"
#include "server/rpc/page_token.h"

namespace leaseplane::rpc {
namespace {

constexpr char kBad[] = "bad \xff text";

// Split in two, as bytes from a socket may come.
grpc::ByteBuffer Bytes(const std::string& text) {
  const grpc::Slice slices[] = {grpc::Slice(text.substr(0, text.size() / 2)),
                                grpc::Slice(text.substr(text.size() / 2))};
  return grpc::ByteBuffer(slices, 2);
}

template <class Message>
std::vector<std::string> BadFields(const Message& message) {
  Message parsed;
  std::vector<std::string> fields;
  for (const auto& violation : ParseRequest(Bytes(message.SerializeAsString()), &parsed)) {
    fields.push_back(violation.field);
  }
  return fields;
}

class RequestParserTest : public testing::Test {
 protected:
  RequestParserTest() { google::protobuf::SetLogHandler(nullptr); }
};

TEST_F(RequestParserTest, WhatWasSentIsWhatIsRead) {
  v1::AcquireLeaseRequest request;
  request.set_parent("pools/gpu");
  (*request.mutable_metadata())["k"] = "v\xc3\xbc";
  v1::AcquireLeaseRequest parsed;
  EXPECT_TRUE(ParseRequest(SerializeReply(request), &parsed).empty());
  EXPECT_EQ(parsed.ShortDebugString(), request.ShortDebugString());
}

TEST_F(RequestParserTest, NoBytesAreAnEmptyMessage) {
  v1::AcquireLeaseRequest parsed;
  parsed.set_parent("left over");
  EXPECT_TRUE(ParseRequest(SerializeReply(v1::AcquireLeaseRequest()), &parsed).empty());
  EXPECT_TRUE(ParseRequest(grpc::ByteBuffer(), &parsed).empty());
  EXPECT_EQ(parsed.parent(), "");
}

TEST_F(RequestParserTest, TextThatIsNotUtf8IsNamed) {
  v1::AcquireLeaseRequest request;
  request.set_parent(kBad);
  request.set_client_id("fine");
  request.set_request_id(kBad);
  EXPECT_THAT(BadFields(request), testing::ElementsAre("parent", "request_id"));
}

TEST_F(RequestParserTest, TextInsideOfMessagesListsAndMapsIsNamedWithItsPath) {
  v1::StreamAcquireLeaseRequest stream;
  (*stream.mutable_acquire()->mutable_metadata())["a"] = kBad;
  (*stream.mutable_acquire()->mutable_metadata())[kBad] = "b";
  EXPECT_THAT(BadFields(stream), testing::ElementsAre("acquire.metadata"));

  v1::CreatePoolRequest create;
  create.mutable_pool()->add_resources("fine");
  create.mutable_pool()->add_resources(kBad);
  EXPECT_THAT(BadFields(create), testing::ElementsAre("pool.resources[1]"));

  v1::KeepAliveRequest keep_alive;
  keep_alive.add_renewals()->set_name("fine");
  keep_alive.add_renewals()->set_name(kBad);
  EXPECT_THAT(BadFields(keep_alive), testing::ElementsAre("renewals[1].name"));
}

TEST_F(RequestParserTest, BytesThatAreNoMessageAreRefusedWithoutAField) {
  for (const std::string& bytes :
       {std::string("\x0a\x7f"), std::string("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
        std::string("\x0c"), std::string("\x12\x05\x08\xff\xff\xff\xff")}) {
    v1::AcquireLeaseRequest parsed;
    const auto violations = ParseRequest(Bytes(bytes), &parsed);
    ASSERT_EQ(violations.size(), 1u);
    EXPECT_EQ(violations[0].field, "");
  }
}

TEST_F(RequestParserTest, Utf8IsWhatTheStandardSaysItIs) {
  for (const char* good : {"", "a", "\xc2\x80", "\xed\x9f\xbf", "\xee\x80\x80", "\xef\xbf\xbf",
                           "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"}) {
    EXPECT_TRUE(IsUtf8(good));
  }
  for (const char* bad :
       {"\x80", "\xc0\x80", "\xc1\xbf", "\xc2", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xf0\x8f\xbf\xbf",
        "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xe2\x82", "\xe2\x82g", "\xff"}) {
    EXPECT_FALSE(IsUtf8(bad));
  }
}

TEST(PageTokenTest, ATokenIsReadBackForItsOwnList) {
  const auto token = ParsePageToken("slots pools/a", FormatPageToken("slots pools/a", {"a", 7}));
  ASSERT_TRUE(token);
  EXPECT_EQ(token->pool, "a");
  EXPECT_EQ(token->position, 7u);
}

TEST(PageTokenTest, NoTokenIsTheBegin) {
  const auto token = ParsePageToken("pools", "");
  ASSERT_TRUE(token);
  EXPECT_EQ(token->pool, "");
  EXPECT_EQ(token->position, 0u);
}

TEST(PageTokenTest, ATokenOfAnotherListOrOtherTextIsRefused) {
  EXPECT_FALSE(ParsePageToken("slots pools/b", FormatPageToken("slots pools/a", {"a", 7})));
  EXPECT_FALSE(ParsePageToken("pools", FormatPageToken("pools", {"No Pool", 7})));
  for (const char* bad : {"!", "x", "cG9vbHM", "cG9vbHMK", "cG9vbHMKCg", "cG9vbHMKCi0x"}) {
    EXPECT_FALSE(ParsePageToken("pools", bad)) << bad;
  }
}

}  // namespace
}  // namespace leaseplane::rpc
