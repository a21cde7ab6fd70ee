// SPDX-License-Identifier: Apache-2.0
//
// What a daemon that runs can make of a configuration that was read again: which pools are new,
// which have other rules, and what would need a restart. A reload is applied whole or not at all.
//
// Pure; any thread. Both options are complete and valid (parse.h).
#pragma once

#include <string>
#include <vector>

#include "server/config/options.h"

namespace leaseplane::config {

struct ReloadPlan {
  std::vector<engine::PoolOptions> added;
  std::vector<engine::PoolOptions> changed;  // as they shall be
  // Not empty: nothing of it can be applied. One sentence each, with the field, what is in force
  // and what was read.
  std::vector<std::string> obstacles;
};

ReloadPlan PlanReload(const DaemonOptions& in_force, const DaemonOptions& read);

}  // namespace leaseplane::config
