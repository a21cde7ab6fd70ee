// SPDX-License-Identifier: Apache-2.0
#include "server/config/reload.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "server/config/parse.h"

namespace leaseplane::config {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

DaemonOptions Read(const std::string& text) {
  DaemonOptions options;
  std::vector<ConfigError> errors;
  ParseConfigText(text, "FILE", &options, &errors);
  for (const ConfigError& error : errors) ADD_FAILURE() << error.ToString();
  return options;
}

constexpr char kText[] =
    "pools:\n"
    "- {id: gpu, capacity: 4, ttl: {default: 10s}, lock_delay: 2s, max_leases_per_client: 3}\n"
    "- {id: db, capacity: 5}\n";

TEST(ReloadTest, TheSameChangesNothing) {
  const ReloadPlan plan = PlanReload(Read(kText), Read(kText));
  EXPECT_THAT(plan.added, IsEmpty());
  EXPECT_THAT(plan.changed, IsEmpty());
  EXPECT_THAT(plan.obstacles, IsEmpty());
}

TEST(ReloadTest, PoolsAreAddedAndGetOtherRules) {
  const ReloadPlan plan = PlanReload(
      Read(kText),
      Read("log: {level: debug}\n"
           "restart_grace: 20s\n"
           "max_sessions_per_uid: 7\n"
           "pools:\n"
           "- {id: licence, capacity: 2}\n"
           "- {id: db, capacity: 5, max_capacity: 5}\n"  // as before, in other words
           "- {id: gpu, capacity: 4, ttl: {default: 20s}, lock_delay: 3s, max_waiters: 9,\n"
           "   max_leases_per_client: 0, max_overtake: 5ms, max_hold: 1h, stall_timeout: 5s,\n"
           "   max_duration: 2h, local_access: {uids: [7]}, labels: {a: b}}\n"));
  EXPECT_THAT(plan.obstacles, IsEmpty());
  ASSERT_EQ(plan.added.size(), 1u);
  EXPECT_EQ(plan.added[0].id, "licence");
  ASSERT_EQ(plan.changed.size(), 2u);
  EXPECT_EQ(plan.changed[1].id, "gpu");
  EXPECT_EQ(plan.changed[1].default_ttl_ns, 20 * engine::kSecond);
}

TEST(ReloadTest, WhatNeedsARestartIsToldFieldByField) {
  const std::pair<const char*, const char*> cases[] = {
      {"capacity: 4", "capacity: 8"},
      {"lock_delay: 2s", "lock_delay: 0s"},
      {"capacity: 5", "capacity: 5, max_capacity: 9"},
      {"capacity: 5", "capacity: 5, fairness: FIFO"},
      {"capacity: 5", "capacity: 5, durability: SYNC"},
      {"capacity: 5", "capacity: 5, resources: [a]"},
      {"capacity: 5", "capacity: 5, numa_node: 0"},
      {"capacity: 5", "capacity: 5, reuse_delay: 1s"},
      {"capacity: 5", "capacity: 5, max_leases_per_client: 1"},
      {"capacity: 5", "capacity: 5, max_waiters_per_client: 1"},
      {"pools:", "listen: 127.0.0.1:1\npools:"},
      {"pools:", "socket: /tmp/other.sock\npools:"},
      {"pools:", "insecure: true\npools:"},
      {"pools:", "metrics_listen: 127.0.0.1:2\npools:"},
      {"pools:", "state_dir: /tmp/other\npools:"},
      {"pools:", "log: {format: json}\npools:"},
      {"pools:", "drain_timeout: 1s\npools:"},
  };
  for (const auto& [from, to] : cases) {
    std::string text = kText;
    text.replace(text.find(from), std::string(from).size(), to);
    const ReloadPlan plan = PlanReload(Read(kText), Read(text));
    ASSERT_EQ(plan.obstacles.size(), 1u) << to;
    std::string key = to;
    key = key.substr(key.find(", ") == std::string::npos ? 0 : key.find(", ") + 2);
    key = key.substr(0, key.find(':'));
    EXPECT_THAT(plan.obstacles[0], HasSubstr(key)) << to;
    EXPECT_THAT(plan.obstacles[0], HasSubstr("start it again"));
  }
}

TEST(ReloadTest, APoolThatIsMissingIsAnObstacle) {
  const ReloadPlan plan = PlanReload(Read(kText), Read("pools: [{id: db, capacity: 5}]"));
  EXPECT_THAT(plan.obstacles, ElementsAre(HasSubstr("`gpu`")));
}

}  // namespace
}  // namespace leaseplane::config
