// SPDX-License-Identifier: Apache-2.0
//
// PageToken: where the next page of a list begins. Opaque to callers; bound to the list it came
// from, so that a token of another list or of other text is refused, not misread. It carries no
// secret and grants nothing.
//
// Pure functions, any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace leaseplane::rpc {

struct PageToken {
  std::string pool;       // where to go on; empty: at the begin
  uint64_t position = 0;  // within the pool
};

// `scope` names the list with what selects it: "leases pools/gpu".
std::string FormatPageToken(std::string_view scope, const PageToken& token);
// Nullopt if `text` is no token of that list. Empty text is its begin.
std::optional<PageToken> ParsePageToken(std::string_view scope, std::string_view text);

}  // namespace leaseplane::rpc
