// SPDX-License-Identifier: Apache-2.0
#include "server/config/draft.h"

#include <algorithm>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "server/config/values.h"
#include "server/security/file_error.h"
#include "server/security/tls_material.h"
#include "server/security/tokens.h"

namespace leaseplane::config {
namespace {

using engine::PoolOptions;

bool IsAnyPort(const std::string& address) {
  return address.size() > 2 && address.substr(address.size() - 2) == ":0";
}

void CheckAddresses(const std::string& file_name, Draft* draft) {
  const ListenOptions& listen = draft->options.listen;
  const bool is_open = !listen.insecure && draft->options.security.tls.empty();
  for (const auto& [field, address] : {std::pair("listen", &listen.tcp_address),
                                       std::pair("admin_listen", &listen.admin_address)}) {
    if (!is_open || address->empty() || draft->HasFailed(field) || IsLoopback(*address)) continue;
    draft->Fail(draft->WhereOf(field, file_name), field, *address,
                "an address of loopback (127.0.0.1, [::1], localhost), or one with --tls-cert and "
                "--tls-key, or --insecure to take unencrypted calls from the network");
  }
  if (listen.admin_address == listen.tcp_address && !IsAnyPort(listen.admin_address)) {
    draft->Fail(draft->WhereOf("admin_listen", file_name), "admin_listen", listen.admin_address,
                "another address than `listen`");
  }
  const std::string& metrics = draft->options.metrics.address;
  const bool is_taken = metrics == listen.tcp_address || metrics == listen.admin_address;
  if (is_taken && !IsAnyPort(metrics)) {
    draft->Fail(draft->WhereOf("metrics_listen", file_name), "metrics_listen", metrics,
                "another address than `listen` and `admin_listen`");
  }
}

// One pool with what is needed to complain about it.
class PoolCheck {
 public:
  PoolCheck(size_t index, const std::string& file_name, Draft* draft)
      : pool_(draft->options.pools[index]),
        path_(PoolPath(index)),
        file_name_(file_name),
        draft_(draft) {}

  void Run() {
    CheckNeeded("id", pool_.id.empty(), "1..63 of a-z, 0-9 and -, a letter first, no - last");
    CheckNeeded("capacity", pool_.capacity == 0, "1..1048576");
    CheckCapacity();
    CheckTtls();
    CheckLabels();
  }

 private:
  std::string Path(std::string_view key) const {
    return absl::StrCat(path_, ".", std::string(key));
  }
  void Fail(std::string_view key, const std::string& got, const std::string& valid) {
    const std::string field = Path(key);
    if (!draft_->HasFailed(field)) {
      draft_->Fail(draft_->WhereOf(field, file_name_), field, got, valid);
    }
  }
  void CheckNeeded(std::string_view key, bool is_missing, const std::string& valid) {
    if (is_missing) Fail(key, "", valid);
  }

  void CheckCapacity() {
    if (pool_.capacity == 0) return;
    if (pool_.max_capacity != 0 && pool_.max_capacity < pool_.capacity) {
      Fail("max_capacity", absl::StrCat(pool_.max_capacity),
           absl::StrCat("0 (as capacity), or ", pool_.capacity, "..", kCapacityMax));
    }
    if (pool_.resources.size() > pool_.capacity) {
      Fail("resources", absl::StrCat(pool_.resources.size(), " entries"),
           absl::StrCat("at most ", pool_.capacity, ", one a slot"));
    }
  }

  void CheckTtls() {
    if (pool_.max_ttl_ns < pool_.min_ttl_ns) {
      Fail("ttl.max", FormatDurationNs(pool_.max_ttl_ns),
           absl::StrCat("at least ttl.min, ", FormatDurationNs(pool_.min_ttl_ns)));
      return;
    }
    if (!draft_->IsSet(Path("ttl.default"))) {
      pool_.default_ttl_ns = std::clamp(pool_.default_ttl_ns, pool_.min_ttl_ns, pool_.max_ttl_ns);
    } else if (pool_.default_ttl_ns < pool_.min_ttl_ns || pool_.default_ttl_ns > pool_.max_ttl_ns) {
      Fail("ttl.default", FormatDurationNs(pool_.default_ttl_ns),
           absl::StrCat("from ttl.min to ttl.max, ", FormatDurationNs(pool_.min_ttl_ns), " to ",
                        FormatDurationNs(pool_.max_ttl_ns)));
    }
    if (pool_.max_duration_ns != 0 && pool_.max_duration_ns < pool_.min_ttl_ns) {
      Fail("max_duration", FormatDurationNs(pool_.max_duration_ns),
           absl::StrCat("0s, or at least ttl.min, ", FormatDurationNs(pool_.min_ttl_ns)));
    }
  }

  void CheckLabels() {
    size_t bytes = 0;
    for (const auto& [key, value] : pool_.labels) bytes += key.size() + value.size() + 2;
    if (pool_.labels.size() > engine::kMetadataEntriesMax || bytes > engine::kMetadataBytesMax) {
      Fail("labels", absl::StrCat(pool_.labels.size(), " entries, ", bytes, " bytes"),
           absl::StrCat("at most ", engine::kMetadataEntriesMax, " entries and ",
                        engine::kMetadataBytesMax, " bytes (key + value + 2 each)"));
    }
  }

  PoolOptions& pool_;
  const std::string path_;
  const std::string& file_name_;
  Draft* const draft_;
};

void CheckAccess(const std::string& file_name, Draft* draft) {
  const auto& rules = draft->options.security.access;
  for (size_t i = 0; i < rules.size(); ++i) {
    for (const auto& [key, is_missing] :
         {std::pair("principal", rules[i].principal.empty()),
          std::pair("pools", rules[i].pools.empty()), std::pair("role", !rules[i].has_role)}) {
      const std::string field = absl::StrCat(AccessPath(i), ".", key);
      if (!is_missing || draft->HasFailed(field)) continue;
      draft->Fail(draft->WhereOf(field, file_name), field, "",
                  "principal, pools and role are all needed");
    }
  }
}

void CheckDuplicates(const std::string& file_name, Draft* draft) {
  std::map<std::string, size_t> first_with;
  for (size_t i = 0; i < draft->options.pools.size(); ++i) {
    const std::string& id = draft->options.pools[i].id;
    if (id.empty()) continue;
    const auto [found, is_new] = first_with.emplace(id, i);
    if (is_new) continue;
    const std::string other = absl::StrCat(PoolPath(found->second), ".id");
    const std::string field = absl::StrCat(PoolPath(i), ".id");
    draft->Fail(draft->WhereOf(field, file_name), field, id,
                absl::StrCat("an id that no other pool has; `", other, "` at ",
                             draft->WhereOf(other, file_name), " is the same"));
  }
}

}  // namespace

std::string AccessPath(size_t index) { return absl::StrCat("access[", index, "]"); }
std::string PoolPath(size_t index) { return absl::StrCat("pools[", index, "]"); }

std::string Draft::WhereOf(std::string field, const std::string& fallback) const {
  while (true) {
    const auto found = where_.find(field);
    if (found != where_.end()) return found->second;
    const size_t end = field.find_last_of(".[");
    if (end == std::string::npos || end == 0) return fallback;
    field.resize(end);
  }
}

void Draft::Fail(const std::string& where, const std::string& field, std::string_view got,
                 std::string_view valid) {
  failed_.insert(field);
  errors.push_back({where, field, std::string(got), std::string(valid)});
}

void CheckDraft(const std::string& file_name, Draft* draft) {
  CheckAddresses(file_name, draft);
  CheckAccess(file_name, draft);
  CheckDuplicates(file_name, draft);
  for (size_t i = 0; i < draft->options.pools.size(); ++i) PoolCheck(i, file_name, draft).Run();
}

void CheckNumaNodes(const std::string& file_name, const std::vector<uint32_t>& nodes,
                    Draft* draft) {
  if (nodes.size() < 2) return;
  for (size_t i = 0; i < draft->options.pools.size(); ++i) {
    const auto& node = draft->options.pools[i].numa_node;
    if (!node || std::find(nodes.begin(), nodes.end(), *node) != nodes.end()) continue;
    const std::string field = absl::StrCat(PoolPath(i), ".numa_node");
    draft->Fail(draft->WhereOf(field, file_name), field, absl::StrCat(*node),
                absl::StrCat("any, or a node of this machine: ", absl::StrJoin(nodes, ", ")));
  }
}

void CheckFiles(const std::string& file_name, Draft* draft) {
  const SecurityOptions& options = draft->options.security;
  std::vector<security::FileError> errors;
  if (!options.tls.empty()) {
    auto loaded = security::LoadTlsMaterial(options.tls, absl::ToUnixSeconds(absl::Now()));
    if (auto* found = std::get_if<std::vector<security::FileError>>(&loaded)) errors = *found;
  }
  if (!options.tokens_file.empty()) security::ReadTokenFile(options.tokens_file, &errors);
  for (const security::FileError& error : errors) {
    if (draft->HasFailed(error.field)) continue;
    draft->Fail(draft->WhereOf(error.field, file_name), error.field, error.got, error.valid);
  }
}

}  // namespace leaseplane::config
