// SPDX-License-Identifier: Apache-2.0
// Attaching to the daemon, and to its successor.
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
#include <deque>
#include <utility>

#include "absl/strings/str_cat.h"
#include "clients/cpp/boot_clock.h"
#include "clients/cpp/local/session.h"

namespace leaseplane::internal {
namespace {

using attach::Kind;
using attach::Message;

constexpr int64_t kAttemptNs = 2 * kSecondNs;
constexpr int64_t kRetryMinNs = 10 * kMillisecondNs;
constexpr int64_t kRetryMaxNs = kSecondNs;
constexpr int64_t kReleasePatienceNs = 100 * kMillisecondNs;
// The daemon never waits for a reader: answers to so many claims fit the socket's buffer.
constexpr size_t kClaimsInFlightMax = 64;

bool IsTransient(const absl::Status& status) {
  const Reason reason = ReasonOf(status);
  return reason == Reason::kRecovering || reason == Reason::kDraining;
}

}  // namespace

absl::Status Session::Attach(int64_t deadline_ns) {
  absl::StatusOr<Connection> connection = GreetDaemon(config_, deadline_ns);
  if (!connection.ok()) return connection.status();
  ForgetClaims();
  RealMemory::FetchAdd(flags_.attach_gen, 1);
  absl::Status status = TakeConnection(*std::move(connection));
  if (!status.ok()) return status;
  RealMemory::Store(flags_.segment_dead, 0);
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
  attached_as_.attach_gen = RealMemory::Load(flags_.attach_gen);
  attached_as_.sess = known->second.base();
  lifeline_ = std::move(connection.lifeline);
  by_handle_.clear();
  heartbeat_.Reset();
  RealMemory::Store(flags_.gate_void, 0);
  if (config_.liveness == Liveness::kProcess) connection.socket->CloseInChildren();
  const MutexLock lock(&mu_);
  socket_ = std::move(connection.socket);
  instance_id_ = connection.welcome.instance_id;
  return absl::OkStatus();
}

// Claims of an earlier use of this session, which ended with it.
void Session::ForgetClaims() {
  for (PoolRecord* record : Records()) {
    for (const auto& claims : record->claims) {
      for (SlotIndex slot = 0; slot < claims->max_capacity(); ++slot) {
        const FencingToken token = claims->HeldToken(slot);
        if (token != 0) claims->NoteRevoked(slot, token);
      }
    }
  }
}

void Session::DaemonGone() {
  RealMemory::Store(flags_.segment_dead, 1);
  RealMemory::FetchAdd(flags_.attach_gen, 1);
  std::vector<std::shared_ptr<AttachSocket>> closed_later;
  {
    const MutexLock lock(&mu_);
    attached_ = false;
    closed_later.push_back(std::move(socket_));
    for (auto& [tag, opening] : openings_) {
      opening->status = MakeStatus(Reason::kSessionEnded, "the daemon went away");
      opening->done = true;
    }
    changed_.Tell();
  }
  for (PoolRecord* record : Records()) {
    const LocalState* state = record->pool.state();
    if (state == nullptr || state->attachment.attach_gen != attached_as_.attach_gen) continue;
    state->claims->AwaitPending([] { ::sched_yield(); });
    // Other processes wake for nothing and go back to sleep, if the segment is not dead after all.
    RealMemory::FetchAdd(*state->attachment.words.wseq, 1);
    RealMemory::FutexWake(*state->attachment.words.wseq, shm::kWakeAll);
  }
  tickets_.NudgeAll();
}

void Session::Reattach() {
  const uint64_t lost_gen = attached_as_.attach_gen;
  int64_t delay_ns = kRetryMinNs;
  std::vector<Claimed> claims;
  for (;;) {
    CollectClaims(lost_gen, claims);
    if (ReattachOnce(lost_gen, claims)) return;
    by_handle_.clear();
    for (PoolRecord* record : Records()) record->next = nullptr;
    if (!WaitBeforeRetry(delay_ns)) return;
    delay_ns = std::min(2 * delay_ns, kRetryMaxNs);
  }
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

void Session::CollectClaims(uint64_t lost_gen, std::vector<Claimed>& claims) {
  claims.clear();
  for (PoolRecord* record : Records()) {
    const LocalState* state = record->pool.state();
    if (state == nullptr || state->attachment.attach_gen != lost_gen) continue;
    const bool session_lived = SessionLives(state->attachment);
    for (SlotIndex slot = 0; slot < state->claims->max_capacity(); ++slot) {
      const FencingToken token = state->claims->HeldToken(slot);
      if (token == 0) continue;
      Claimed claim{record, state->claims, slot, token};
      claim.old = state;
      claim.left_busy = HasLeftBusy(claim);
      // While the session lived the daemon told of everything it took back, so this was a release.
      // (Claims may say otherwise: see HasLeftBusy.)
      claim.was_released = session_lived && claim.left_busy;
      claim.declared = session_lived && !claim.left_busy;
      claims.push_back(claim);
    }
  }
}

// Whether the word of the old segment is not the holder's any more. Asked instead of the claims
// where a release matters: a release notes itself only after its CAS, and a thread that stands in
// between can overwrite the note of a later one.
bool Session::HasLeftBusy(const Claimed& claim) {
  const Attachment<RealMemory>& old = claim.old->attachment;
  return RealMemory::Load(old.words.Slot(claim.slot)) !=
         BusyWord(old.owner, GenerationOf(claim.token));
}

bool Session::ReopenPools(uint64_t lost_gen) {
  std::deque<Opening> openings;
  std::vector<uint32_t> tags;
  for (PoolRecord* record : Records()) {
    const LocalState* state = record->pool.state();
    if (state == nullptr || state->attachment.attach_gen != lost_gen) continue;
    Message message = MakeMessage(Kind::kOpenPool);
    const std::string& name = record->pool.name();
    std::copy(name.begin(), name.end(), message.open_pool.pool);
    openings.emplace_back();
    openings.back().record = record;
    openings.back().publish = false;
    {
      const MutexLock lock(&mu_);
      message.open_pool.tag = ++last_tag_;
      openings_[last_tag_] = &openings.back();
    }
    tags.push_back(message.open_pool.tag);
    SendPatiently(message);
  }
  const bool answered = Converse([&openings] {
    return std::all_of(openings.begin(), openings.end(), [](const Opening& o) { return o.done; });
  });
  const MutexLock lock(&mu_);
  for (uint32_t tag : tags) openings_.erase(tag);
  return answered && std::none_of(openings.begin(), openings.end(),
                                  [](const Opening& o) { return IsTransient(o.status); });
}

bool Session::DeclareClaims(std::vector<Claimed>& claims) {
  claims_under_way_ = &claims;
  size_t first_unanswered = 0;
  bool alive = true;
  for (size_t i = 0; i < claims.size() && alive; ++i) {
    Claimed& claim = claims[i];
    claim.declared = claim.declared && claim.record->next != nullptr && claim.record->recovering;
    if (!claim.declared) continue;
    Message message = MakeMessage(Kind::kClaim);
    message.claim.pool = claim.record->next->handle;
    message.claim.slot = claim.slot;
    message.claim.token = claim.token;
    SendPatiently(message);
    if (i - first_unanswered < kClaimsInFlightMax && i + 1 < claims.size()) continue;
    alive = Converse([&claims, i] { return AllAnswered(claims, i); });
    first_unanswered = i + 1;
  }
  alive = alive && Converse([&claims] { return AllAnswered(claims, claims.size() - 1); });
  claims_under_way_ = nullptr;
  if (!alive) return false;
  for (PoolRecord* record : Records()) {
    if (record->next == nullptr || !record->recovering) continue;
    Message message = MakeMessage(Kind::kClaimsDone);
    message.claims_done.pool = record->next->handle;
    SendPatiently(message);
  }
  return true;
}

void Session::PublishAll(const std::vector<Claimed>& claims) {
  const MutexLock lock(&mu_);
  for (const auto& [name, record] : records_) {
    if (record->next == nullptr) continue;
    for (const Claimed& claim : claims) {
      if (claim.record != record.get() || !claim.accepted) continue;
      if (claim.slot < record->next->claims->max_capacity() &&
          record->next->claims != claim.claims) {
        record->next->claims->NoteAcquired(claim.slot, claim.token);
      }
    }
    record->pool.Publish(std::exchange(record->next, nullptr));
  }
  for (const Claimed& claim : claims) {
    // Released after it was declared; FinishMovedRelease waits for the lock.
    if (!claim.accepted || !HasLeftBusy(claim)) continue;
    const LocalState& state = *claim.record->pool.state();
    Release(state.attachment, flags_, *state.claims, claim.slot, claim.token);
  }
  RealMemory::Store(flags_.segment_dead, 0);
  attached_ = true;
  changed_.Tell();
}

void Session::ReportLost(const std::vector<Claimed>& claims) {
  // A thread may stand between the two stores of a release: its word has left BUSY and the note is
  // still to come. It gets some time to write it.
  const int64_t patience_end_ns = BootNowNs() + kReleasePatienceNs;
  const auto is_over = [](const Claimed& claim) {
    return claim.accepted || claim.was_released ||
           claim.claims->HeldToken(claim.slot) != claim.token;
  };
  for (const Claimed& claim : claims) {
    while (claim.left_busy && !is_over(claim) && BootNowNs() < patience_end_ns) {
      ::poll(nullptr, 0, 1);
    }
    if (is_over(claim)) continue;
    claim.claims->NoteRevoked(claim.slot, claim.token);
    TellLost(*claim.record, claim.slot, claim.token, Reason::kSessionEnded);
  }
}

// False: the connection ended, or the daemon did not answer in time.
template <class Done>
bool Session::Converse(const Done& done) {
  const int64_t deadline_ns = BootNowNs() + kAttemptNs;
  std::shared_ptr<AttachSocket> socket;
  {
    const MutexLock lock(&mu_);
    socket = socket_;
  }
  while (!done()) {
    if (!socket->WaitReadable(deadline_ns) || !ReadAll()) return done();
  }
  return true;
}

bool Session::AllAnswered(const std::vector<Claimed>& claims, size_t last) {
  for (size_t i = 0; i < claims.size() && i <= last; ++i) {
    if (claims[i].declared && !claims[i].answered) return false;
  }
  return true;
}

}  // namespace leaseplane::internal
