// SPDX-License-Identifier: Apache-2.0
//
// The YAML file, walked along the tables of fields.h.
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/types/span.h"
#include "server/config/draft.h"
#include "server/config/fields.h"

namespace leaseplane::config {
namespace {

std::string Join(std::string_view prefix, std::string_view key) {
  const std::string text(key);
  return prefix.empty() ? text : absl::StrCat(std::string(prefix), ".", text);
}

std::string Describe(const YAML::Node& node) {
  if (node.IsScalar()) return node.Scalar();
  if (node.IsSequence()) return "a list";
  if (node.IsMap()) return "a map";
  return "";
}

class Reader {
 public:
  Reader(const std::string& file_name, Draft* draft) : file_name_(file_name), draft_(draft) {}

  void ReadRoot(const YAML::Node& root) {
    if (root.IsNull()) return;  // an empty file
    const std::vector<Field<DaemonOptions>> fields = FieldsOfSettings();
    ReadFields(root, "", "", absl::MakeConstSpan(fields), &draft_->options);
  }

 private:
  static std::vector<Field<DaemonOptions>> FieldsOfSettings() {
    std::vector<Field<DaemonOptions>> fields;
    for (const Setting& setting : Settings()) {
      if (!setting.field.key.empty()) fields.push_back(setting.field);
    }
    return fields;
  }

  std::string Where(const YAML::Node& node) const {
    return absl::StrCat(file_name_, ":", node.Mark().line + 1);
  }

  // A value that is left out has its mark where the next token is; its key says where it belongs.
  std::string WhereOfValue(const YAML::Node& node, const std::string& path) const {
    return node.IsNull() ? draft_->WhereOf(path, Where(node)) : Where(node);
  }

  // Reads the map `node`. Its keys continue `prefix` in the table; `path` is its name in messages.
  template <class Options>
  void ReadFields(const YAML::Node& node, const std::string& path, const std::string& prefix,
                  absl::Span<const Field<Options>> fields, Options* options) {
    if (!node.IsMap()) {
      draft_->Fail(WhereOfValue(node, path), path, Describe(node),
                   absl::StrCat("a map with ", KeysAt(prefix, fields)));
      return;
    }
    std::set<std::string> seen;
    for (const auto& entry : node) {
      const std::string key = Describe(entry.first);
      const std::string entry_path = Join(path, key);
      const std::string entry_key = Join(prefix, key);
      if (!seen.insert(key).second) {
        draft_->Fail(Where(entry.first), entry_path, "the key a second time", "each key once");
      } else if (const Field<Options>* field = Find(entry_key, fields)) {
        draft_->SetWhere(entry_path, Where(entry.first));
        ReadField(entry.second, entry_path, *field, options);
      } else if (IsPrefix(entry_key, fields)) {
        draft_->SetWhere(entry_path, Where(entry.first));
        ReadFields(entry.second, entry_path, entry_key, fields, options);
      } else if (!ReadSpecial(entry_key, entry.second, options)) {
        draft_->Fail(Where(entry.first), entry_path, "an unknown key", KeysAt(prefix, fields));
      }
    }
  }

  template <class Options>
  void ReadField(const YAML::Node& node, const std::string& path, const Field<Options>& field,
                 Options* options) {
    switch (field.kind) {
      case FieldKind::kScalar:
        Apply(node, path, "", field, options);
        return;
      case FieldKind::kList:
        if (!node.IsSequence()) break;
        for (size_t i = 0; i < node.size(); ++i) {
          Apply(node[i], absl::StrCat(path, "[", i, "]"), "", field, options);
        }
        return;
      case FieldKind::kMap:
        if (!node.IsMap()) break;
        ApplyEntries(node, path, field, options);
        return;
    }
    const char* kind = field.kind == FieldKind::kList ? "a list: " : "a map: ";
    draft_->Fail(WhereOfValue(node, path), path, Describe(node),
                 absl::StrCat(kind, std::string(field.valid)));
  }

  template <class Options>
  void ApplyEntries(const YAML::Node& node, const std::string& path, const Field<Options>& field,
                    Options* options) {
    std::set<std::string> seen;
    for (const auto& entry : node) {
      const std::string name = Describe(entry.first);
      if (seen.insert(name).second) {
        Apply(entry.second, Join(path, name), name, field, options);
      } else {
        draft_->Fail(Where(entry.first), Join(path, name), "the key a second time",
                     "each key once");
      }
    }
  }

  template <class Options>
  void Apply(const YAML::Node& node, const std::string& path, const std::string& name,
             const Field<Options>& field, Options* options) {
    if (node.IsScalar() && field.apply(name, node.Scalar(), options)) return;
    draft_->Fail(WhereOfValue(node, path), path, Describe(node), field.valid);
  }

  // Keys of the root that no table has.
  bool ReadSpecial(const std::string& key, const YAML::Node& node, DaemonOptions* options) {
    if (key == "pools") {
      ReadList(node, key, "a list of pools", PoolPath, PoolFields(), &options->pools);
    } else if (key == "access") {
      options->security.has_access = true;
      ReadList(node, key, "a list of rules", AccessPath, AccessFields(), &options->security.access);
    } else {
      return false;
    }
    return true;
  }
  template <class Options>
  bool ReadSpecial(const std::string&, const YAML::Node&, Options*) {
    return false;
  }

  // A list of maps, added to `all`; `path_of` names its entries.
  template <class Options>
  void ReadList(const YAML::Node& node, const std::string& key, std::string_view valid,
                std::string (*path_of)(size_t), absl::Span<const Field<Options>> fields,
                std::vector<Options>* all) {
    if (!node.IsSequence()) {
      return draft_->Fail(WhereOfValue(node, key), key, Describe(node), valid);
    }
    for (size_t i = 0; i < node.size(); ++i) {
      const std::string path = path_of(all->size());
      draft_->SetWhere(path, Where(node[i]));
      Options entry;
      ReadFields(node[i], path, "", fields, &entry);
      all->push_back(std::move(entry));
    }
  }

  template <class Options>
  static const Field<Options>* Find(const std::string& key,
                                    absl::Span<const Field<Options>> fields) {
    for (const Field<Options>& field : fields) {
      if (field.key == key) return &field;
    }
    return nullptr;
  }

  template <class Options>
  static bool IsPrefix(const std::string& key, absl::Span<const Field<Options>> fields) {
    for (const Field<Options>& field : fields) {
      if (field.key.substr(0, key.size() + 1) == key + ".") return true;
    }
    return false;
  }

  // The keys that a map at `prefix` may have.
  template <class Options>
  static std::string KeysAt(const std::string& prefix, absl::Span<const Field<Options>> fields) {
    std::vector<std::string> keys;
    const std::string start = prefix.empty() ? "" : prefix + ".";
    for (const Field<Options>& field : fields) {
      if (field.key.substr(0, start.size()) != start) continue;
      const std::string_view rest = field.key.substr(start.size());
      const std::string key(rest.substr(0, rest.find('.')));
      if (keys.empty() || keys.back() != key) keys.push_back(key);
    }
    if constexpr (std::is_same_v<Options, DaemonOptions>) {
      if (prefix.empty()) keys.insert(keys.end(), {"pools", "access"});
    }
    return absl::StrJoin(keys, ", ");
  }

  const std::string& file_name_;
  Draft* const draft_;
};

// Hears where the content of a document begins.
class FirstMark final : public YAML::EventHandler {
 public:
  const YAML::Mark& mark() const { return mark_; }

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t) override { Note(mark); }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override { Note(mark); }
  void OnScalar(const YAML::Mark& mark, const std::string&, YAML::anchor_t,
                const std::string&) override {
    Note(mark);
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t,
                       YAML::EmitterStyle::value) override {
    Note(mark);
  }
  void OnSequenceEnd() override {}
  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t,
                  YAML::EmitterStyle::value) override {
    Note(mark);
  }
  void OnMapEnd() override {}

 private:
  void Note(const YAML::Mark& mark) {
    if (!is_noted_) mark_ = mark;
    is_noted_ = true;
  }
  YAML::Mark mark_;
  bool is_noted_ = false;
};

// Not YAML::LoadAll: on some malformed texts it finds documents for ever.
struct Documents {
  bool has_first = false;
  std::optional<int> second_line;  // from 0
};
Documents LookForDocuments(const std::string& text) {
  std::istringstream in(text);
  YAML::Parser parser(in);
  FirstMark first, second;
  Documents found;
  found.has_first = parser.HandleNextDocument(first);
  if (found.has_first && parser.HandleNextDocument(second)) found.second_line = second.mark().line;
  return found;
}

}  // namespace

void ReadYaml(std::string_view text, const std::string& file_name, Draft* draft) {
  try {
    const std::string owned(text);
    const Documents documents = LookForDocuments(owned);
    if (documents.second_line) {
      draft->Fail(absl::StrCat(file_name, ":", *documents.second_line + 1), "", "a second document",
                  "one document, without a line of --- after it");
    } else if (documents.has_first) {
      Reader(file_name, draft).ReadRoot(YAML::Load(owned));
    }
  } catch (const YAML::Exception& error) {
    draft->Fail(absl::StrCat(file_name, ":", error.mark.line + 1), "", error.msg, "YAML");
  }
}

}  // namespace leaseplane::config
