// SPDX-License-Identifier: Apache-2.0
// The sessions of this process. They are never destroyed, and a forked child starts with none.
#include <atomic>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "clients/cpp/local/session.h"
#include "clients/cpp/mutex.h"

namespace leaseplane::internal {
namespace {

struct Sessions {
  explicit Sessions(ProcessMark process_mark, Sessions* parent)
      : mark(process_mark), parents(parent) {}

  const ProcessMark mark;
  Sessions* const parents;  // of the process that forked this one: never used, but not forgotten
  Mutex mu;
  std::vector<Session*> all ABSL_GUARDED_BY(mu);
};

// A child cannot use its parent's table: the lock may have been held when it was forked.
Sessions& SessionsOfThisProcess() {
  static constinit std::atomic<Sessions*> table{nullptr};
  const ProcessMark mark = ProcessMark::Current();
  Sessions* found = table.load();
  while (found == nullptr || found->mark.number() != mark.number()) {
    auto* fresh = new Sessions(mark, found);
    if (table.compare_exchange_strong(found, fresh)) return *fresh;
    delete fresh;
  }
  return *found;
}

}  // namespace

Session* FindSession(const SessionConfig& config) {
  Sessions& sessions = SessionsOfThisProcess();
  const MutexLock lock(&sessions.mu);
  for (Session*& session : sessions.all) {
    if (session->config().SameSession(config) && !session->is_orphaned()) return session;
  }
  sessions.all.push_back(new Session(config, sessions.mark));
  return sessions.all.back();
}

}  // namespace leaseplane::internal
