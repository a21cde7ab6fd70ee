// SPDX-License-Identifier: Apache-2.0
// Attaching to the daemon, and to its successor; what is said about claims is in session_claims.cc.
//
// When the daemon is gone, in this order:
//   1 what it said last has been read: every grant is claimed
//   2 segment_dead := 1, attach_gen += 1: from here on every acquisition undoes itself
//   3 acquisitions that were under way have ended; waiters are awake
// and on each try to attach to the successor:
//   4 the claims are read; declared is what the word in the old mapping still says
//   5 pools are opened and claims declared in the new session
//   6 the new states are published; what was released since 4 is released there too
// Claims that were not accepted, or had no word any more, are lost and reported.
#include <poll.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "clients/cpp/boot_clock.h"
#include "clients/cpp/local/session.h"

namespace leaseplane::internal {
namespace {

constexpr int64_t kAttemptNs = 2 * kSecondNs;
constexpr int64_t kPendingPatienceNs = kSecondNs;
constexpr int64_t kRetryMinNs = 10 * kMillisecondNs;
constexpr int64_t kRetryMaxNs = kSecondNs;

}  // namespace

absl::Status Session::Attach(int64_t deadline_ns) {
  absl::StatusOr<Connection> connection = GreetDaemon(config_, deadline_ns);
  if (!connection.ok()) return connection.status();
  ForgetClaims();
  flags_.BumpAttachGen();
  absl::Status status = TakeConnection(*std::move(connection));
  if (!status.ok()) return status;
  flags_.Set(Flags::kSegmentDead, false);
  const MutexLock lock(&mu_);
  orphaned_ = false;
  attached_ = true;
  changed_.Tell();
  return absl::OkStatus();
}

absl::Status Session::TakeConnection(Connection connection) {
  const uint64_t uid = connection.welcome.segment_uid;
  auto known = std::find_if(sess_mappings_.begin(), sess_mappings_.end(),
                            [uid](const auto& entry) { return entry.first == uid; });
  if (known == sess_mappings_.end()) {
    absl::StatusOr<shm::Mapping> mapped = MapSess(connection.sess_fd.get());
    if (!mapped.ok()) return mapped.status();
    sess_mappings_.emplace_back(uid, *std::move(mapped));
    known = sess_mappings_.end() - 1;
  }
  attached_as_.owner = connection.welcome.session;
  attached_as_.session_word = connection.welcome.session_word;
  attached_as_.attach_gen = flags_.attach_gen();
  attached_as_.sess = known->second.base();
  next_as_ = attached_as_;
  lifeline_ = std::move(connection.lifeline);
  by_handle_.clear();
  moved_.clear();
  heartbeat_.Reset();
  flags_.Set(Flags::kGateVoid, false);
  if (config_.liveness == Liveness::kProcess) connection.socket->CloseInChildren();
  const MutexLock lock(&mu_);
  socket_ = std::move(connection.socket);
  instance_id_ = connection.welcome.instance_id;
  return absl::OkStatus();
}

// Claims of an earlier use of this session, which ended with it.
void Session::ForgetClaims() {
  for (PoolRecord* record : Records()) {
    for (const auto& claims : record->claims) claims->ForgetAll();
  }
}

void Session::DaemonGone() {
  flags_.Set(Flags::kSegmentDead, true);
  flags_.BumpAttachGen();
  {
    const MutexLock lock(&mu_);
    attached_ = false;
    // Kept open until its successor's claims are settled: a worker that outlives its keeper by a
    // moment would take our slots back if it saw the connection end.
    old_socket_ = std::move(socket_);
    for (auto& [tag, opening] : openings_) {
      opening->status = MakeStatus(Reason::kSessionEnded, "the daemon went away");
      opening->done = true;
    }
    changed_.Tell();
  }
  for (PoolRecord* record : Records()) {
    const LocalState* state = record->pool.state();
    if (state == nullptr || state->attachment.attach_gen != attached_as_.attach_gen) continue;
    LeaveSegments(*state);
  }
  tickets_.NudgeAll();
}

void Session::LeaveSegments(const LocalState& state) {
  const PoolWords<RealMemory>& words = state.attachment.words;
  const int64_t patience_end_ns = BootNowNs() + kPendingPatienceNs;
  state.claims->AwaitPending(words, state.attachment.owner, [patience_end_ns] {
    ::sched_yield();
    return BootNowNs() < patience_end_ns;
  });
  // Other processes wake for nothing and go back to sleep, if the segment is not dead after all.
  RealMemory::FetchAdd(*words.wseq, 1);
  RealMemory::FutexWake(*words.wseq, shm::kWakeAll);
}

void Session::Reattach() {
  const uint64_t lost_gen = attached_as_.attach_gen;
  int64_t delay_ns = kRetryMinNs;
  std::vector<Claimed> claims;
  for (;;) {
    CollectClaims(lost_gen, claims);
    if (ReattachOnce(lost_gen, claims)) break;
    by_handle_.clear();
    for (PoolRecord* record : Records()) record->next = nullptr;
    if (!WaitBeforeRetry(delay_ns)) break;
    delay_ns = std::min(2 * delay_ns, kRetryMaxNs);
  }
  old_socket_.reset();
}

// False: the session is being stopped.
bool Session::WaitBeforeRetry(int64_t delay_ns) {
  pollfd item{wake_fd_.get(), POLLIN, 0};
  ::poll(&item, 1, static_cast<int>(delay_ns / kMillisecondNs));
  const MutexLock lock(&mu_);
  return !stopping_;
}

bool Session::ReattachOnce(uint64_t lost_gen, std::vector<Claimed>& claims) {
  absl::StatusOr<Connection> connection = GreetDaemon(config_, BootNowNs() + kAttemptNs);
  if (!connection.ok()) return false;
  if (instance_id() != connection->welcome.instance_id) {
    {
      const MutexLock lock(&mu_);
      orphaned_ = true;  // another authority: what we hold is not known there
      changed_.Tell();
    }
    ReportLost(claims);
    return false;
  }
  if (!TakeConnection(*std::move(connection)).ok()) return false;
  if (!ReopenPools(lost_gen) || !DeclareClaims(claims)) return false;
  PublishAll(claims);
  ReportLost(claims);
  return true;
}

}  // namespace leaseplane::internal
