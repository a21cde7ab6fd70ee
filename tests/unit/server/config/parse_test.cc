// SPDX-License-Identifier: Apache-2.0
#include "server/config/parse.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>

namespace leaseplane::config {
namespace {

using engine::kMinute;
using engine::kSecond;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

class ParseTest : public ::testing::Test {
 protected:
  ParseTest() {
    std::string pattern = ::testing::TempDir() + "/configXXXXXX";
    dir_ = ::mkdtemp(pattern.data());
  }
  ~ParseTest() override { std::filesystem::remove_all(dir_); }

  std::string File(const std::string& text) {
    const std::string path = dir_ + "/c.yaml";
    std::ofstream(path) << text;
    return path;
  }

  ParseResult Parse(const std::vector<std::string>& arguments) {
    std::vector<const char*> argv = {"leaseplaned"};
    for (const std::string& argument : arguments) argv.push_back(argument.c_str());
    ParseContext context;
    context.version = "1.2.3";
    context.default_config_file = dir_ + "/default.yaml";
    context.environment = [this](const std::string& name) -> std::optional<std::string> {
      const auto found = environment_.find(name);
      if (found == environment_.end()) return std::nullopt;
      return found->second;
    };
    return ParseCommandLine(static_cast<int>(argv.size()), argv.data(), context);
  }

  // The mistakes of a file, one text each, with "FILE" for its path.
  std::vector<std::string> Mistakes(const std::string& text) {
    std::vector<ConfigError> errors;
    DaemonOptions options;
    ParseConfigText(text, "FILE", &options, &errors);
    std::vector<std::string> texts;
    for (const ConfigError& error : errors) texts.push_back(error.ToString());
    return texts;
  }

  std::map<std::string, std::string> environment_;
  std::string dir_;
};

TEST_F(ParseTest, NothingGivenIsAllDefaults) {
  const ParseResult result = Parse({});
  ASSERT_EQ(result.action, ParseResult::Action::kServe) << result.text;
  EXPECT_EQ(result.options.listen.tcp_address, "127.0.0.1:7070");
  EXPECT_EQ(result.options.listen.attach_socket_path(), "/run/leaseplane/attach.sock");
  EXPECT_EQ(result.options.state.dir, "/var/lib/leaseplane");
  EXPECT_EQ(result.options.lifecycle.drain_timeout_ns, 10 * kSecond);
  EXPECT_THAT(result.options.pools, IsEmpty());
}

TEST_F(ParseTest, PoolsCanComeFromFlagsAlone) {
  const ParseResult result = Parse({"--pool", "gpu=8", "--pool=db=20"});
  ASSERT_EQ(result.options.pools.size(), 2u) << result.text;
  EXPECT_EQ(result.options.pools[0].id, "gpu");
  EXPECT_EQ(result.options.pools[0].capacity, 8u);
  EXPECT_EQ(result.options.pools[1].id, "db");
  EXPECT_FALSE(result.options.pools[1].from_api);
}

TEST_F(ParseTest, EveryKeyOfAFileIsRead) {
  const std::string file = File(R"(
listen: 127.0.0.1:1
socket: /tmp/s.sock
insecure: yes
metrics_listen: "[::1]:2"
state_dir: /tmp/state
log: {level: debug, format: json}
drain_timeout: 1m
restart_grace: 20s
redeclare_grace: 11s
max_sessions_per_process: 4
max_sessions_per_uid: 9
pools:
  - id: gpu
    capacity: 2
    max_capacity: 4
    fairness: FIFO
    durability: SYNC
    ttl: {default: 10s, min: 2s, max: 1h}
    max_duration: 2h
    max_overtake: 5ms
    max_waiters: 7
    max_waiters_per_client: 6
    max_leases_per_client: 5
    reuse_delay: 1s
    lock_delay: 3s
    max_hold: 1h
    stall_timeout: 45s
    numa_node: 0
    local_access: {enabled: false, uids: [1000, 0], gids: [5]}
    resources: [a, "b c"]
    labels: {zone: eu}
)");
  const ParseResult result = Parse({"--config", file});
  ASSERT_EQ(result.action, ParseResult::Action::kServe) << result.text;
  const DaemonOptions& o = result.options;
  EXPECT_EQ(o.config_file, file);
  EXPECT_EQ(o.listen.tcp_address, "127.0.0.1:1");
  EXPECT_EQ(o.listen.unix_socket_path, "/tmp/s.sock");
  EXPECT_TRUE(o.listen.insecure);
  EXPECT_EQ(o.metrics.address, "[::1]:2");
  EXPECT_EQ(o.state.dir, "/tmp/state");
  EXPECT_EQ(o.log.level, LogLevel::kDebug);
  EXPECT_EQ(o.log.format, LogFormat::kJson);
  EXPECT_EQ(o.lifecycle.drain_timeout_ns, kMinute);
  EXPECT_EQ(o.lifecycle.restart_grace_ns, 20 * kSecond);
  EXPECT_EQ(o.lifecycle.redeclare_grace_ns, 11 * kSecond);
  EXPECT_EQ(o.sessions.per_process_max, 4u);
  EXPECT_EQ(o.sessions.per_uid_max, 9u);
  ASSERT_EQ(o.pools.size(), 1u);
  const engine::PoolOptions& p = o.pools[0];
  EXPECT_EQ(p.max_capacity, 4u);
  EXPECT_EQ(p.fairness, engine::Fairness::kFifo);
  EXPECT_EQ(p.durability, engine::Durability::kSync);
  EXPECT_EQ(p.default_ttl_ns, 10 * kSecond);
  EXPECT_EQ(p.min_ttl_ns, 2 * kSecond);
  EXPECT_EQ(p.max_ttl_ns, engine::kHour);
  EXPECT_EQ(p.max_duration_ns, 2 * engine::kHour);
  EXPECT_EQ(p.max_overtake_ns, 5 * engine::kMillisecond);
  EXPECT_EQ(p.max_waiters, 7u);
  EXPECT_EQ(p.max_waiters_per_client, 6u);
  EXPECT_EQ(p.max_leases_per_client, 5u);
  EXPECT_EQ(p.reuse_delay_ns, kSecond);
  EXPECT_EQ(p.lock_delay_ns, 3 * kSecond);
  EXPECT_EQ(p.max_hold_ns, engine::kHour);
  EXPECT_EQ(p.stall_timeout_ns, 45 * kSecond);
  EXPECT_EQ(p.numa_node, 0u);
  EXPECT_FALSE(p.local_enabled);
  EXPECT_THAT(p.local_uids, ElementsAre(1000u, 0u));
  EXPECT_THAT(p.local_gids, ElementsAre(5u));
  EXPECT_THAT(p.resources, ElementsAre("a", "b c"));
  EXPECT_EQ(p.labels.at("zone"), "eu");
}

TEST_F(ParseTest, AFlagBeatsAVariableBeatsTheFile) {
  const std::string file = File("log: {level: debug}\nstate_dir: /file\ndrain_timeout: 1s\n");
  environment_ = {{"LEASEPLANE_CONFIG", file},
                  {"LEASEPLANE_STATE_DIR", "/variable"},
                  {"LEASEPLANE_DRAIN_TIMEOUT", "2s"},
                  {"LEASEPLANE_POOLS", "a=1, "}};
  ParseResult result = Parse({"--drain-timeout", "3s"});
  ASSERT_EQ(result.action, ParseResult::Action::kServe) << result.text;
  EXPECT_EQ(result.options.log.level, LogLevel::kDebug);
  EXPECT_EQ(result.options.state.dir, "/variable");
  EXPECT_EQ(result.options.lifecycle.drain_timeout_ns, 3 * kSecond);
  ASSERT_EQ(result.options.pools.size(), 1u);
  result = Parse({"--pool", "b=2"});
  ASSERT_EQ(result.options.pools.size(), 1u);
  EXPECT_EQ(result.options.pools[0].id, "b");
}

TEST_F(ParseTest, APoolFlagChangesTheCapacityOfAPoolOfTheFile) {
  const std::string file = File("pools:\n- {id: gpu, capacity: 2, fairness: FIFO}\n");
  const ParseResult result = Parse({"--config", file, "--pool", "gpu=5", "--pool", "db=1"});
  ASSERT_EQ(result.options.pools.size(), 2u) << result.text;
  EXPECT_EQ(result.options.pools[0].capacity, 5u);
  EXPECT_EQ(result.options.pools[0].fairness, engine::Fairness::kFifo);
}

TEST_F(ParseTest, SwitchesCanBeSetAndUnset) {
  environment_["LEASEPLANE_INITIALIZE"] = "1";
  EXPECT_TRUE(Parse({}).options.state.initialize);
  EXPECT_FALSE(Parse({"--initialize=false"}).options.state.initialize);
  EXPECT_TRUE(Parse({"--insecure"}).options.listen.insecure);
  EXPECT_EQ(Parse({"--token-floor", "77"}).options.state.token_floor, 77);
}

TEST_F(ParseTest, TheDefaultFileIsReadIfItIsThere) {
  std::ofstream(dir_ + "/default.yaml") << "pools: [{id: a, capacity: 1}]";
  EXPECT_EQ(Parse({}).options.pools.size(), 1u);
}

TEST_F(ParseTest, HelpAndVersionEndWithZero) {
  ParseResult result = Parse({"--help"});
  EXPECT_EQ(result.action, ParseResult::Action::kPrintAndExit);
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_THAT(result.text, HasSubstr("LEASEPLANE_STATE_DIR"));
  result = Parse({"--version"});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_THAT(result.text, HasSubstr("1.2.3"));
}

TEST_F(ParseTest, AWrongCommandLineEndsWith64) {
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{"--unknown"}, {"--listen"}, {"argument"}}) {
    const ParseResult result = Parse(arguments);
    EXPECT_EQ(result.action, ParseResult::Action::kPrintAndExit);
    EXPECT_EQ(result.exit_code, kExitUsage) << result.text;
    EXPECT_FALSE(result.text.empty());
  }
}

TEST_F(ParseTest, CheckConfigSaysOkOrWhatIsWrong) {
  ParseResult result = Parse({"--check-config", "--pool", "a=1"});
  EXPECT_EQ(result.text, "OK\n");
  EXPECT_EQ(result.exit_code, 0);
  result = Parse({"--check-config", "--config", File("listen: 7070\n")});
  EXPECT_EQ(result.exit_code, kExitConfig);
  EXPECT_THAT(result.text, HasSubstr("c.yaml:1: field `listen`: got 7070; valid: HOST:PORT"));
  environment_["LEASEPLANE_CHECK_CONFIG"] = "true";
  EXPECT_EQ(Parse({}).text, "OK\n");
}

TEST_F(ParseTest, MistakesInFlagsAndVariablesNameThem) {
  environment_ = {{"LEASEPLANE_DRAIN_TIMEOUT", "soon"}};
  const ParseResult result =
      Parse({"--token-floor", "-1x", "--pool", "GPU=1", "--pool", "a=1", "--pool", "a=2"});
  EXPECT_EQ(result.exit_code, kExitConfig);
  ASSERT_EQ(result.errors.size(), 4u) << result.text;
  EXPECT_EQ(result.errors[0].ToString(),
            "LEASEPLANE_DRAIN_TIMEOUT: field `drain_timeout`: got soon; valid: a duration from 0s "
            "to 1h, like 10s or 1m30s");
  EXPECT_EQ(result.errors[1].where, "--token-floor");
  EXPECT_EQ(result.errors[2].where, "--pool");
  EXPECT_THAT(result.errors[3].ToString(), HasSubstr("`pools[1].id`: got a; valid: an id that no"));
}

TEST_F(ParseTest, ANamedFileThatIsMissingOrAFolderIsAnError) {
  ParseResult result = Parse({"--config", dir_ + "/none.yaml"});
  EXPECT_EQ(result.exit_code, kExitConfig);
  EXPECT_THAT(result.text, HasSubstr("none.yaml: got No such file"));
  result = Parse({"--config", dir_});
  EXPECT_EQ(result.exit_code, kExitConfig) << result.text;
}

TEST_F(ParseTest, AnAddressBeyondLoopbackNeedsInsecure) {
  for (const char* address : {"0.0.0.0:7070", "[::]:7070", "10.0.0.1:7070"}) {
    const ParseResult result = Parse({"--listen", address});
    EXPECT_EQ(result.exit_code, kExitConfig);
    EXPECT_THAT(result.text, HasSubstr("--listen: field `listen`: got " + std::string(address)));
    EXPECT_THAT(result.text, HasSubstr("--insecure"));
    EXPECT_EQ(Parse({"--listen", address, "--insecure"}).action, ParseResult::Action::kServe);
  }
}

// -- the exact texts

TEST_F(ParseTest, AValueOutOfRangeIsToldWithLineFieldValueAndRange) {
  EXPECT_THAT(Mistakes("pools:\n"
                       "  - id: a\n"
                       "    capacity: 1\n"
                       "  - id: b\n"
                       "    capacity: 1\n"
                       "  - id: c\n"
                       "    capacity: 1\n"
                       "    ttl:\n"
                       "      max: 48h\n"),
              ElementsAre("FILE:9: field `pools[2].ttl.max`: got 48h; valid: a duration from 1s "
                          "to 24h, like 15s or 1h30m"));
}

TEST_F(ParseTest, AllMistakesAreToldAtOnce) {
  EXPECT_THAT(
      Mistakes("listn: x\n"
               "log: loud\n"
               "drain_timeout: [1s]\n"
               "pools:\n"
               "  - id: Bad\n"
               "    capacity: 0\n"
               "    colour: red\n"
               "  - capacity: 2\n"
               "    resources: [a, b, c]\n"
               "    local_access: {uids: [me]}\n"),
      UnorderedElementsAre(
          "FILE:1: field `listn`: got an unknown key; valid: listen, socket, insecure, "
          "admin_listen, tls, tokens_file, reload_interval, metrics_listen, state_dir, log, "
          "drain_timeout, restart_grace, redeclare_grace, max_sessions_per_process, "
          "max_sessions_per_uid, pools, access",
          "FILE:2: field `log`: got loud; valid: a map with level, format",
          "FILE:3: field `drain_timeout`: got a list; valid: a duration from 0s to 1h, like 10s or "
          "1m30s",
          "FILE:5: field `pools[0].id`: got Bad; valid: 1..63 of a-z, 0-9 and -, a letter first, "
          "no - last",
          "FILE:6: field `pools[0].capacity`: got 0; valid: 1..1048576",
          "FILE:7: field `pools[0].colour`: got an unknown key; valid: id, capacity, max_capacity, "
          "fairness, durability, ttl, max_duration, max_overtake, max_waiters, "
          "max_waiters_per_client, max_leases_per_client, reuse_delay, lock_delay, max_hold, "
          "stall_timeout, numa_node, local_access, resources, labels",
          "FILE:8: field `pools[1].id`: got nothing; valid: 1..63 of a-z, 0-9 and -, a letter "
          "first, no - last",
          "FILE:9: field `pools[1].resources`: got 3 entries; valid: at most 2, one a slot",
          "FILE:10: field `pools[1].local_access.uids[0]`: got me; valid: numeric user ids"));
}

TEST_F(ParseTest, FieldsThatDoNotFitTogetherAreTold) {
  EXPECT_THAT(Mistakes("metrics_listen: 127.0.0.1:7070\n"
                       "pools:\n"
                       "- {id: a, capacity: 5, max_capacity: 4}\n"
                       "- {id: a, capacity: 5, ttl: {min: 10s, max: 5s}}\n"
                       "- {id: c, capacity: 5, ttl: {default: 1m, max: 30s}, max_duration: 2s}\n"
                       "- {id: d, capacity: 5, ttl: {min: 5s}, max_duration: 2s}\n"),
              UnorderedElementsAre(
                  "FILE:1: field `metrics_listen`: got 127.0.0.1:7070; valid: another address than "
                  "`listen` and `admin_listen`",
                  "FILE:3: field `pools[0].max_capacity`: got 4; valid: 0 (as capacity), or "
                  "5..1048576",
                  "FILE:4: field `pools[1].id`: got a; valid: an id that no other pool has; "
                  "`pools[0].id` at FILE:3 is the same",
                  "FILE:4: field `pools[1].ttl.max`: got 5s; valid: at least ttl.min, 10s",
                  "FILE:5: field `pools[2].ttl.default`: got 1m; valid: from ttl.min to ttl.max, "
                  "1s to 30s",
                  "FILE:6: field `pools[3].max_duration`: got 2s; valid: 0s, or at least ttl.min, "
                  "5s"));
}

TEST_F(ParseTest, NothingOfAFileIsPassedOverInSilence) {
  EXPECT_THAT(Mistakes("pools: [{id: a, capacity: 1}]\n---\npools: [{id: b, capacity: 0}]\n"),
              UnorderedElementsAre("FILE:3: got a second document; valid: one document, without a "
                                   "line of --- after it"));
  EXPECT_THAT(Mistakes("pools:\n- id: a\n  capacity: 1\n  labels:\n    x: 1\n    x: 2\n"),
              UnorderedElementsAre("FILE:6: field `pools[0].labels.x`: got the key a second time; "
                                   "valid: each key once"));
}

TEST_F(ParseTest, ADefaultTtlThatIsNotSetFollowsTheBounds) {
  DaemonOptions options;
  std::vector<ConfigError> errors;
  ParseConfigText("pools: [{id: a, capacity: 1, ttl: {max: 5s}}]", "FILE", &options, &errors);
  EXPECT_THAT(errors, IsEmpty());
  EXPECT_EQ(options.pools[0].default_ttl_ns, 5 * kSecond);
}

TEST_F(ParseTest, KeysTwiceAndWrongShapesAreTold) {
  EXPECT_THAT(Mistakes("state_dir: /a\nstate_dir: /b\n"),
              ElementsAre("FILE:2: field `state_dir`: got the key a second time; valid: each key "
                          "once"));
  EXPECT_THAT(Mistakes("- a\n- b\n"),
              ElementsAre(HasSubstr("FILE:1: got a list; valid: a map with listen")));
  EXPECT_THAT(Mistakes("pools: {a: 1}\n"),
              ElementsAre("FILE:1: field `pools`: got a map; valid: a list of pools"));
  EXPECT_THAT(Mistakes("pools:\n- gpu\n"),
              testing::Contains(HasSubstr("FILE:2: field `pools[0]`: got gpu; valid: a map with")));
  EXPECT_THAT(Mistakes("listen:\n"),
              ElementsAre(HasSubstr("FILE:1: field `listen`: got nothing; valid: HOST:PORT")));
}

TEST_F(ParseTest, TextThatIsNoYamlIsToldWithItsLine) {
  const std::vector<std::string> mistakes = Mistakes("listen: 127.0.0.1:1\npools: [\n");
  ASSERT_EQ(mistakes.size(), 1u);
  EXPECT_THAT(mistakes[0], HasSubstr("FILE:"));
  EXPECT_THAT(mistakes[0], HasSubstr("valid: YAML"));
  EXPECT_THAT(Mistakes(""), IsEmpty());
  EXPECT_THAT(Mistakes("# only a comment\n"), IsEmpty());
}

TEST_F(ParseTest, LabelsAreBounded) {
  std::string many = "pools: [{id: a, capacity: 1, labels: {";
  for (int i = 0; i < 17; ++i) many += "k" + std::to_string(i) + ": v, ";
  EXPECT_THAT(Mistakes(many + "}}]"), ElementsAre(HasSubstr("got 17 entries, 92 bytes")));
}

TEST_F(ParseTest, NoTextMakesItCrash) {
  // Every prefix of a file, and every byte of it replaced in turn.
  const std::string good =
      "log: {level: debug}\npools:\n- {id: a, capacity: 2, ttl: {max: 5s}, resources: [x, 'y'],"
      " labels: {k: v}, local_access: {uids: [1]}}\n";
  for (size_t i = 0; i < good.size(); ++i) {
    Mistakes(good.substr(0, i));
    for (const char c : {'\0', '\n', '[', '{', '-', ':', '&', '*', '!', '\xFF'}) {
      std::string bad = good;
      bad[i] = c;
      Mistakes(bad);
    }
  }
}

}  // namespace
}  // namespace leaseplane::config
