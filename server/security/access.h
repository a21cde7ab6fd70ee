// SPDX-License-Identifier: Apache-2.0
//
// AccessPolicy: what a principal may do in a pool. Rules of the configuration, or, without any, the
// rules of where a call came from.
//
// A value, read by any thread. Cost: one pass over the rules.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace leaseplane::security {

enum class Role { kViewer, kHolder, kCleaner, kAdmin };

// One right a bit; a role is a set of them.
enum Right : uint32_t {
  kAcquire = 1u << 0,     // ask for slots; renew, release and read leases of one's own
  kReadLeases = 1u << 1,  // read everybody's leases
  kInspect = 1u << 2,     // slots and waiters
  kClean = 1u << 3,       // slots that are to be cleaned
  kAdminister = 1u << 4,  // change pools and slots; act on other principals' leases
};
using Rights = uint32_t;
inline constexpr Rights kAllRights = kAcquire | kReadLeases | kInspect | kClean | kAdminister;

constexpr Rights RightsOf(Role role) {
  switch (role) {
    case Role::kViewer:
      return kReadLeases | kInspect;
    case Role::kHolder:
      return kAcquire;
    case Role::kCleaner:
      return kClean | kInspect;
    case Role::kAdmin:
      return kAllRights;
  }
  return 0;
}

struct AccessRule {
  std::string principal;  // pattern; empty: not given
  std::string pools;      // pattern
  Role role = Role::kViewer;
  bool has_role = false;
};

// `*` stands for any number of any characters, everything else for itself.
bool Matches(std::string_view pattern, std::string_view text);

// By which way a call came in.
enum class Door {
  kUnixSocket,
  kTcp,
  kAdminTcp,  // the address of its own for administration
};

class AccessPolicy {
 public:
  AccessPolicy() = default;
  explicit AccessPolicy(std::vector<AccessRule> rules)
      : has_rules_(true), rules_(std::move(rules)) {}

  bool has_rules() const { return has_rules_; }  // also if there are none: then nobody may

  // With rules: the sum of those that match; on the Unix socket root and the daemon's own user may
  // do everything besides. Without: everything on the Unix socket and the address for
  // administration; on the other one lease, and read only what is one's own, or, where nobody says
  // who he is, everything.
  Rights RightsIn(std::string_view pool, std::string_view principal, Door door) const;

 private:
  bool has_rules_ = false;
  std::vector<AccessRule> rules_;
};

}  // namespace leaseplane::security
