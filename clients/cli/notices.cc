// SPDX-License-Identifier: Apache-2.0
#include "clients/cli/notices.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdint>
#include <utility>

namespace leaseplane::cli {

Notices::Notices() : fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

void Notices::Push(const Notice& notice) {
  const absl::MutexLock lock(&mutex_);
  pending_.push_back(notice);
  const uint64_t one = 1;
  (void)!::write(fd_.get(), &one, sizeof(one));
}

std::vector<Notice> Notices::Take() {
  const absl::MutexLock lock(&mutex_);
  uint64_t count = 0;
  (void)!::read(fd_.get(), &count, sizeof(count));
  return std::exchange(pending_, {});
}

void Notices::Listen(ClientOptions* options) {
  options->on_lost = [this](const LostLease& lost) {
    Push({Notice::Kind::kLost, lost.reason, absl::ZeroDuration()});
  };
  options->on_revoke = [this](const RevokeRequest& request) {
    Push({Notice::Kind::kRevokeRequested, Reason::kLeaseRevoked, request.grace});
  };
}

}  // namespace leaseplane::cli
