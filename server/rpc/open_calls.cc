// SPDX-License-Identifier: Apache-2.0
#include "server/rpc/open_calls.h"

#include <vector>

namespace leaseplane::rpc {

bool OpenCalls::Add(const std::shared_ptr<OpenCall>& call) {
  absl::MutexLock lock(&mutex_);
  if (is_closed_) return false;
  calls_.emplace(call.get(), call);
  return true;
}

void OpenCalls::Remove(const OpenCall* call) {
  absl::MutexLock lock(&mutex_);
  calls_.erase(call);
}

void OpenCalls::EndAll() {
  std::vector<std::shared_ptr<OpenCall>> open;
  {
    absl::MutexLock lock(&mutex_);
    is_closed_ = true;
    open.reserve(calls_.size());
    for (const auto& [unused, call] : calls_) {
      if (auto alive = call.lock()) open.push_back(std::move(alive));
    }
  }
  // Without the lock: an ended call removes itself.
  for (const auto& call : open) call->EndForShutdown();
}

size_t OpenCalls::count() const {
  absl::MutexLock lock(&mutex_);
  return calls_.size();
}

}  // namespace leaseplane::rpc
