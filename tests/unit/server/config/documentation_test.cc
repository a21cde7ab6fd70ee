// SPDX-License-Identifier: Apache-2.0
//
// What is written about the configuration against what the daemon knows.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>

#include "server/config/fields.h"
#include "server/config/parse.h"

namespace leaseplane::config {
namespace {

std::string ReadSource(const std::string& path) {
  const char* root = std::getenv("LEASEPLANE_SOURCE_DIR");
  std::ifstream file(std::string(root != nullptr ? root : ".") + "/" + path);
  EXPECT_TRUE(file.is_open()) << path;
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string Code(std::string_view text) { return "`" + std::string(text) + "`"; }

std::string DefaultOf(const Setting& s) {
  return s.field.default_text.empty() ? "none" : Code(s.field.default_text);
}

TEST(ConfigurationDocumentTest, EverySettingHasItsRow) {
  const std::string text = ReadSource("docs/configuration.md");
  for (const Setting& s : Settings()) {
    const std::string key = s.field.key.empty() ? "" : Code(s.field.key) + " ";
    const std::string row = "| " + key + "| " + Code(s.flag) + " | " + Code(s.variable) + " | " +
                            DefaultOf(s) + " | " + std::string(s.field.valid) + " |";
    EXPECT_NE(text.find(row), std::string::npos) << row;
  }
}

TEST(ConfigurationDocumentTest, EveryPoolFieldHasItsRow) {
  const std::string text = ReadSource("docs/configuration.md");
  for (const auto& field : PoolFields()) {
    const std::string shown =
        field.default_text.empty() ? std::string("needed") : Code(field.default_text);
    const std::string row =
        "| " + Code(field.key) + " | " + shown + " | " + std::string(field.valid) + " |";
    EXPECT_NE(text.find(row), std::string::npos) << row;
  }
}

TEST(ConfigurationDocumentTest, EveryFieldOfAnAccessRuleHasItsRow) {
  const std::string text = ReadSource("docs/configuration.md");
  for (const auto& field : AccessFields()) {
    const std::string row = "| " + Code(field.key) + " | needed | " + std::string(field.valid);
    EXPECT_NE(text.find(row), std::string::npos) << row;
  }
}

TEST(ConfigurationDocumentTest, VariablesAreNamedAfterTheirFlags) {
  for (const Setting& s : Settings()) {
    std::string name = "LEASEPLANE_";
    for (const char c : s.flag.substr(2)) {
      name += c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    }
    EXPECT_EQ(s.variable, name);
  }
}

TEST(ConfigurationDocumentTest, DefaultTextsAreTheDefaults) {
  const DaemonOptions defaults;
  DaemonOptions options;
  options.listen.tcp_address = options.metrics.address = options.state.dir = "";
  options.listen.unix_socket_path = "";
  options.lifecycle = {0, 0, 0};
  options.sessions = {1, 1};
  options.listen.admin_address = options.security.tls.cert = options.security.tokens_file = "x";
  options.security.reload_interval_ns = 0;
  for (const Setting& s : Settings()) {
    EXPECT_TRUE(s.field.apply("", s.field.default_text, &options)) << s.flag;
  }
  EXPECT_EQ(options.listen.tcp_address, defaults.listen.tcp_address);
  EXPECT_EQ(options.listen.unix_socket_path, defaults.listen.unix_socket_path);
  EXPECT_EQ(options.metrics.address, defaults.metrics.address);
  EXPECT_EQ(options.state.dir, defaults.state.dir);
  EXPECT_EQ(options.lifecycle.drain_timeout_ns, defaults.lifecycle.drain_timeout_ns);
  EXPECT_EQ(options.lifecycle.restart_grace_ns, defaults.lifecycle.restart_grace_ns);
  EXPECT_EQ(options.lifecycle.redeclare_grace_ns, defaults.lifecycle.redeclare_grace_ns);
  EXPECT_EQ(options.sessions.per_process_max, defaults.sessions.per_process_max);
  EXPECT_EQ(options.sessions.per_uid_max, defaults.sessions.per_uid_max);
  EXPECT_EQ(options.listen.admin_address, "");
  EXPECT_EQ(options.security.tls.cert, "");
  EXPECT_EQ(options.security.tokens_file, "");
  EXPECT_EQ(options.security.reload_interval_ns, defaults.security.reload_interval_ns);
  const engine::PoolOptions pool;
  engine::PoolOptions read;
  read.max_hold_ns = read.stall_timeout_ns = 1;
  read.default_ttl_ns = read.min_ttl_ns = read.max_ttl_ns = read.max_overtake_ns = 0;
  read.max_waiters = 1;
  for (const auto& field : PoolFields()) {
    if (field.kind != FieldKind::kScalar || field.default_text.empty()) continue;
    EXPECT_TRUE(field.apply("", field.default_text, &read)) << field.key;
  }
  EXPECT_EQ(read.default_ttl_ns, pool.default_ttl_ns);
  EXPECT_EQ(read.min_ttl_ns, pool.min_ttl_ns);
  EXPECT_EQ(read.max_ttl_ns, pool.max_ttl_ns);
  EXPECT_EQ(read.max_overtake_ns, pool.max_overtake_ns);
  EXPECT_EQ(read.max_waiters, pool.max_waiters);
  EXPECT_EQ(read.max_hold_ns, pool.max_hold_ns);
  EXPECT_EQ(read.stall_timeout_ns, pool.stall_timeout_ns);
}

TEST(ConfigurationExampleTest, ItIsValidAndNamesEveryKey) {
  const std::string text = ReadSource("deploy/examples/pools.yaml");
  DaemonOptions options;
  std::vector<ConfigError> errors;
  ParseConfigText(text, "pools.yaml", &options, &errors);
  for (const ConfigError& error : errors) ADD_FAILURE() << error.ToString();
  ASSERT_EQ(options.pools.size(), 3u);
  EXPECT_EQ(options.pools[0].id, "demo");
  EXPECT_EQ(options.pools[0].capacity, 3u);
  EXPECT_EQ(options.pools[0].resources.size(), 3u);
  EXPECT_EQ(options.pools[1].capacity, 8u);
  EXPECT_EQ(options.pools[2].fairness, engine::Fairness::kFifo);
  const auto names = [&text](std::string_view key) {
    const std::string last(key.substr(key.rfind('.') + 1));
    return text.find(last + ":") != std::string::npos;
  };
  for (const Setting& s : Settings()) {
    EXPECT_TRUE(s.field.key.empty() || names(s.field.key)) << s.field.key;
  }
  for (const auto& field : PoolFields()) EXPECT_TRUE(names(field.key)) << field.key;
  for (const auto& field : AccessFields()) EXPECT_TRUE(names(field.key)) << field.key;
}

// With the comment signs of the keys taken away the example still is valid, so what the comments
// say are the defaults.
TEST(ConfigurationExampleTest, ItsCommentedKeysAreValidToo) {
  std::string text = ReadSource("deploy/examples/pools.yaml");
  for (const char* key : {"listen:",
                          "socket:",
                          "insecure:",
                          "admin_listen:",
                          "tls:",
                          "  cert:",
                          "  key:",
                          "  client_ca:",
                          "tokens_file:",
                          "reload_interval:",
                          "access:",
                          "  - {principal: uid:1000",
                          "  - {principal: \"spiffe",
                          "metrics_listen:",
                          "state_dir:",
                          "log:",
                          "  level:",
                          "  format:",
                          "drain_timeout:",
                          "restart_grace:",
                          "redeclare_grace:",
                          "max_sessions_per_process:",
                          "max_sessions_per_uid:",
                          "max_capacity:",
                          "fairness: B",
                          "max_overtake:",
                          "durability:",
                          "ttl:",
                          "  default:",
                          "  min:",
                          "  max:",
                          "max_duration:",
                          "max_waiters:",
                          "max_waiters_per_client:",
                          "max_leases_per_client:",
                          "reuse_delay:",
                          "lock_delay:",
                          "max_hold:",
                          "stall_timeout:",
                          "numa_node:",
                          "local_access:",
                          "  enabled:",
                          "  uids:",
                          "  gids:"}) {
    const size_t at = text.find("# " + std::string(key));
    ASSERT_NE(at, std::string::npos) << key;
    text.erase(at, 2);
  }
  DaemonOptions options;
  std::vector<ConfigError> errors;
  ParseConfigText(text, "pools.yaml", &options, &errors);
  for (const ConfigError& error : errors) ADD_FAILURE() << error.ToString();
  EXPECT_EQ(options.pools.size(), 3u);
}

}  // namespace
}  // namespace leaseplane::config
