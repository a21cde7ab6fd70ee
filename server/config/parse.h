// SPDX-License-Identifier: Apache-2.0
//
// Command line, environment and configuration file to DaemonOptions. A flag beats its variable, a
// variable beats the file. Everything is checked, and all errors are told at once.
//
// Threads: none, for use at start. Errors: in the result; nothing throws.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/config/options.h"

namespace leaseplane::config {

inline constexpr const char* kDefaultConfigFile = "/etc/leaseplane/config.yaml";
inline constexpr int kExitUsage = 64;   // the command line itself is wrong
inline constexpr int kExitConfig = 78;  // a value is wrong

// One mistake: where it was written, which field, what was found, what would do.
struct ConfigError {
  std::string where;  // FILE:LINE, --flag or LEASEPLANE_VARIABLE
  std::string field;  // pools[2].ttl.max; empty if the whole file is meant
  std::string got;
  std::string valid;
  // WHERE: field `FIELD`: got GOT; valid: VALID
  std::string ToString() const;
};

struct ParseResult {
  enum class Action { kServe, kPrintAndExit };
  Action action = Action::kServe;
  DaemonOptions options;  // complete for kServe
  std::vector<ConfigError> errors;
  std::string file_text;  // kServe: what the configuration file said; empty if none was read
  std::string text;       // kPrintAndExit: for stdout if exit_code is 0, else for stderr
  int exit_code = 0;      // kPrintAndExit
};

// Value of an environment variable, nullopt if it is not set.
using Environment = std::function<std::optional<std::string>(const std::string& name)>;
Environment ProcessEnvironment();

struct ParseContext {
  Environment environment;
  std::string version;                                   // printed by --version
  std::string default_config_file = kDefaultConfigFile;  // read if it exists and no other is named
  std::optional<std::vector<uint32_t>> numa_nodes;       // set: taken for those of the machine
  std::optional<std::string> file_text;  // set: taken for what the file says, which is not read
};

ParseResult ParseCommandLine(int argc, const char* const* argv, const ParseContext& context);

// Reads YAML into `options`, over what is there. `file_name` is for messages.
void ParseConfigText(std::string_view text, const std::string& file_name, DaemonOptions* options,
                     std::vector<ConfigError>* errors);

}  // namespace leaseplane::config
