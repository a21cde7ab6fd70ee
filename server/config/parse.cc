// SPDX-License-Identifier: Apache-2.0
#include "server/config/parse.h"

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "core/shm/numa.h"
#include "server/config/draft.h"
#include "server/config/fields.h"

namespace leaseplane::config {
namespace {

constexpr char kPoolFlag[] = "--pool";
// Not LEASEPLANE_POOL: that one names the pool of a lease in the environment of its command.
constexpr char kPoolVariable[] = "LEASEPLANE_POOLS";
constexpr char kConfigVariable[] = "LEASEPLANE_CONFIG";
constexpr char kCheckVariable[] = "LEASEPLANE_CHECK_CONFIG";
constexpr size_t kGotBytesMax = 80;

// What stands on the command line, as texts.
struct Flags {
  std::string config_file;
  bool is_check = false;
  std::vector<std::string> pools;
  std::vector<std::string> values;  // by index in Settings()
  std::vector<CLI::Option*> options;
};

std::string Help(std::string_view help, std::string_view default_text, std::string_view variable) {
  return absl::StrCat(std::string(help), " [", std::string(variable), "; default ",
                      std::string(default_text), "]");
}

void AddFlags(CLI::App* app, const std::string& default_file, Flags* flags) {
  app->add_option("--config", flags->config_file,
                  Help("Configuration file (YAML)", absl::StrCat(default_file, " if it is there"),
                       kConfigVariable))
      ->type_name("FILE");
  app->add_flag("--check-config", flags->is_check,
                absl::StrCat("Check the configuration, print OK or what is wrong, and end [",
                             kCheckVariable, "]"));
  app->add_option(kPoolFlag, flags->pools,
                  absl::StrCat("A pool, or another capacity for one of the file; repeatable [",
                               kPoolVariable, ", separated by commas]"))
      ->type_name("NAME=CAPACITY")
      ->take_all();
  flags->values.resize(Settings().size());
  for (size_t i = 0; i < Settings().size(); ++i) {
    const Setting& setting = Settings()[i];
    const std::string help = Help(setting.help, setting.field.default_text, setting.variable);
    const std::string name(setting.flag);
    flags->options.push_back(setting.is_switch ? app->add_flag(name, flags->values[i], help)
                                               : app->add_option(name, flags->values[i], help));
  }
}

void UseText(std::string text, const std::string& path, Draft* draft) {
  draft->options.config_file = path;
  draft->file_text = std::move(text);
  ReadYaml(draft->file_text, path, draft);
}

void ReadFile(const std::string& path, bool must_exist, Draft* draft) {
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  const bool is_open = file.is_open();
  // Of an empty file nothing is inserted, which is no mistake.
  if (is_open && file.peek() != std::ifstream::traits_type::eof()) text << file.rdbuf();
  if (!is_open || file.bad() || !text) {
    if (!must_exist && errno == ENOENT) return;
    draft->Fail(path, "", std::strerror(errno), "a file that can be read");
    return;
  }
  UseText(text.str(), path, draft);
}

void ApplySetting(const Setting& setting, const std::string& where, const std::string& text,
                  Draft* draft) {
  const std::string field(setting.field.key.empty() ? setting.flag.substr(2) : setting.field.key);
  if (setting.field.apply("", text, &draft->options)) {
    draft->SetWhere(field, where);
  } else {
    draft->Fail(where, field, text, setting.field.valid);
  }
}

void ApplyPools(const std::vector<std::string>& texts, const std::string& where, Draft* draft) {
  const size_t from_file = draft->options.pools.size();
  for (const std::string& text : texts) {
    engine::PoolOptions given;
    if (!ParsePoolShorthand(text, &given)) {
      draft->Fail(where, "pool", text, kPoolShorthandValid);
      continue;
    }
    std::vector<engine::PoolOptions>& pools = draft->options.pools;
    size_t i = 0;
    while (i < from_file && pools[i].id != given.id) ++i;
    if (i < from_file) {
      pools[i].capacity = given.capacity;
    } else {
      // A name given twice shows as a duplicate.
      i = pools.size();
      pools.push_back(std::move(given));
      draft->SetWhere(PoolPath(i), where);
    }
    draft->SetWhere(PoolPath(i) + ".capacity", where);
  }
}

// File, then variables, then flags: what comes later wins.
void ReadAll(const Flags& flags, const ParseContext& context, Draft* draft) {
  const auto variable = [&context](std::string_view name) {
    return context.environment ? context.environment(std::string(name)) : std::nullopt;
  };
  const std::string named_file =
      !flags.config_file.empty() ? flags.config_file : variable(kConfigVariable).value_or("");
  const std::string& file = named_file.empty() ? context.default_config_file : named_file;
  if (context.file_text) {
    UseText(*context.file_text, file, draft);
  } else {
    ReadFile(file, !named_file.empty(), draft);
  }
  for (size_t i = 0; i < Settings().size(); ++i) {
    const Setting& setting = Settings()[i];
    if (flags.options[i]->count() > 0) {
      ApplySetting(setting, std::string(setting.flag), flags.values[i], draft);
    } else if (const std::optional<std::string> text = variable(setting.variable)) {
      ApplySetting(setting, std::string(setting.variable), *text, draft);
    }
  }
  if (!flags.pools.empty()) {
    ApplyPools(flags.pools, kPoolFlag, draft);
  } else if (const std::optional<std::string> text = variable(kPoolVariable)) {
    ApplyPools(absl::StrSplit(*text, ',', absl::SkipWhitespace()), kPoolVariable, draft);
  }
  CheckDraft(draft->options.config_file, draft);
  CheckFiles(draft->options.config_file, draft);
  CheckNumaNodes(draft->options.config_file,
                 context.numa_nodes ? *context.numa_nodes : shm::OnlineNodes(), draft);
}

bool IsCheckAsked(const Flags& flags, const ParseContext& context) {
  if (flags.is_check || !context.environment) return flags.is_check;
  const std::string text = context.environment(kCheckVariable).value_or("");
  return text == "1" || text == "true" || text == "yes" || text == "on";
}

ParseResult Print(std::string text, int exit_code) {
  ParseResult result;
  result.action = ParseResult::Action::kPrintAndExit;
  result.text = std::move(text);
  result.exit_code = exit_code;
  return result;
}

ParseResult Finish(const Flags& flags, const ParseContext& context) {
  Draft draft;
  ReadAll(flags, context, &draft);
  if (!draft.errors.empty()) {
    std::string text;
    for (const ConfigError& error : draft.errors) absl::StrAppend(&text, error.ToString(), "\n");
    ParseResult result = Print(std::move(text), kExitConfig);
    result.errors = std::move(draft.errors);
    return result;
  }
  if (IsCheckAsked(flags, context)) return Print("OK\n", 0);
  ParseResult result;
  result.options = std::move(draft.options);
  result.file_text = std::move(draft.file_text);
  return result;
}

}  // namespace

std::string ConfigError::ToString() const {
  std::string shown = got.empty() ? "nothing" : got;
  if (shown.size() > kGotBytesMax) shown = shown.substr(0, kGotBytesMax) + "...";
  return absl::StrCat(where, ": ", field.empty() ? "" : absl::StrCat("field `", field, "`: "),
                      "got ", shown, "; valid: ", valid);
}

Environment ProcessEnvironment() {
  return [](const std::string& name) -> std::optional<std::string> {
    const char* value = std::getenv(name.c_str());
    if (value == nullptr) return std::nullopt;
    return std::string(value);
  };
}

ParseResult ParseCommandLine(int argc, const char* const* argv, const ParseContext& context) {
  CLI::App app("leaseplaned: leases on shared resources, over gRPC and through shared memory",
               "leaseplaned");
  Flags flags;
  AddFlags(&app, context.default_config_file, &flags);
  app.set_version_flag("--version", context.version);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    std::ostringstream out, err;
    const bool is_asked_for = app.exit(error, out, err) == 0;
    return Print(is_asked_for ? out.str() : err.str(), is_asked_for ? 0 : kExitUsage);
  }
  return Finish(flags, context);
}

void ParseConfigText(std::string_view text, const std::string& file_name, DaemonOptions* options,
                     std::vector<ConfigError>* errors) {
  Draft draft;
  draft.options = *options;
  ReadYaml(text, file_name, &draft);
  CheckDraft(file_name, &draft);
  *options = std::move(draft.options);
  errors->insert(errors->end(), draft.errors.begin(), draft.errors.end());
}

}  // namespace leaseplane::config
