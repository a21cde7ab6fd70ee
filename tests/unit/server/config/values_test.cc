// SPDX-License-Identifier: Apache-2.0
#include "server/config/values.h"

#include <gtest/gtest.h>

namespace leaseplane::config {
namespace {

using engine::kHour;
using engine::kMillisecond;
using engine::kMinute;
using engine::kSecond;

TEST(ValuesTest, Durations) {
  int64_t ns = 0;
  EXPECT_TRUE(ParseDurationNs("1h30m", 0, 2 * kHour, &ns));
  EXPECT_EQ(ns, 90 * kMinute);
  EXPECT_TRUE(ParseDurationNs("100ms", 0, kHour, &ns));
  EXPECT_EQ(ns, 100 * kMillisecond);
  EXPECT_TRUE(ParseDurationNs("0", 0, kHour, &ns));
  for (const char* text : {"", "15", "15 s", "s", "-1s", "inf", "-inf", "1e3s", "0x5s", "2h",
                           "9999999999999h", "15s ", "nan"}) {
    ns = 7;
    EXPECT_FALSE(ParseDurationNs(text, 0, kHour, &ns)) << text;
    EXPECT_EQ(ns, 7) << text;
  }
  EXPECT_FALSE(ParseDurationNs("1ns", kSecond, kHour, &ns));
}

TEST(ValuesTest, Integers) {
  int64_t value = 0;
  EXPECT_TRUE(ParseInteger("9007199254740991", 0, kFencingTokenMax, &value));
  EXPECT_EQ(value, kFencingTokenMax);
  for (const char* text :
       {"", "-1", "+1", "1.5", "1e3", " 1", "0x10", "9007199254740992", "99999999999999999999"}) {
    EXPECT_FALSE(ParseInteger(text, 0, kFencingTokenMax, &value)) << text;
  }
}

TEST(ValuesTest, Switches) {
  bool value = false;
  for (const char* text : {"true", "Yes", "on", "1"}) {
    value = false;
    EXPECT_TRUE(ParseBool(text, &value) && value) << text;
  }
  for (const char* text : {"false", "NO", "off", "0"}) {
    value = true;
    EXPECT_TRUE(ParseBool(text, &value) && !value) << text;
  }
  for (const char* text : {"", "2", "maybe"}) EXPECT_FALSE(ParseBool(text, &value)) << text;
}

TEST(ValuesTest, PoolIds) {
  std::string id;
  EXPECT_TRUE(ParsePoolId("a", &id));
  EXPECT_TRUE(ParsePoolId("gpu-8-b", &id));
  EXPECT_TRUE(ParsePoolId(std::string(63, 'a'), &id));
  for (const std::string& text : {std::string(), std::string("8gpu"), std::string("gpu-"),
                                  std::string("-"), std::string("Gpu"), std::string("a_b"),
                                  std::string("a/b"), std::string("a.b"), std::string(64, 'a')}) {
    EXPECT_FALSE(ParsePoolId(text, &id)) << text;
  }
}

TEST(ValuesTest, Texts) {
  std::string value;
  EXPECT_TRUE(ParseText("caf\xC3\xA9 \xF0\x9F\x98\x80", 0, 255, &value));
  EXPECT_TRUE(ParseText("", 0, 255, &value));
  EXPECT_FALSE(ParseText("", 1, 255, &value));
  EXPECT_FALSE(ParseText("abc", 0, 2, &value));
  for (const char* text : {"a\nb", "\x7F", "\xFF", "\xC0\xAF", "\xED\xA0\x80", "\xF4\x90\x80\x80",
                           "\xE2\x82", "\xE0\x80\x80"}) {
    EXPECT_FALSE(ParseText(text, 0, 255, &value)) << text;
  }
}

TEST(ValuesTest, Addresses) {
  std::string address;
  for (const char* text :
       {"127.0.0.1:7070", "[::1]:0", "localhost:65535", "0.0.0.0:1", "my-host.example:80"}) {
    EXPECT_TRUE(ParseAddress(text, &address)) << text;
  }
  for (const char* text : {"", ":7070", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "::1:80",
                           "[::g]:80", "[127.0.0.1]:80", "a b:80", "unix:/x:1", "host:-1"}) {
    EXPECT_FALSE(ParseAddress(text, &address)) << text;
  }
}

TEST(ValuesTest, Loopback) {
  for (const char* text : {"127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "localhost:1"}) {
    EXPECT_TRUE(IsLoopback(text)) << text;
  }
  for (const char* text : {"0.0.0.0:1", "[::]:1", "10.0.0.1:1", "example.org:1", "128.0.0.1:1",
                           "localhost.example.org:1", "127.0.0.1.example.org:1"}) {
    EXPECT_FALSE(IsLoopback(text)) << text;
  }
}

TEST(ValuesTest, SocketPathsLeaveRoomForBothSockets) {
  std::string path;
  EXPECT_TRUE(ParseSocketPath("/run/leaseplane/leaseplane.sock", &path));
  EXPECT_TRUE(ParseSocketPath("/" + std::string(106, 'a'), &path));
  EXPECT_FALSE(ParseSocketPath("/" + std::string(107, 'a'), &path));
  // Here attach.sock would be one byte too long, although the path itself is not.
  EXPECT_TRUE(ParseSocketPath("/" + std::string(94, 'a') + "/s", &path));
  EXPECT_FALSE(ParseSocketPath("/" + std::string(95, 'a') + "/s", &path));
  for (const char* text : {"", "relative.sock", "/", "/run/", "/run/attach.sock"}) {
    EXPECT_FALSE(ParseSocketPath(text, &path)) << text;
  }
  EXPECT_EQ(ListenOptions{.unix_socket_path = "/a/b.sock"}.attach_socket_path(), "/a/attach.sock");
}

}  // namespace
}  // namespace leaseplane::config
