// SPDX-License-Identifier: Apache-2.0
#include "server/obs/log.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <thread>
#include <vector>

namespace leaseplane::obs {
namespace {

// 2026-06-01T12:00:00.123456Z
constexpr int64_t kNow = 1'780'315'200'123'456'789;

TEST(LogTest, ATextLineHasTimeLevelMessageAndFields) {
  EXPECT_EQ(FormatLine(Format::kText, Level::kWarning, kNow, "lease expired",
                       {{"pool", "gpu"},
                        {"slot", 3},
                        {"token", int64_t{9'007'199'254'740'991}},
                        {"is_local", false},
                        {"share", 0.5}}),
            "2026-06-01T12:00:00.123456Z warning lease expired pool=gpu slot=3"
            " token=9007199254740991 is_local=false share=0.5");
}

TEST(LogTest, TextValuesThatCouldBeMisreadAreQuoted) {
  EXPECT_EQ(FormatLine(Format::kText, Level::kInfo, kNow, "a\nb",
                       {{"a", ""}, {"b", "x y"}, {"c", "x=y"}, {"d", "q\"\n\x01"}}),
            "2026-06-01T12:00:00.123456Z info a\\nb a=\"\" b=\"x y\" c=\"x=y\""
            " d=\"q\\\"\\n\\u0001\"");
}

TEST(LogTest, AJsonLineIsOneObjectWithTypedFields) {
  const std::string line = FormatLine(Format::kJson, Level::kError, kNow, "bad \"thing\"",
                                      {{"pool", std::string("gpu")},
                                       {"slot", 3u},
                                       {"token", -5},
                                       {"ok", true},
                                       {"huge", ~uint64_t{0}},
                                       {"nan", std::nan("")}});
  EXPECT_EQ(line.find('\n'), std::string::npos);
  const auto json = nlohmann::json::parse(line);
  EXPECT_EQ(json["time"], "2026-06-01T12:00:00.123456Z");
  EXPECT_EQ(json["level"], "error");
  EXPECT_EQ(json["message"], "bad \"thing\"");
  EXPECT_EQ(json["pool"], "gpu");
  EXPECT_EQ(json["slot"], 3);
  EXPECT_EQ(json["token"], -5);
  EXPECT_EQ(json["ok"], true);
  EXPECT_EQ(json["huge"], ~uint64_t{0});
  EXPECT_TRUE(json["nan"].is_null());
}

TEST(LogTest, AnyBytesMakeValidJson) {
  std::string all;
  for (int i = 0; i < 256; ++i) all.push_back(static_cast<char>(i));
  all += "\xC3\xA4 \xF0\x9F\x98\x80 \xED\xA0\x80 \xC0\xAF \xF4\x90\x80\x80 \xE2\x82";
  const std::string line = FormatLine(Format::kJson, Level::kInfo, kNow, all, {{"k", all}});
  const auto json = nlohmann::json::parse(line, nullptr, false);
  ASSERT_FALSE(json.is_discarded());
  EXPECT_EQ(json["message"], json["k"]);
  const std::string text = json["k"];
  EXPECT_NE(text.find("\xC3\xA4 \xF0\x9F\x98\x80"), std::string::npos);
}

TEST(LogTest, LinesBelowTheLevelAreNotWritten) {
  SetUpLogging(Level::kWarning, Format::kText);
  EXPECT_FALSE(IsLogged(Level::kInfo));
  EXPECT_TRUE(IsLogged(Level::kError));
  ::testing::internal::CaptureStderr();
  Log(Level::kInfo, "quiet");
  Log(Level::kError, "loud {} %s", {{"n", 1}});
  const std::string written = ::testing::internal::GetCapturedStderr();
  EXPECT_EQ(written.find("quiet"), std::string::npos);
  EXPECT_NE(written.find("error loud {} %s n=1\n"), std::string::npos) << written;
}

TEST(LogTest, LinesOfManyThreadsDoNotMix) {
  SetUpLogging(Level::kInfo, Format::kJson);
  ::testing::internal::CaptureStderr();
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([t] {
      for (int i = 0; i < 200; ++i) Log(Level::kInfo, "line", {{"thread", t}, {"i", i}});
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::istringstream lines(::testing::internal::GetCapturedStderr());
  int count = 0;
  for (std::string line; std::getline(lines, line); ++count) {
    EXPECT_FALSE(nlohmann::json::parse(line, nullptr, false).is_discarded()) << line;
  }
  EXPECT_EQ(count, 800);
}

TEST(RateLimitTest, OneInAnIntervalPassesAndTheOthersAreCounted) {
  RateLimit limit(10);
  EXPECT_TRUE(limit.Allow(0));
  EXPECT_EQ(limit.held_back(), 0u);
  EXPECT_FALSE(limit.Allow(0));
  EXPECT_FALSE(limit.Allow(9));
  EXPECT_TRUE(limit.Allow(10));
  EXPECT_EQ(limit.held_back(), 2u);
  EXPECT_TRUE(limit.Allow(20));
  EXPECT_EQ(limit.held_back(), 0u);
}

}  // namespace
}  // namespace leaseplane::obs
