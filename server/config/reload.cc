// SPDX-License-Identifier: Apache-2.0
#include "server/config/reload.h"

#include <algorithm>
#include <map>
#include <string_view>

#include "absl/strings/str_cat.h"

namespace leaseplane::config {
namespace {

using engine::PoolOptions;

// Collects what cannot change.
class Obstacles {
 public:
  explicit Obstacles(std::vector<std::string>* out) : out_(out) {}

  template <class T>
  void CheckSame(const std::string& field, const T& in_force, const T& read) {
    if (in_force != read) Add(field, absl::StrCat("from ", in_force, " to ", read));
  }
  // For what cannot be shown in a few words.
  void Check(bool is_same, const std::string& field) {
    if (!is_same) Add(field, "");
  }
  void Add(const std::string& field, const std::string& change) {
    out_->push_back(absl::StrCat("field `", field, "` cannot be changed", change.empty() ? "" : " ",
                                 change, " while the daemon runs; start it again"));
  }

 private:
  std::vector<std::string>* const out_;
};

// The files themselves are read again when they change; which files, and the rules, is for a start.
void CompareSecurity(const SecurityOptions& in_force, const SecurityOptions& read,
                     Obstacles* check) {
  check->CheckSame("tls.cert", in_force.tls.cert, read.tls.cert);
  check->CheckSame("tls.key", in_force.tls.key, read.tls.key);
  check->CheckSame("tls.client_ca", in_force.tls.client_ca, read.tls.client_ca);
  check->CheckSame("tokens_file", in_force.tokens_file, read.tokens_file);
  check->Check(in_force.reload_interval_ns == read.reload_interval_ns, "reload_interval");
  const bool same_rules =
      in_force.has_access == read.has_access &&
      std::equal(in_force.access.begin(), in_force.access.end(), read.access.begin(),
                 read.access.end(), [](const auto& a, const auto& b) {
                   return a.principal == b.principal && a.pools == b.pools && a.role == b.role;
                 });
  check->Check(same_rules, "access");
}

void CompareSettings(const DaemonOptions& in_force, const DaemonOptions& read, Obstacles* check) {
  check->CheckSame("listen", in_force.listen.tcp_address, read.listen.tcp_address);
  check->CheckSame("socket", in_force.listen.unix_socket_path, read.listen.unix_socket_path);
  check->Check(in_force.listen.insecure == read.listen.insecure, "insecure");
  check->CheckSame("admin_listen", in_force.listen.admin_address, read.listen.admin_address);
  CompareSecurity(in_force.security, read.security, check);
  check->CheckSame("metrics_listen", in_force.metrics.address, read.metrics.address);
  check->CheckSame("state_dir", in_force.state.dir, read.state.dir);
  check->Check(in_force.log.format == read.log.format, "log.format");
  check->Check(in_force.lifecycle.drain_timeout_ns == read.lifecycle.drain_timeout_ns,
               "drain_timeout");
}

uint32_t RoomOf(const PoolOptions& pool) {
  return pool.max_capacity == 0 ? pool.capacity : pool.max_capacity;
}
// Slots of such a pool leave BUSY into LOCKED, which clients have to know from the start.
bool Rests(const PoolOptions& pool) { return pool.reuse_delay_ns > 0 || pool.lock_delay_ns > 0; }

void ComparePools(const PoolOptions& in_force, const PoolOptions& read, Obstacles* check) {
  const auto field = [&](const char* key) { return absl::StrCat("pools[", read.id, "].", key); };
  check->CheckSame(field("capacity"), in_force.capacity, read.capacity);
  // Where it follows the capacity it is the same thing said twice.
  if (in_force.capacity == read.capacity || in_force.max_capacity != read.max_capacity) {
    check->CheckSame(field("max_capacity"), RoomOf(in_force), RoomOf(read));
  }
  check->Check(in_force.fairness == read.fairness, field("fairness"));
  check->Check(in_force.durability == read.durability, field("durability"));
  check->Check(in_force.resources == read.resources, field("resources"));
  check->Check(in_force.numa_node == read.numa_node, field("numa_node"));
  if (Rests(in_force) != Rests(read)) {
    check->Add(field(in_force.reuse_delay_ns == read.reuse_delay_ns ? "lock_delay" : "reuse_delay"),
               "from none to some, or from some to none,");
  }
  // Clients are counted from the first lease on, or not at all.
  const auto check_limit = [&](const char* key, uint32_t old_limit, uint32_t new_limit) {
    if (old_limit == 0 && new_limit != 0) check->CheckSame(field(key), old_limit, new_limit);
  };
  check_limit("max_leases_per_client", in_force.max_leases_per_client, read.max_leases_per_client);
  check_limit("max_waiters_per_client", in_force.max_waiters_per_client,
              read.max_waiters_per_client);
}

}  // namespace

ReloadPlan PlanReload(const DaemonOptions& in_force, const DaemonOptions& read) {
  ReloadPlan plan;
  Obstacles check(&plan.obstacles);
  CompareSettings(in_force, read, &check);
  std::map<std::string_view, const PoolOptions*> before;
  for (const PoolOptions& pool : in_force.pools) before[pool.id] = &pool;
  for (const PoolOptions& pool : read.pools) {
    const auto found = before.find(pool.id);
    if (found == before.end()) {
      plan.added.push_back(pool);
      continue;
    }
    const PoolOptions& old = *found->second;
    before.erase(found);
    if (old == pool) continue;
    ComparePools(old, pool, &check);
    plan.changed.push_back(pool);
  }
  for (const auto& [id, pool] : before) {
    plan.obstacles.push_back(absl::StrCat("pool `", pool->id,
                                          "` is not in the configuration any more; a pool goes "
                                          "when the daemon is started again"));
  }
  return plan;
}

}  // namespace leaseplane::config
