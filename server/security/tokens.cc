// SPDX-License-Identifier: Apache-2.0
#include "server/security/tokens.h"

#include <openssl/crypto.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "server/security/principal.h"

namespace leaseplane::security {
namespace {

constexpr char kField[] = "tokens_file";
constexpr size_t kDigestDigits = 64;

bool IsDigest(const std::string& text) {
  return text.size() == kDigestDigits && std::all_of(text.begin(), text.end(), [](char c) {
           return absl::ascii_isxdigit(static_cast<unsigned char>(c));
         });
}

std::string TextAt(const YAML::Node& entry, const char* key) {
  const YAML::Node node = entry.IsMap() ? entry[key] : YAML::Node();
  return node && node.IsScalar() ? node.Scalar() : std::string();
}

class Reader {
 public:
  explicit Reader(std::vector<FileError>* errors) : errors_(errors) {}

  std::vector<TokenTable::Entry> Read(const YAML::Node& root) {
    const YAML::Node list = root.IsMap() ? root["tokens"] : YAML::Node();
    if (!list || !list.IsSequence() || root.size() != 1) {
      Fail("", "something else", "a map with one key, tokens: a list");
      return {};
    }
    for (size_t i = 0; i < list.size(); ++i) ReadEntry(absl::StrCat("tokens[", i, "]"), list[i]);
    return std::move(entries_);
  }

 private:
  // Never shows a digest: it would be a step towards a weak token.
  void Fail(const std::string& at, const std::string& got, const std::string& valid) {
    errors_->push_back({kField, absl::StrCat(at, at.empty() ? "" : ": ", got), valid});
  }

  void ReadEntry(const std::string& at, const YAML::Node& node) {
    TokenTable::Entry entry{TextAt(node, "principal"),
                            absl::AsciiStrToLower(TextAt(node, "sha256"))};
    if (!node.IsMap() || node.size() != 2) {
      return Fail(at, "other keys", "principal and sha256");
    }
    if (!IsGivenPrincipal(entry.principal)) {
      return Fail(at + ".principal", entry.principal.empty() ? "nothing" : entry.principal,
                  "1..255 bytes of printable ASCII, not anonymous and not uid:...");
    }
    if (!IsDigest(entry.sha256)) {
      return Fail(at + ".sha256", absl::StrCat(entry.sha256.size(), " characters"),
                  "64 hexadecimal digits, the SHA-256 of the token");
    }
    if (!digests_.insert(entry.sha256).second) {
      return Fail(at + ".sha256", "the same as another one", "each token once");
    }
    entries_.push_back(std::move(entry));
  }

  std::vector<FileError>* const errors_;
  std::set<std::string> digests_;
  std::vector<TokenTable::Entry> entries_;
};

}  // namespace

TokenTable TokenTable::Parse(std::string_view text, std::vector<FileError>* errors) {
  TokenTable table;
  const size_t before = errors->size();
  try {
    table.entries_ = Reader(errors).Read(YAML::Load(std::string(text)));
  } catch (const YAML::Exception& error) {
    errors->push_back(
        {kField, absl::StrCat("line ", error.mark.line + 1, ": ", error.msg), "a file in YAML"});
  }
  if (errors->size() != before) table.entries_.clear();
  return table;
}

std::optional<std::string> TokenTable::Find(std::string_view token) const {
  const std::string digest = Sha256Hex(token);
  const Entry* found = nullptr;
  for (const Entry& entry : entries_) {
    if (CRYPTO_memcmp(entry.sha256.data(), digest.data(), kDigestDigits) == 0) found = &entry;
  }
  if (found == nullptr) return std::nullopt;
  return found->principal;
}

TokenTable ReadTokenFile(const std::string& path, std::vector<FileError>* errors) {
  std::string why;
  const auto text = ReadSmallFile(path, &why);
  if (text) return TokenTable::Parse(*text, errors);
  errors->push_back({kField, absl::StrCat(path, ": ", why), "a file that can be read"});
  return {};
}

}  // namespace leaseplane::security
