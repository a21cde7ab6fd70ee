// SPDX-License-Identifier: Apache-2.0
#include "server/config/fields.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "core/shm/numa.h"
#include "server/config/values.h"

namespace leaseplane::config {
namespace {

using engine::kHour;
using engine::kMillisecond;
using engine::kMinute;
using engine::kSecond;
using engine::PoolOptions;

using Text = std::string_view;
using Daemon = DaemonOptions;

constexpr Text kAddressValid = "HOST:PORT or [IPV6]:PORT, port 0..65535 (0 = any free one)";
constexpr Text kPathValid = "an absolute path";
constexpr Text kBoolValid = "true or false";
constexpr uint32_t kSessionsMax = kOwnerCount - kOwnerSessionFirst;
constexpr Text kSessionsValid = "0..16382";
static_assert(kSessionsMax == 16'382);

bool ApplyLogLevel(Text, Text text, Daemon* o) {
  constexpr std::pair<Text, LogLevel> kLevels[] = {{"debug", LogLevel::kDebug},
                                                   {"info", LogLevel::kInfo},
                                                   {"warning", LogLevel::kWarning},
                                                   {"error", LogLevel::kError}};
  for (const auto& [name, level] : kLevels) {
    if (text != name) continue;
    o->log.level = level;
    return true;
  }
  return false;
}

bool ApplyLogFormat(Text, Text text, Daemon* o) {
  if (text != "text" && text != "json") return false;
  o->log.format = text == "json" ? LogFormat::kJson : LogFormat::kText;
  return true;
}

constexpr Setting kSettings[] = {
    {{"listen", FieldKind::kScalar, "127.0.0.1:7070", kAddressValid,
      [](Text, Text text, Daemon* o) { return ParseAddress(text, &o->listen.tcp_address); }},
     "--listen",
     "LEASEPLANE_LISTEN",
     "TCP address for gRPC",
     false},
    {{"socket", FieldKind::kScalar, "/run/leaseplane/leaseplane.sock",
      "an absolute path of at most 107 bytes, also with attach.sock as its last part, and not"
      " that itself",
      [](Text, Text text, Daemon* o) {
        return ParseSocketPath(text, &o->listen.unix_socket_path);
      }},
     "--socket",
     "LEASEPLANE_SOCKET",
     "Unix socket for gRPC; attach.sock is made beside it",
     false},
    {{"insecure", FieldKind::kScalar, "false", kBoolValid,
      [](Text, Text text, Daemon* o) { return ParseBool(text, &o->listen.insecure); }},
     "--insecure",
     "LEASEPLANE_INSECURE",
     "Allow a TCP address beyond loopback without TLS",
     true},
    {{"admin_listen", FieldKind::kScalar, "", kAddressValid,
      [](Text, Text text, Daemon* o) {
        return ParseOptionalAddress(text, &o->listen.admin_address);
      }},
     "--admin-listen",
     "LEASEPLANE_ADMIN_LISTEN",
     "TCP address for gRPC where AdminService answers too",
     false},
    {{"tls.cert", FieldKind::kScalar, "", kPathValid,
      [](Text, Text text, Daemon* o) { return ParseOptionalPath(text, &o->security.tls.cert); }},
     "--tls-cert",
     "LEASEPLANE_TLS_CERT",
     "PEM file: certificate of this server, then its chain",
     false},
    {{"tls.key", FieldKind::kScalar, "", kPathValid,
      [](Text, Text text, Daemon* o) { return ParseOptionalPath(text, &o->security.tls.key); }},
     "--tls-key",
     "LEASEPLANE_TLS_KEY",
     "PEM file: private key of the certificate",
     false},
    {{"tls.client_ca", FieldKind::kScalar, "", kPathValid,
      [](Text, Text text, Daemon* o) {
        return ParseOptionalPath(text, &o->security.tls.client_ca);
      }},
     "--tls-client-ca",
     "LEASEPLANE_TLS_CLIENT_CA",
     "PEM file: authorities whose clients are let in",
     false},
    {{"tokens_file", FieldKind::kScalar, "", kPathValid,
      [](Text, Text text, Daemon* o) { return ParseOptionalPath(text, &o->security.tokens_file); }},
     "--tokens-file",
     "LEASEPLANE_TOKENS_FILE",
     "YAML file: hashes of bearer tokens, and whose they are",
     false},
    {{"reload_interval", FieldKind::kScalar, "10s", "a duration from 100ms to 1h, like 10s",
      [](Text, Text text, Daemon* o) {
        return ParseDurationNs(text, 100 * kMillisecond, kHour, &o->security.reload_interval_ns);
      }},
     "--reload-interval",
     "LEASEPLANE_RELOAD_INTERVAL",
     "How often the files of tls and tokens_file are looked at for changes",
     false},
    {{"metrics_listen", FieldKind::kScalar, "127.0.0.1:9464", kAddressValid,
      [](Text, Text text, Daemon* o) { return ParseAddress(text, &o->metrics.address); }},
     "--metrics-listen",
     "LEASEPLANE_METRICS_LISTEN",
     "HTTP address of /metrics and /-/healthy",
     false},
    {{"state_dir", FieldKind::kScalar, "/var/lib/leaseplane", kPathValid,
      [](Text, Text text, Daemon* o) { return ParseAbsolutePath(text, &o->state.dir); }},
     "--state-dir",
     "LEASEPLANE_STATE_DIR",
     "Folder of what has to survive",
     false},
    {{"log.level", FieldKind::kScalar, "info", "debug, info, warning or error", ApplyLogLevel},
     "--log-level",
     "LEASEPLANE_LOG_LEVEL",
     "Least severe lines to log",
     false},
    {{"log.format", FieldKind::kScalar, "text", "text or json", ApplyLogFormat},
     "--log-format",
     "LEASEPLANE_LOG_FORMAT",
     "Form of the log lines",
     false},
    {{"drain_timeout", FieldKind::kScalar, "10s", "a duration from 0s to 1h, like 10s or 1m30s",
      [](Text, Text text, Daemon* o) {
        return ParseDurationNs(text, 0, kHour, &o->lifecycle.drain_timeout_ns);
      }},
     "--drain-timeout",
     "LEASEPLANE_DRAIN_TIMEOUT",
     "Longest time from SIGTERM to the end",
     false},
    {{"restart_grace", FieldKind::kScalar, "15s", "a duration from 1s to 10m, like 15s",
      [](Text, Text text, Daemon* o) {
        return ParseDurationNs(text, kSecond, 10 * kMinute, &o->lifecycle.restart_grace_ns);
      }},
     "--restart-grace",
     "LEASEPLANE_RESTART_GRACE",
     "Least time that remote leases have to be renewed in after a restart",
     false},
    {{"redeclare_grace", FieldKind::kScalar, "10s", "a duration from 10s to 10m, like 20s",
      [](Text, Text text, Daemon* o) {
        return ParseDurationNs(text, 10 * kSecond, 10 * kMinute, &o->lifecycle.redeclare_grace_ns);
      }},
     "--redeclare-grace",
     "LEASEPLANE_REDECLARE_GRACE",
     "Time that local holders have to declare their slots in after shared memory was lost",
     false},
    {{"max_sessions_per_process", FieldKind::kScalar, "256", kSessionsValid,
      [](Text, Text text, Daemon* o) {
        return ParseCount(text, 0, kSessionsMax, &o->sessions.per_process_max);
      }},
     "--max-sessions-per-process",
     "LEASEPLANE_MAX_SESSIONS_PER_PROCESS",
     "Sessions that one local process may use until it ends; 0 = no limit",
     false},
    {{"max_sessions_per_uid", FieldKind::kScalar, "0", kSessionsValid,
      [](Text, Text text, Daemon* o) {
        return ParseCount(text, 0, kSessionsMax, &o->sessions.per_uid_max);
      }},
     "--max-sessions-per-uid",
     "LEASEPLANE_MAX_SESSIONS_PER_UID",
     "Sessions that local processes of one user may use; 0 = all but a 64th",
     false},
    {{"", FieldKind::kScalar, "false", kBoolValid,
      [](Text, Text text, Daemon* o) { return ParseBool(text, &o->state.initialize); }},
     "--initialize",
     "LEASEPLANE_INITIALIZE",
     "Accept a lost store, or a clock before the build date",
     true},
    {{"", FieldKind::kScalar, "0", "a fencing token, 0..9007199254740991",
      [](Text, Text text, Daemon* o) {
        return ParseInteger(text, 0, kFencingTokenMax, &o->state.token_floor);
      }},
     "--token-floor",
     "LEASEPLANE_TOKEN_FLOOR",
     "Give out only tokens above this one",
     false},
};

constexpr Text kDelayValid = "a duration from 0s to 24h, like 15s or 100ms";
constexpr Text kCountValid = "0..1000000";

bool ApplyFairness(Text, Text text, PoolOptions* p) {
  if (text != "BOUNDED" && text != "FIFO") return false;
  p->fairness = text == "FIFO" ? engine::Fairness::kFifo : engine::Fairness::kBounded;
  return true;
}

bool ApplyDurability(Text, Text text, PoolOptions* p) {
  if (text != "NONE" && text != "ASYNC" && text != "SYNC") return false;
  p->durability = text == "NONE"   ? engine::Durability::kNone
                  : text == "SYNC" ? engine::Durability::kSync
                                   : engine::Durability::kAsync;
  return true;
}

bool ParseTtl(Text text, int64_t* ttl_ns) {
  return ParseDurationNs(text, engine::kTtlMin, engine::kTtlMax, ttl_ns);
}
constexpr Text kTtlValid = "a duration from 1s to 24h, like 15s or 1h30m";

bool ParseZeroOr(Text text, int64_t min_ns, int64_t max_ns, int64_t* value_ns) {
  int64_t ns = 0;
  if (!ParseDurationNs(text, 0, max_ns, &ns) || (ns > 0 && ns < min_ns)) return false;
  *value_ns = ns;
  return true;
}

bool AppendId(Text text, std::vector<uint32_t>* ids) {
  uint32_t id = 0;
  if (!ParseCount(text, 0, UINT32_MAX - 1, &id)) return false;
  ids->push_back(id);
  return true;
}

bool ApplyNumaNode(Text, Text text, PoolOptions* p) {
  uint32_t node = 0;
  const bool is_any = text == "any";
  if (!is_any && !ParseCount(text, 0, shm::kNumaNodeMax, &node)) return false;
  p->numa_node = is_any ? std::nullopt : std::optional<uint32_t>(node);
  return true;
}

bool AppendResource(Text, Text text, PoolOptions* p) {
  std::string resource;
  if (!ParseText(text, 0, engine::kResourceBytesMax, &resource)) return false;
  p->resources.push_back(std::move(resource));
  return true;
}

bool AddLabel(Text name, Text text, PoolOptions* p) {
  std::string key, value;
  if (!ParseText(name, 1, 63, &key) || !ParseText(text, 0, 255, &value)) return false;
  p->labels[std::move(key)] = std::move(value);
  return true;
}

constexpr Field<PoolOptions> kPoolFields[] = {
    {"id", FieldKind::kScalar, "", "1..63 of a-z, 0-9 and -, a letter first, no - last",
     [](Text, Text text, PoolOptions* p) { return ParsePoolId(text, &p->id); }},
    {"capacity", FieldKind::kScalar, "", "1..1048576",
     [](Text, Text text, PoolOptions* p) {
       return ParseCount(text, 1, kCapacityMax, &p->capacity);
     }},
    {"max_capacity", FieldKind::kScalar, "0", "0 (as capacity), or capacity..1048576",
     [](Text, Text text, PoolOptions* p) {
       return ParseCount(text, 0, kCapacityMax, &p->max_capacity);
     }},
    {"fairness", FieldKind::kScalar, "BOUNDED", "BOUNDED or FIFO", ApplyFairness},
    {"durability", FieldKind::kScalar, "ASYNC", "NONE, ASYNC or SYNC", ApplyDurability},
    {"ttl.default", FieldKind::kScalar, "15s", kTtlValid,
     [](Text, Text text, PoolOptions* p) { return ParseTtl(text, &p->default_ttl_ns); }},
    {"ttl.min", FieldKind::kScalar, "1s", kTtlValid,
     [](Text, Text text, PoolOptions* p) { return ParseTtl(text, &p->min_ttl_ns); }},
    {"ttl.max", FieldKind::kScalar, "24h", kTtlValid,
     [](Text, Text text, PoolOptions* p) { return ParseTtl(text, &p->max_ttl_ns); }},
    {"max_duration", FieldKind::kScalar, "0s", "0s (no cap), or a duration from 1s to 8760h",
     [](Text, Text text, PoolOptions* p) {
       return ParseZeroOr(text, kSecond, 8760 * kHour, &p->max_duration_ns);
     }},
    {"max_overtake", FieldKind::kScalar, "100ms", "a duration from 1ms to 1h, like 100ms",
     [](Text, Text text, PoolOptions* p) {
       return ParseDurationNs(text, kMillisecond, kHour, &p->max_overtake_ns);
     }},
    {"max_waiters", FieldKind::kScalar, "10000", kCountValid,
     [](Text, Text text, PoolOptions* p) {
       return ParseCount(text, 0, 1'000'000, &p->max_waiters);
     }},
    {"max_waiters_per_client", FieldKind::kScalar, "0", kCountValid,
     [](Text, Text text, PoolOptions* p) {
       return ParseCount(text, 0, 1'000'000, &p->max_waiters_per_client);
     }},
    {"max_leases_per_client", FieldKind::kScalar, "0", "0..1048576",
     [](Text, Text text, PoolOptions* p) {
       return ParseCount(text, 0, kCapacityMax, &p->max_leases_per_client);
     }},
    {"reuse_delay", FieldKind::kScalar, "0s", kDelayValid,
     [](Text, Text text, PoolOptions* p) {
       return ParseDurationNs(text, 0, 24 * kHour, &p->reuse_delay_ns);
     }},
    {"lock_delay", FieldKind::kScalar, "0s", kDelayValid,
     [](Text, Text text, PoolOptions* p) {
       return ParseDurationNs(text, 0, 24 * kHour, &p->lock_delay_ns);
     }},
    {"max_hold", FieldKind::kScalar, "0s", "0s (no limit), or a duration from 1s to 8760h",
     [](Text, Text text, PoolOptions* p) {
       return ParseZeroOr(text, kSecond, 8760 * kHour, &p->max_hold_ns);
     }},
    {"stall_timeout", FieldKind::kScalar, "30s", "0s (never), or a duration from 1s to 1h",
     [](Text, Text text, PoolOptions* p) {
       return ParseZeroOr(text, kSecond, kHour, &p->stall_timeout_ns);
     }},
    {"numa_node", FieldKind::kScalar, "any", "any, or a NUMA node of this machine: 0..1023",
     ApplyNumaNode},
    {"local_access.enabled", FieldKind::kScalar, "true", kBoolValid,
     [](Text, Text text, PoolOptions* p) { return ParseBool(text, &p->local_enabled); }},
    {"local_access.uids", FieldKind::kList, "[]", "numeric user ids",
     [](Text, Text text, PoolOptions* p) { return AppendId(text, &p->local_uids); }},
    {"local_access.gids", FieldKind::kList, "[]", "numeric group ids",
     [](Text, Text text, PoolOptions* p) { return AppendId(text, &p->local_gids); }},
    {"resources", FieldKind::kList, "[]",
     "at most capacity texts of at most 255 bytes of UTF-8 without control characters",
     AppendResource},
    {"labels", FieldKind::kMap, "{}",
     "at most 16 entries, keys of 1..63 and values of at most 255 bytes of UTF-8 without control"
     " characters, 512 bytes in all",
     AddLabel},
};

constexpr Text kPatternValid = "1..255 bytes of printable ASCII; * stands for any characters";

bool ParsePattern(Text text, std::string* pattern) {
  const bool is_valid =
      !text.empty() && text.size() <= 255 &&
      std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c <= '~'; });
  if (is_valid) *pattern = std::string(text);
  return is_valid;
}

bool ApplyRole(Text, Text text, security::AccessRule* rule) {
  constexpr std::pair<Text, security::Role> kRoles[] = {{"viewer", security::Role::kViewer},
                                                        {"holder", security::Role::kHolder},
                                                        {"cleaner", security::Role::kCleaner},
                                                        {"admin", security::Role::kAdmin}};
  for (const auto& [name, role] : kRoles) {
    if (text != name) continue;
    rule->role = role;
    rule->has_role = true;
    return true;
  }
  return false;
}

constexpr Field<security::AccessRule> kAccessFields[] = {
    {"principal", FieldKind::kScalar, "", kPatternValid,
     [](Text, Text text, security::AccessRule* r) { return ParsePattern(text, &r->principal); }},
    {"pools", FieldKind::kScalar, "", kPatternValid,
     [](Text, Text text, security::AccessRule* r) { return ParsePattern(text, &r->pools); }},
    {"role", FieldKind::kScalar, "", "viewer, holder, cleaner or admin", ApplyRole},
};

}  // namespace

absl::Span<const Setting> Settings() { return kSettings; }
absl::Span<const Field<PoolOptions>> PoolFields() { return kPoolFields; }
absl::Span<const Field<security::AccessRule>> AccessFields() { return kAccessFields; }

bool ParsePoolShorthand(std::string_view text, PoolOptions* pool) {
  const size_t equals = text.find('=');
  if (equals == std::string_view::npos) return false;
  PoolOptions parsed;
  if (!ParsePoolId(text.substr(0, equals), &parsed.id) ||
      !ParseCount(text.substr(equals + 1), 1, kCapacityMax, &parsed.capacity)) {
    return false;
  }
  *pool = std::move(parsed);
  return true;
}

}  // namespace leaseplane::config
