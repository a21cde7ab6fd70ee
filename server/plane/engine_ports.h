// SPDX-License-Identifier: Apache-2.0
//
// The engine's view of the world in the daemon: identifiers from the kernel's random source, and
// the session table. Both stateless or borrowing; any thread.
#pragma once

#include <string>

#include "absl/strings/str_cat.h"
#include "server/attach/session_table.h"
#include "server/engine/ports.h"
#include "server/plane/pool_segments.h"

namespace leaseplane::plane {

class KernelIds final : public engine::IdSource {
 public:
  engine::LeaseId NextLeaseId() override { return {RandomWord(), RandomWord()}; }
  uint64_t NextRandom() override { return RandomWord(); }
};

class AttachedSessions final : public engine::SessionsPort {
 public:
  explicit AttachedSessions(const attach::SessionTable& table) : table_(table) {}
  bool IsActive(SessionIndex session) const override { return table_.IsActive(session); }
  std::string PrincipalOf(SessionIndex session) const override {
    return absl::StrCat("uid:", table_.UidOf(session));
  }
  int64_t AttachedAtNs(SessionIndex session) const override { return table_.AttachedAtNs(session); }
  int64_t HeardAtNs(SessionIndex session) const override {
    return table_.IsTree(session) ? engine::kNever : table_.HeardAtNs(session);
  }

 private:
  const attach::SessionTable& table_;
};

}  // namespace leaseplane::plane
