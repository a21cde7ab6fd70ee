// SPDX-License-Identifier: Apache-2.0
#include "server/rpc/page_token.h"

#include <absl/strings/escaping.h>

#include <charconv>

#include "server/rpc/resource_name.h"

namespace leaseplane::rpc {

std::string FormatPageToken(std::string_view scope, const PageToken& token) {
  std::string plain(scope);
  plain += '\n';
  plain += token.pool;
  plain += '\n';
  plain += std::to_string(token.position);
  return absl::WebSafeBase64Escape(absl::string_view(plain.data(), plain.size()));
}

std::optional<PageToken> ParsePageToken(std::string_view scope, std::string_view text) {
  if (text.empty()) return PageToken{};
  std::string plain;
  if (!absl::WebSafeBase64Unescape(absl::string_view(text.data(), text.size()), &plain)) {
    return std::nullopt;
  }
  std::string_view rest = plain;
  if (!rest.starts_with(scope)) return std::nullopt;
  rest.remove_prefix(scope.size());
  if (!rest.starts_with('\n')) return std::nullopt;
  rest.remove_prefix(1);
  const size_t line = rest.find('\n');
  if (line == std::string_view::npos) return std::nullopt;
  PageToken token;
  token.pool = rest.substr(0, line);
  if (!token.pool.empty() && !IsPoolId(token.pool)) return std::nullopt;
  rest.remove_prefix(line + 1);
  const char* const last = rest.data() + rest.size();
  const auto [end, error] = std::from_chars(rest.data(), last, token.position);
  if (error != std::errc() || end != last) return std::nullopt;
  return token;
}

}  // namespace leaseplane::rpc
