// SPDX-License-Identifier: Apache-2.0
#include "server/security/access.h"

#include <unistd.h>

#include "server/security/principal.h"

namespace leaseplane::security {
namespace {

bool OwnsTheHost(std::string_view principal) {
  return principal == UidPrincipal(0) || principal == UidPrincipal(::geteuid());
}

Rights WithoutRules(std::string_view principal, Door door) {
  if (door != Door::kTcp) return kAllRights;
  return principal == kAnonymous ? kAcquire | kReadLeases : kAcquire;
}

}  // namespace

bool Matches(std::string_view pattern, std::string_view text) {
  // Where to go on after a mismatch: behind the last `*`, which then takes one character more.
  size_t p = 0, t = 0, after_star = std::string_view::npos, taken_to = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      after_star = ++p;
      taken_to = t;
    } else if (p < pattern.size() && pattern[p] == text[t]) {
      ++p;
      ++t;
    } else if (after_star != std::string_view::npos) {
      p = after_star;
      t = ++taken_to;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

Rights AccessPolicy::RightsIn(std::string_view pool, std::string_view principal, Door door) const {
  if (!has_rules_) return WithoutRules(principal, door);
  if (door == Door::kUnixSocket && OwnsTheHost(principal)) return kAllRights;
  Rights rights = 0;
  for (const AccessRule& rule : rules_) {
    if (Matches(rule.principal, principal) && Matches(rule.pools, pool)) {
      rights |= RightsOf(rule.role);
    }
  }
  return rights;
}

}  // namespace leaseplane::security
