// SPDX-License-Identifier: Apache-2.0
// What a session holds, declared to the daemon's successor.
#include <poll.h>

#include <algorithm>
#include <deque>
#include <utility>

#include "clients/cpp/boot_clock.h"
#include "clients/cpp/local/session.h"

namespace leaseplane::internal {
namespace {

using attach::Kind;
using attach::Message;

constexpr int64_t kAnswerNs = 2 * kSecondNs;
constexpr int64_t kReleasePatienceNs = 100 * kMillisecondNs;
// The daemon never waits for a reader: answers to so many claims fit the socket's buffer.
constexpr size_t kClaimsInFlightMax = 64;

bool IsTransient(const absl::Status& status) {
  const Reason reason = ReasonOf(status);
  return reason == Reason::kRecovering || reason == Reason::kDraining;
}

}  // namespace

// False: the connection ended, or the daemon did not answer in time.
template <class Done>
bool Session::Converse(const Done& done) {
  const int64_t deadline_ns = BootNowNs() + kAnswerNs;
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
  const SlotWord word = RealMemory::Load(old.words.Slot(claim.slot));
  if (GenerationOfWord(word) < GenerationOf(claim.token)) {
    // No release leaves that: somebody has written over it, and the claims are all there is.
    return claim.claims->HeldToken(claim.slot) != claim.token;
  }
  return word != BusyWord(old.owner, GenerationOf(claim.token));
}

// Whether its holder has given it back. In segments that others have written to, the words do not
// tell; a release is noted before its CAS.
bool Session::IsReleased(const Claimed& claim) {
  if (!claim.moved) return HasLeftBusy(claim);
  return claim.claims->HeldToken(claim.slot) != claim.token;
}

bool Session::ReopenPools(uint64_t lost_gen) {
  std::vector<PoolRecord*> records = Records();
  std::erase_if(records, [lost_gen](const PoolRecord* record) {
    const LocalState* state = record->pool.state();
    return state == nullptr || state->attachment.attach_gen != lost_gen;
  });
  return Reopen(records);
}

bool Session::Reopen(const std::vector<PoolRecord*>& records) {
  std::deque<Opening> openings;
  std::vector<uint32_t> tags;
  for (PoolRecord* record : records) {
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
    // The word may have changed since the claims were collected: it took a while until there was a
    // daemon to tell. If the session lives after that, it was a release; see CollectClaims.
    if (claim.declared && IsReleased(claim)) {
      claim.left_busy = true;
      claim.was_released = SessionLives(claim.old->attachment);
      claim.declared = false;
    }
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
    if (!claim.accepted || !IsReleased(claim)) continue;
    const LocalState& state = *claim.record->pool.state();
    ReleaseForOthers<RealMemory>(state.attachment, flags_, *state.claims, claim.slot, claim.token);
  }
  flags_.Set(Flags::kSegmentDead, false);
  attached_ = true;
  moving_ = false;
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

bool Session::AllAnswered(const std::vector<Claimed>& claims, size_t last) {
  for (size_t i = 0; i < claims.size() && i <= last; ++i) {
    if (claims[i].declared && !claims[i].answered) return false;
  }
  return true;
}

}  // namespace leaseplane::internal
