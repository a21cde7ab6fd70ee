// SPDX-License-Identifier: Apache-2.0
//
// DaemonOptions: everything the daemon can be told at its start, one struct per module. Plain
// values with their defaults; how they are read is in parse.h, what they mean in
// docs/configuration.md.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/base/ids.h"
#include "server/engine/types.h"
#include "server/security/access.h"
#include "server/security/tls_material.h"

namespace leaseplane::config {

struct ListenOptions {
  std::string tcp_address = "127.0.0.1:7070";  // HOST:PORT, port 0 = any free one
  std::string admin_address = {};              // as tcp_address; empty: none
  std::string unix_socket_path = "/run/leaseplane/leaseplane.sock";
  bool insecure = false;                   // allows a TCP address beyond loopback without TLS
  std::string attach_socket_path() const;  // attach.sock beside the Unix socket
};

// Who callers over TCP are, and what callers may do.
struct SecurityOptions {
  security::TlsFiles tls;  // all empty: no TLS
  std::string tokens_file = {};
  int64_t reload_interval_ns = 10 * engine::kSecond;
  bool has_access = false;  // `access` is there, even if it is empty
  std::vector<security::AccessRule> access;
};

struct MetricsOptions {
  std::string address = "127.0.0.1:9464";
};

struct StateOptions {
  std::string dir = "/var/lib/leaseplane";
  bool initialize = false;
  FencingToken token_floor = 0;  // 0 = none
};

enum class LogLevel { kDebug, kInfo, kWarning, kError };
enum class LogFormat { kText, kJson };

struct LogOptions {
  LogLevel level = LogLevel::kInfo;
  LogFormat format = LogFormat::kText;
};

struct LifecycleOptions {
  int64_t drain_timeout_ns = 10 * engine::kSecond;
  int64_t restart_grace_ns = 15 * engine::kSecond;
  int64_t redeclare_grace_ns = 10 * engine::kSecond;
};

struct SessionOptions {
  uint32_t per_process_max = 256;  // 0 = no limit
  uint32_t per_uid_max = 0;        // 0 = all but a 64th
};

struct DaemonOptions {
  std::string config_file;  // empty: none was read
  ListenOptions listen;
  SecurityOptions security;
  MetricsOptions metrics;
  StateOptions state;
  LogOptions log;
  LifecycleOptions lifecycle;
  SessionOptions sessions;
  std::vector<engine::PoolOptions> pools;  // from file and flags; validated
};

}  // namespace leaseplane::config
