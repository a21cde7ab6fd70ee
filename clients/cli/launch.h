// SPDX-License-Identifier: Apache-2.0
//
// Launch: COMMAND, forked before this process has any thread and executed later.
//
// Why in two steps: COMMAND's environment and descriptor are known only when the lease is granted,
// by which time libraries run threads, and a fork would copy their locks in whatever state they
// are. So the child is made first, waits, and is told what to become. It keeps the signal
// dispositions, mask, process group, terminal and open files that leasectl was started with.
//
// Ownership: move-only; destruction without Start ends the child. The caller waits for it
// (wait(2)). Threads: Prepare REQUIRES that the process has one thread. Errors: kInternal with the
// system's words; that exec failed is a value, not an error.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/base/unique_fd.h"

namespace leaseplane::cli {

class Launch {
 public:
  // Whether the kernel kills the child when the thread that called Prepare ends.
  enum class OnParentDeath { kLiveOn, kKill };

  // REQUIRES a non-empty command; its first word is looked up in PATH.
  static absl::StatusOr<Launch> Prepare(const std::vector<std::string>& command,
                                        OnParentDeath on_parent_death);

  pid_t pid() const { return pid_; }
  int socket() const { return socket_.get(); }  // for who closes all but a few descriptors

  // Becomes COMMAND, with `environment` (NAME=VALUE each) added, and `inherited_fd` open in it
  // under a free number (-1: none). Returns 0, or the errno of a failed exec; the child then ends.
  absl::StatusOr<int> Start(const std::vector<std::string>& environment, int inherited_fd);

  // Ends a child that was not started, and waits for it.
  void Cancel();

 private:
  Launch(pid_t pid, UniqueFd socket) : pid_(pid), socket_(std::move(socket)) {}

  pid_t pid_;
  UniqueFd socket_;  // to the waiting child
};

}  // namespace leaseplane::cli
