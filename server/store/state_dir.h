// SPDX-License-Identifier: Apache-2.0
//
// The state directory: made if it is missing, and locked for one daemon at a time.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/base/unique_fd.h"

namespace leaseplane::store {

// Makes `state_dir` (0750, with parents) and its folder `ledger` (0700) where they are missing.
absl::Status PrepareStateDir(const std::string& state_dir);
std::string LedgerDir(const std::string& state_dir);

// The lock on a state directory, held as long as the object lives in this process or in a child
// forked from it. Threads: as UniqueFd. The descriptor is close-on-exec.
class StateDirLock {
 public:
  // ALREADY_EXISTS: another daemon has it; the text names its process if it is known.
  // REQUIRES that the directory exists.
  static absl::StatusOr<StateDirLock> Acquire(const std::string& state_dir);

  int fd() const { return fd_.get(); }

 private:
  explicit StateDirLock(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

}  // namespace leaseplane::store
