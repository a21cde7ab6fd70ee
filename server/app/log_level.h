// SPDX-License-Identifier: Apache-2.0
//
// The configured log level in the logger's own terms.
#pragma once

#include "server/config/options.h"
#include "server/obs/log.h"

namespace leaseplane::app {

constexpr obs::Level LogLevelOf(const config::LogOptions& options) {
  switch (options.level) {
    case config::LogLevel::kDebug:
      return obs::Level::kDebug;
    case config::LogLevel::kInfo:
      return obs::Level::kInfo;
    case config::LogLevel::kWarning:
      return obs::Level::kWarning;
    case config::LogLevel::kError:
      break;
  }
  return obs::Level::kError;
}

}  // namespace leaseplane::app
