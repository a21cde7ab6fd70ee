// SPDX-License-Identifier: Apache-2.0
//
// Draft: options while they are being read, with where each came from and what was wrong. Private
// to this folder.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "server/config/parse.h"

namespace leaseplane::config {

class Draft {
 public:
  DaemonOptions options;
  std::vector<ConfigError> errors;
  std::string file_text;  // of the configuration file, as it was read

  // Remembers that `field` was set at `where` (FILE:LINE, --flag, VARIABLE).
  void SetWhere(const std::string& field, const std::string& where) { where_[field] = where; }
  // Where `field` was set; if it was not, where the nearest thing around it was; else `fallback`.
  std::string WhereOf(std::string field, const std::string& fallback) const;
  bool IsSet(const std::string& field) const { return where_.count(field) != 0; }

  void Fail(const std::string& where, const std::string& field, std::string_view got,
            std::string_view valid);
  bool HasFailed(const std::string& field) const { return failed_.count(field) != 0; }

 private:
  std::map<std::string, std::string> where_;
  std::set<std::string> failed_;
};

// Reads the files that the options name, tls and tokens_file, for what is wrong with them.
void CheckFiles(const std::string& file_name, Draft* draft);

// On a machine with several NUMA nodes (`nodes`) a pool cannot lie on another one.
void CheckNumaNodes(const std::string& file_name, const std::vector<uint32_t>& nodes, Draft* draft);

// The path of a rule in options.security.access, as messages name it.
std::string AccessPath(size_t index);
// The path of a pool in options.pools, as messages name it.
std::string PoolPath(size_t index);

// Reads a file's text into the draft; what only shows when all is read is left to CheckDraft.
void ReadYaml(std::string_view text, const std::string& file_name, Draft* draft);

// What needs more than one field. Fields that failed on their own are passed over.
void CheckDraft(const std::string& file_name, Draft* draft);

}  // namespace leaseplane::config
